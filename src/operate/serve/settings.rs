//! What the environment asks for: buckets, keys, keystore, addresses. All mistakes are found at once, before anything is
//! touched.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use jiff::SignedDuration;
use kes_server::auth::KeyName;

use super::Asked;
use super::arguments::{self, Server};
use super::bucket_words::{self, PublicAccess};
use super::minio_words::MinioWords;
use super::page;
use crate::error::Error;
use crate::keystore;
use crate::manifest::{self, Environment, KeystoreKind, Manifest, StackName};

/// Where a manifest is looked for unless the call names one.
const FILE: &str = "/etc/kestack/kestack.yaml";
/// Variables that name buckets, the one that counts first.
const BUCKETS: [&str; 4] =
    ["KESTACK_BUCKETS", "MINIO_DEFAULT_BUCKETS", "COM_ADOBE_TESTING_S3MOCK_STORE_INITIAL_BUCKETS", "initialBuckets"];
/// Variables that name further keys, the one that counts first.
const KEYS: [&str; 3] = ["KESTACK_KEYS", "COM_ADOBE_TESTING_S3MOCK_STORE_VALID_KMS_KEYS", "validKmsKeys"];
/// MinIO's switch of its console.
const BROWSER: &str = "MINIO_BROWSER";
/// MinIO's switch of its root user's access to S3.
const ROOT_ACCESS: &str = "MINIO_API_ROOT_ACCESS";
/// How long setting up may take unless `KESTACK_SETUP_TIMEOUT` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that is asked for.
#[derive(Debug)]
pub(super) struct Settings {
    /// Keys, buckets, keystore and content.
    pub(super) manifest: Manifest,
    /// What anybody may do with some of the buckets.
    pub(super) access: Vec<(String, PublicAccess)>,
    /// MinIO's arguments.
    pub(super) server: Server,
    /// Where KES must listen; else it is kestack's choice.
    pub(super) kes: Option<SocketAddr>,
    /// Whether buckets without an encryption of their own encrypt.
    pub(super) auto_encryption: bool,
    /// Longest time until the S3 port opens.
    pub(super) timeout: Duration,
    /// Variables that only KES's keystore needs: MinIO does not get them.
    pub(super) of_keystore: Vec<String>,
    /// The HTTP interface, if it is wanted.
    pub(super) page: Option<page::Wanted>,
    /// Whether MinIO serves its console.
    pub(super) has_console: bool,
}

impl Settings {
    /// Where people use the console, if there is one and its port is known before MinIO starts.
    pub(super) fn console(&self) -> Option<&str> {
        self.server.console().filter(|_| self.has_console)
    }
}

/// Reads the arguments of `server` and the environment.
///
/// # Errors
/// [`Error::Usage`] with all mistakes, [`Error::Manifest`] with those of kestack.yaml.
pub(super) fn read(asked: &Asked, env: Environment<'_>, words: &MinioWords<'_>) -> Result<Settings, Error> {
    let mut mistakes = Vec::new();
    let server = arguments::read(&asked.arguments, &|name| words.value(name), &mut mistakes);
    let used = Mutex::new(Vec::new());
    let noted = |name: &str| {
        if let Ok(mut used) = used.lock() {
            used.push(name.to_owned());
        }
        env(name)
    };
    let mut manifest = from_file(asked.file.as_deref(), &noted, &mut mistakes)?;
    keys(&mut manifest, env, &mut mistakes);
    let access = buckets(&mut manifest, env, &mut mistakes);
    if is_off(ROOT_ACCESS, &manifest, words) {
        mistakes.push(format!(
            "{ROOT_ACCESS}=off: kestack makes buckets as the root user, and proves with it that they encrypt: remove it"
        ));
    }
    keystore(&mut manifest, asked.keystore, env, &mut mistakes);
    mistakes.extend(unlasting_seal(&manifest, server.all_drives().len()));
    let settings = Settings {
        kes: kes(&mut manifest, env, &mut mistakes),
        auto_encryption: auto_encryption(&manifest, env, words, &mut mistakes),
        timeout: timeout(env, &mut mistakes),
        page: page::read(env, &mut mistakes),
        has_console: !is_off(BROWSER, &manifest, words),
        of_keystore: of_keystore(&manifest, used.into_inner().unwrap_or_default(), env),
        server,
        access,
        manifest,
    };
    clashes(&settings, &mut mistakes);
    if mistakes.is_empty() {
        return Ok(settings);
    }
    Err(Error::Usage {
        what: mistakes.join("\n"),
        hint: "`kestack serve --help` lists the variables; nothing was started".into(),
    })
}

/// The mounted manifest, without what describes another host; the defaults if there is none.
fn from_file(named: Option<&Path>, env: Environment<'_>, mistakes: &mut Vec<String>) -> Result<Manifest, Error> {
    let path = std::path::absolute(named.unwrap_or(Path::new(FILE))).map_err(Error::file("find", FILE))?;
    let mut manifest = if named.is_some() || path.exists() {
        manifest::load(Some(&path), Path::new("/"), env)?.manifest
    } else {
        Manifest::default()
    };
    if !manifest.is_named {
        manifest.name = StackName::of_folder(Path::new("serve"));
    }
    let file = path.display();
    if manifest.ui && env("KESTACK_UI").is_none() {
        tracing::warn!("{file}: ui has no effect in `kestack serve`: set KESTACK_UI, such as `:9002`");
    }
    if manifest.minio.tls {
        mistakes.push(format!(
            "{file}: minio.tls is not for `kestack serve`: mount a certificate, and name its folder with `--certs-dir`"
        ));
    }
    if manifest.kes.replicas > 1 {
        mistakes.push(format!("{file}: kes.replicas must be 1 for `kestack serve`"));
    }
    if manifest.kes.image.is_some() || manifest.minio.image.is_some() {
        mistakes.push(format!("{file}: `kestack serve` runs programs, not images: remove kes.image and minio.image"));
    }
    if manifest.kes.seal == Some(true) {
        mistakes.push(format!(
            "{file}: kes.seal is not for `kestack serve`: kestack's master key would end with it; name one of your own in \
             keystore.fs.encryption"
        ));
    }
    Ok(manifest)
}

fn keys(manifest: &mut Manifest, env: Environment<'_>, mistakes: &mut Vec<String>) {
    if let Some(text) = env("KESTACK_DEFAULT_KEY")
        && let Some(key) = key("KESTACK_DEFAULT_KEY", &text, mistakes)
    {
        // the one of the defaults is nobody's wish
        manifest.keys.retain(|known| *known != KeyName::minio_backend());
        manifest.default_key = key.clone();
        add(&mut manifest.keys, key);
    }
    let Some((name, text)) = first(&KEYS, env) else { return };
    for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        // clients may name a key as AWS does: only the last part is the key's name here
        let last = if word.starts_with("arn:") { word.rsplit([':', '/']).next().unwrap_or(word) } else { word };
        if let Some(key) = key(name, last, mistakes) {
            add(&mut manifest.keys, key);
        }
    }
}

fn key(name: &str, text: &str, mistakes: &mut Vec<String>) -> Option<KeyName> {
    let parsed = text.parse::<KeyName>();
    parsed.map_err(|why| mistakes.push(format!("{name}: `{text}`: {why}"))).ok()
}

fn add(keys: &mut Vec<KeyName>, key: KeyName) {
    if !keys.contains(&key) {
        keys.push(key);
    }
}

/// Buckets of a variable take the place of those in the file.
fn buckets(manifest: &mut Manifest, env: Environment<'_>, mistakes: &mut Vec<String>) -> Vec<(String, PublicAccess)> {
    let Some((name, text)) = first(&BUCKETS, env) else { return Vec::new() };
    let named = bucket_words::read(name, &text, name == "KESTACK_BUCKETS", mistakes);
    for key in named.iter().filter_map(|named| named.bucket.key.clone()) {
        add(&mut manifest.keys, key);
    }
    let access = named.iter().filter_map(|named| Some((named.bucket.name.to_string(), named.access?)));
    let access = access.collect();
    manifest.buckets = named.into_iter().map(|named| named.bucket).collect();
    access
}

fn keystore(manifest: &mut Manifest, kind: Option<KeystoreKind>, env: Environment<'_>, mistakes: &mut Vec<String>) {
    match kind.map(|kind| manifest::section_of(kind, env)) {
        Some(Ok(section)) => manifest.keystore = section,
        Some(Err(error)) => mistakes.push(error.to_string()),
        None => {}
    }
}

/// Why keys cannot be sealed as the manifest says: the copies on further drives are of files that each are a key by
/// themselves.
fn unlasting_seal(manifest: &Manifest, drives: usize) -> Option<String> {
    let is_sealed = manifest.keystore.pointer("/fs/encryption").is_some();
    (drives > 1 && is_sealed && manifest.keys_are_own()).then(|| {
        "keystore.fs.encryption: with several drives sealed keys need a folder of their own: name it in keystore.fs.path"
            .to_owned()
    })
}

/// The variables by which the vendor's software finds the keystore, and those that the file has `used` for its credentials.
fn of_keystore(manifest: &Manifest, used: Vec<String>, env: Environment<'_>) -> Vec<String> {
    let section = &manifest.keystore;
    let (_, credentials) = keystore::without_credentials(section);
    let is_credential =
        |name: &String| env(name).is_some_and(|value| credentials.iter().any(|(_, secret)| **secret == value));
    let vendors = KeystoreKind::of(section).into_iter().flat_map(KeystoreKind::variables).map(str::to_owned);
    vendors.chain(used.into_iter().filter(is_credential)).collect()
}

fn kes(manifest: &mut Manifest, env: Environment<'_>, mistakes: &mut Vec<String>) -> Option<SocketAddr> {
    let text = env("KESTACK_KES_ADDRESS")?;
    let address = arguments::socket(&text);
    match address {
        Some(address) => manifest.kes.port = address.port(),
        None => mistakes
            .push(format!("KESTACK_KES_ADDRESS: '{text}' is not an address: write `0.0.0.0:7373` or `127.0.0.1:7373`")),
    }
    address
}

/// Ports that are taken before anything starts do not refuse each other: only who listens on one second would, once S3 is
/// open.
fn clashes(settings: &Settings, mistakes: &mut Vec<String>) {
    let mut others = vec![("S3", settings.server.address.clone())];
    others.extend(settings.console().map(|address| ("the console", address.to_owned())));
    let page = settings.page.as_ref().map(page::Wanted::address);
    for (who, name, address) in [("KES", "KESTACK_KES_ADDRESS", settings.kes), ("it", "KESTACK_UI", page)] {
        let Some(address) = address else { continue };
        if let Some((other, _)) = others.iter().find(|(_, other)| meet(address, other)) {
            mistakes.push(format!("{name}: '{address}' has the port of {other}: write another one"));
        }
        others.push((who, address.to_string()));
    }
}

/// True if only one of both can listen: they have one port, and not two addresses.
fn meet(one: SocketAddr, other: &str) -> bool {
    let is_apart =
        |other: SocketAddr| one.ip() != other.ip() && !one.ip().is_unspecified() && !other.ip().is_unspecified();
    arguments::port(other) == Some(one.port()) && !other.parse().is_ok_and(is_apart)
}

/// MinIO's own variable counts before kestack's.
fn auto_encryption(
    manifest: &Manifest,
    env: Environment<'_>,
    words: &MinioWords<'_>,
    mistakes: &mut Vec<String>,
) -> bool {
    if let Some(value) = words.value(manifest::AUTO_ENCRYPTION) {
        return manifest::is_on(&value);
    }
    match env("KESTACK_AUTO_ENCRYPTION") {
        None => manifest.auto_encryption(None),
        Some(value) if manifest::is_on(&value) => true,
        Some(value) if manifest::is_off(&value) => false,
        Some(value) => {
            mistakes.push(format!("KESTACK_AUTO_ENCRYPTION: '{value}' is neither on nor off"));
            true
        }
    }
}

/// True if MinIO's environment, or else the manifest, has that switch off.
fn is_off(name: &str, manifest: &Manifest, words: &MinioWords<'_>) -> bool {
    let said = words.value(name).or_else(|| manifest.minio.env.get(name).cloned());
    said.is_some_and(|value| manifest::is_off(&value))
}

fn timeout(env: Environment<'_>, mistakes: &mut Vec<String>) -> Duration {
    let Some(text) = env("KESTACK_SETUP_TIMEOUT") else { return TIMEOUT };
    let parsed = text.parse::<SignedDuration>().ok().and_then(|span| Duration::try_from(span).ok());
    parsed.filter(|span| !span.is_zero()).unwrap_or_else(|| {
        mistakes.push(format!("KESTACK_SETUP_TIMEOUT: '{text}' is not a time: write `60s` or `2m`"));
        TIMEOUT
    })
}

fn first(names: &[&'static str], env: Environment<'_>) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| Some((*name, env(name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_with(file: &str, variables: &[(&str, &str)]) -> Settings {
        read_call(file, variables, &["/data"]).unwrap()
    }

    fn read_call(file: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Settings, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kestack.yaml");
        std::fs::write(&path, file).unwrap();
        let env = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let arguments = arguments.iter().map(Into::into).collect();
        let asked = Asked { arguments, file: Some(path), keystore: None };
        read(&asked, &env, &MinioWords::read(&env).unwrap())
    }

    #[test]
    fn no_two_servers_are_wanted_on_one_port() {
        let (ui, kes) = ("KESTACK_UI", "KESTACK_KES_ADDRESS");
        let call = |address: &str, variables: &[(&str, &str)]| {
            read_call("name: one\n", variables, &["--address", address, "--console-address", ":9001", "/data"])
        };
        for (address, variables, said) in [
            (":9000", &[(ui, ":9000")][..], "KESTACK_UI: '0.0.0.0:9000' has the port of S3"),
            ("127.0.0.1:9000", &[(ui, ":9000")][..], "has the port of S3"),
            ("localhost:9000", &[(ui, "127.0.0.1:9000")][..], "has the port of S3"),
            (":9000", &[(ui, "127.0.0.1:9001")][..], "has the port of the console"),
            (":9000", &[(ui, ":7373"), (kes, "127.0.0.1:7373")][..], "KESTACK_UI: '0.0.0.0:7373' has the port of KES"),
            (":9000", &[(kes, "127.0.0.1:9000")][..], "KESTACK_KES_ADDRESS: '127.0.0.1:9000' has the port of S3"),
        ] {
            let error = call(address, variables).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(said), "{said}: {error}");
        }
        for (address, variables) in [
            (":9000", &[(ui, ":9002"), (kes, ":7373")][..]),
            ("127.0.0.1:9000", &[(ui, "127.0.0.2:9000")][..]),
            ("[::1]:9000", &[(ui, "127.0.0.1:9000")][..]),
        ] {
            call(address, variables).unwrap();
        }
    }

    #[test]
    fn sealed_keys_on_several_drives_need_a_folder_of_their_own() {
        let sealed = "encryption: { masterKeyPath: /run/secrets/master }";
        let (own, elsewhere) = (
            format!("keystore: {{ fs: {{ {sealed} }} }}\n"),
            format!("keystore: {{ fs: {{ path: /keys, {sealed} }} }}\n"),
        );
        let error = read_call(&own, &[], &["/data{1...4}"]).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("keystore.fs.path"), "{error}");
        let error = read_call("kes: { seal: true }\n", &[], &["/data"]).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("kes.seal is not for"), "{error}");
        for (file, drives) in [(&own, "/data"), (&elsewhere, "/data{1...4}")] {
            assert!(read_call(file, &[], &[drives]).is_ok(), "{file} {drives}");
        }
    }

    #[test]
    fn minio_does_not_get_the_credentials_of_a_keystore_in_the_file() {
        let file = "keystore: { vault: { endpoint: '${PLACE}', approle: { id: '${MY_ROLE}', secret: '${MY_SECRET}' } } }\n\
                    minio: { env: { MINIO_SITE_NAME: '${SITE}' } }\n";
        let variables =
            [("PLACE", "https://vault:8200"), ("MY_ROLE", "a-role"), ("MY_SECRET", "a-secret"), ("SITE", "here")];
        let settings = read_with(file, &variables);
        for name in ["MY_SECRET", "VAULT_SECRET_ID"] {
            assert!(settings.of_keystore.iter().any(|known| known == name), "{name}: {:?}", settings.of_keystore);
        }
        for name in ["PLACE", "SITE", "PATH"] {
            assert!(!settings.of_keystore.iter().any(|known| known == name), "{name}");
        }
    }
}
