//! `kes migrate`, the program, between keystores: killed in the middle, run again, and all keys are the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kes_server::crypto::{Algorithm, Key};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::conformance::VALUE;
use super::fake::azure::{Azure, SECRET};
use super::fake::gcp::{EMAIL, Gcp, KEY_ID, PROJECT, private_key};
use super::fake::vault::{ROLE_ID, SECRET_ID, Vault};
use super::fake::{Fake, Fault, Reply};

const KEYS: usize = 300;

fn name(number: usize) -> String {
    format!("key-{number:03}")
}

/// A folder with the files that a run needs.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A configuration `<name>.yaml` with this keystore.
    fn config(&self, name: &str, keystore: &str) {
        let server = "version: v1\naddress: 127.0.0.1:0\nadmin: { identity: disabled }\ntls: { key: k, cert: c }\n";
        fs::write(self.path(&format!("{name}.yaml")), format!("{server}keystore:\n  {keystore}\n")).unwrap();
    }

    /// The same, for a folder of that name.
    fn fs(&self, name: &str) {
        self.config(name, &format!("fs: {{ path: {} }}", self.path(name).display()));
    }

    /// A folder `old` with so many keys, and its configuration.
    fn old_keys(&self, count: usize) {
        fs::create_dir(self.path("old")).unwrap();
        for number in 0..count {
            let key = Key::generate(Algorithm::Aes256, &name(number)).unwrap();
            fs::write(self.path("old").join(name(number)), key.encode().as_slice()).unwrap();
        }
        self.fs("old");
    }

    /// A configuration `vault.yaml`.
    fn vault(&self, fake: &Fake) {
        let (url, approle) = (fake.url(), format!("approle: {{ id: {ROLE_ID}, secret: {SECRET_ID} }}"));
        self.config("vault", &format!("vault: {{ endpoint: \"{url}\", engine: kv, version: v1, {approle} }}"));
    }

    fn kes(&self, from: &str, to: &str, environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kes"));
        command.args(["migrate", "--from", &format!("{from}.yaml"), "--to", &format!("{to}.yaml")]);
        command.current_dir(&self.0).env_clear().envs(environment.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

/// Names and contents; the rest of a killed write is not a key.
fn keys(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let entries = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    entries.filter(|(name, _)| !name.starts_with('.')).map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

/// Ends it with SIGKILL as soon as `so_far`, and says that it had not ended.
async fn kill(mut child: Child, so_far: impl Fn() -> bool) {
    let wait = async {
        while !so_far() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // a folder syncs each key, which takes its time on a busy disk
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().await.unwrap();
}

/// Runs to the end; how many keys it copied, and how many were there.
async fn finish(mut command: Command) -> (usize, usize) {
    let output = command.output().await.unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let number = |text: &str, before: &str, after: &str| {
        text.strip_prefix(before).and_then(|text| text.strip_suffix(after)).unwrap().parse().unwrap()
    };
    (number(&stdout, "Migrated ", " keys successfully!\n"), number(&stderr, "", " keys exist already\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_migration_goes_on_to_the_same_bytes() {
    let folder = Folder::new();
    folder.old_keys(KEYS);
    let service = Arc::<Vault>::default();
    let fake = Fake::start(service.clone()).await;
    folder.fs("new");
    folder.vault(&fake);
    fake.fail("", usize::MAX, Fault::Slow(Duration::from_millis(5)));

    let there = |number: usize| service.stored("kv", &name(number)).is_some();
    kill(folder.kes("old", "vault", &[]).spawn().unwrap(), || there(100)).await;
    assert!(!there(KEYS - 1));
    let (copied, before) = finish(folder.kes("old", "vault", &[])).await;
    assert_eq!(copied + before, KEYS);
    assert!((90..250).contains(&before), "{before}");

    let there = |number: usize| folder.path("new").join(name(number)).exists();
    kill(folder.kes("vault", "new", &[]).spawn().unwrap(), || there(100)).await;
    assert!(!there(KEYS - 1));
    let (copied, before) = finish(folder.kes("vault", "new", &[])).await;
    assert_eq!(copied + before, KEYS);
    assert_eq!(keys(&folder.path("new")), keys(&folder.path("old")));
}

/// A creation takes two calls there, and the process is killed between them.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_is_killed_within_creations_goes_on() {
    const COMPLETE: usize = 100;
    const AT_ONCE: usize = 16;
    let folder = Folder::new();
    folder.old_keys(KEYS);
    let service = Arc::<Gcp>::default();
    let fake = Fake::start(service.clone()).await;
    let key = private_key().lines().collect::<Vec<_>>().join("\\n");
    let account = format!("client_email: {EMAIL}, client_id: '1', private_key_id: {KEY_ID}, private_key: '{key}'");
    let secretmanager = format!("project_id: {PROJECT}, endpoint: \"{}\", credentials: {{ {account} }}", fake.url());
    folder.config("gcp", &format!("gcp: {{ secretmanager: {{ {secretmanager} }} }}"));
    fake.fail(":addVersion", COMPLETE, Fault::Slow(Duration::from_millis(1)));
    fake.fail(":addVersion", usize::MAX, Fault::Hang);

    let made = || (0..KEYS).filter(|number| service.stored(&name(*number)).is_some()).count();
    kill(folder.kes("old", "gcp", &[]).spawn().unwrap(), || made() == COMPLETE + AT_ONCE).await;
    fake.heal();
    assert_eq!(finish(folder.kes("old", "gcp", &[])).await, (KEYS - COMPLETE, COMPLETE));
    for (name, key) in keys(&folder.path("old")) {
        assert_eq!(service.stored(&name).unwrap(), [String::from_utf8(key).unwrap()]);
    }
}

/// A Vault that has other keys under the names of the source's.
async fn vault_to_replace(folder: &Folder) -> (Fake, Arc<Vault>) {
    const COUNT: usize = 40;
    folder.old_keys(COUNT);
    let service = Arc::<Vault>::default();
    let fake = Fake::start(service.clone()).await;
    folder.vault(&fake);
    for number in 0..COUNT {
        let key = Key::generate(Algorithm::Aes256, "other").unwrap();
        let key = String::from_utf8(key.encode().to_vec()).unwrap();
        service.put("kv", &name(number), json!({ name(number): key }));
    }
    (fake, service)
}

/// Each replacement is a deletion and a creation.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_leaves_no_other_replacement_half_done() {
    let folder = Folder::new();
    let (fake, service) = vault_to_replace(&folder).await;
    fake.fail("PUT /v1/kv/key-000", 1, Fault::Answer(Reply::json(403, &json!({ "errors": ["permission denied"] }))));
    fake.fail("PUT /v1/kv/", usize::MAX, Fault::Slow(Duration::from_millis(200)));
    let output = folder.kes("old", "vault", &[]).arg("--force").output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("failed to migrate key 'key-000': "), "{text}");
    let missing: Vec<_> = (0..40).map(name).filter(|name| service.stored("kv", name).is_none()).collect();
    assert_eq!(missing, ["key-000"]);
    fake.heal();
    assert!(folder.kes("old", "vault", &[]).arg("--force").output().await.unwrap().status.success());
    for (name, key) in keys(&folder.path("old")) {
        assert_eq!(service.stored("kv", &name).unwrap()[&name], json!(String::from_utf8(key).unwrap()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_read_now_is_not_replaced() {
    let folder = Folder::new();
    let (fake, _service) = vault_to_replace(&folder).await;
    let denied = Reply::json(403, &json!({ "errors": ["permission denied"] }));
    fake.fail("GET /v1/kv/key-007", 1, Fault::Answer(denied));
    let output = folder.kes("old", "vault", &[]).arg("--force").output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("cannot read key-007; nothing was copied"), "{text}");
    assert_eq!(fake.count("DELETE"), 0);
}

/// Over TLS, with a CA from the environment and with what clouds read there.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_the_target_cannot_have_are_named_and_the_others_copied() {
    let folder = Folder::new();
    fs::create_dir(folder.path("old")).unwrap();
    for name in ["Key", "a", "b_1", "b_2", "key", "sub.folder"] {
        fs::write(folder.path("old").join(name), VALUE).unwrap();
    }
    let service = Arc::<Azure>::default();
    let fake = Fake::start_tls(service.clone()).await;
    let (url, ca) = (fake.url(), fake.ca().unwrap());
    folder.fs("old");
    folder.config("azure", &format!("azure: {{ keyvault: {{ endpoint: \"{url}\" }} }}"));
    let environment = [
        ("AZURE_AUTHORITY_HOST", &*url),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_CLIENT_SECRET", SECRET),
        ("KES_AZURE_SKIP_DOMAIN_CHECK", "on"),
        ("SSL_CERT_FILE", ca.to_str().unwrap()),
    ];
    service.put("a", "another key");
    let output = folder.kes("old", "azure", &environment).arg("--force").output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("left out: 'sub.folder', since no key can have such a name"), "{text}");
    for name in ["b_1", "b_2"] {
        let why = format!("left out: '{name}', since Azure Key Vault has names of letters, digits and '-' only");
        assert!(text.contains(&why), "{text}");
    }
    for (name, twin) in [("Key", "key"), ("key", "Key")] {
        let why =
            format!("left out: '{name}', since the target takes '{twin}' for the same name: migrate one of the two");
        assert!(text.contains(&why), "{text}");
    }
    assert!(text.ends_with("Error: left out: 5 of 6 names, for the reasons above\n"), "{text}");
    assert!(service.stored("key").is_empty());
    assert_eq!(service.stored("a").concat().as_bytes(), VALUE);
    for name in ["a", "key"] {
        let output = folder.kes("old", "azure", &environment).arg(name).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(service.stored("key").concat().as_bytes(), VALUE);
}
