//! Stacks whose root of trust is not a folder: each keystore as an emulator of this repository, AWS as moto, which
//! checks signatures and policies. A real MinIO writes, everything is restarted cold, and the object is read.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::bounded::Bounded as _;
use crate::engine::{Kind, free_port, kind};
use crate::sandbox::{Sandbox, text};

/// A server that ends with the test.
struct Emulator {
    child: Child,
    port: u16,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Emulator {
    /// One of `kes-server/examples/keystore-emulator.rs`.
    fn start(kind: &str) -> Self {
        let here = std::env::current_exe().unwrap();
        let program = here.parent().unwrap().parent().unwrap().join("examples/keystore-emulator");
        assert!(program.exists(), "run `cargo build -p kes-server --example keystore-emulator` first");
        // containers reach the host by another address than the loopback
        let (child, url) = serve(Command::new(program).args([kind, "--listen", "0.0.0.0:0"]));
        let port = url.strip_prefix("http://").and_then(|url| url.rsplit_once(':')).map(|(_, port)| port);
        Self { child, port: port.unwrap_or_else(|| panic!("{url}")).parse().unwrap() }
    }

    /// moto, from the packages of `KESTACK_PYTHON`.
    fn moto() -> Self {
        let mut command = Command::new(python());
        command.arg("-B").arg(judge()).args(["serve", "0.0.0.0"]).env("INITIAL_NO_AUTH_ACTION_COUNT", "0");
        let (child, port) = serve(command.stdin(Stdio::null()).stderr(Stdio::null()));
        Self { child, port: port.parse().unwrap() }
    }

    /// Its URL from where KES runs.
    fn url(&self) -> String {
        let host = if kind() == Kind::Process { "127.0.0.1" } else { "host.containers.internal" };
        format!("http://{host}:{}", self.port)
    }

    /// Access key and secret key of a user of moto that may do this and nothing else.
    fn user(&self, name: &str, actions: &str) -> (String, String) {
        let url = format!("http://127.0.0.1:{}", self.port);
        let mut command = Command::new(python());
        let output = command.arg("-B").arg(judge()).args(["user", &url, name, actions]).finished();
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Starts a server that takes a free port and prints one line, where it listens, as soon as it does.
fn serve(command: &mut Command) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.is_empty(), "{command:?} does not start");
    (child, line.trim().to_owned())
}

fn judge() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kes-server/tests/keystores/judges/aws.py")
}

fn python() -> PathBuf {
    let named = std::env::var_os("KESTACK_PYTHON");
    named.expect("KESTACK_PYTHON names a Python with the packages of kes-server/tests/keystores/judges").into()
}

/// Up, an object, down, up again with everything cold, the object; and `doctor` finds nothing wrong on the way.
fn round_trip(keystore: &str) {
    let stack = Sandbox::new(keystore);
    let doctor = stack.json(&["doctor"]);
    assert_eq!(doctor["healthy"], true, "{doctor:#}");
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    assert_eq!(stack.json(&["verify"])["proven"], true);
    stack.ok(&["down"]);
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
}

/// `up` is refused before anything is made.
fn refused(keystore: &str, because: &str) {
    let stack = Sandbox::new(keystore);
    let error = stack.fails(&["up"], 6);
    assert!(error.contains(because), "{error}");
    assert!(!stack.root().join("config").exists(), "nothing is made");
}

fn vault(url: &str, engine: &str, secret: &str) -> String {
    format!(
        "keystore: {{ vault: {{ endpoint: '{url}', {engine}, approle: {{ id: kes-role, secret: '{secret}' }} }} }}\n"
    )
}

/// Containers of Docker and of rootless Podman do not reach the emulators, which listen on this host.
mod reached {
    use super::*;

    #[test]
    #[ignore = "needs rootful Podman or the process engine"]
    fn vault_holds_the_keys() {
        let emulator = Emulator::start("vault");
        round_trip(&vault(&emulator.url(), "engine: kv, version: v1, prefix: team", "kes-secret"));
        round_trip(&vault(&emulator.url(), "engine: kv2, version: v2, transit: { key: kes }", "kes-secret"));
        refused(&vault(&emulator.url(), "engine: kv", "wrong"), "refuses KES");
        let nobody = format!("http://127.0.0.1:{}", free_port());
        refused(&vault(&nobody, "engine: kv", "kes-secret"), "cannot be reached");
    }

    /// `--keystore` counts for one command. The next one is not about the stack's own folder, where KES has Vault.
    #[test]
    #[ignore = "needs rootful Podman or the process engine"]
    fn a_vault_of_the_command_line_keeps_its_keys() {
        let emulator = Emulator::start("vault");
        let stack = Sandbox::new("");
        let with_vault = |arguments: &[&str]| {
            let mut command = stack.command(arguments);
            let named =
                [("VAULT_ROLE_ID", "kes-role"), ("VAULT_SECRET_ID", "kes-secret"), ("KESTACK_KEYSTORE", "vault")];
            let output = command.env("VAULT_ADDR", emulator.url()).envs(named).finished();
            assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
            text(&output.stdout)
        };
        with_vault(&["up"]);
        with_vault(&["key", "create", "theirs"]);
        stack.put("/encrypted/kept", b"precious");
        for (verb, code) in [("up", 7), ("reset", 2), ("verify", 2)] {
            stack.fails(&[verb], code);
            assert_eq!(stack.read("/encrypted/kept"), b"precious", "after {verb}");
            assert!(with_vault(&["key", "list"]).contains("theirs"), "{verb} has removed it from Vault");
        }
        assert!(!stack.root().join("keys/minio-backend-key").exists(), "a key was made elsewhere");
        with_vault(&["verify"]);
        with_vault(&["reset"]);
        assert!(with_vault(&["key", "list"]).contains("theirs"), "only --keys removes keys from Vault");
    }

    #[test]
    #[ignore = "needs rootful Podman or the process engine"]
    fn the_appliances_hold_the_keys() {
        let keysecure = Emulator::start("keysecure");
        round_trip(&format!(
            "keystore: {{ gemalto: {{ keysecure: {{ endpoint: '{}', credentials: {{ token: refresh }} }} }} }}\n",
            keysecure.url()
        ));
        let fortanix = Emulator::start("fortanix");
        round_trip(&format!(
            "keystore: {{ fortanix: {{ sdkms: {{ endpoint: '{}', credentials: {{ key: YXBwOmtleQ== }} }} }} }}\n",
            fortanix.url()
        ));
        let entrust = Emulator::start("entrust");
        round_trip(&format!(
            "keystore: {{ entrust: {{ keycontrol: {{ endpoint: '{}', vault_id: vault, box_id: box, \
             credentials: {{ username: user, password: password }} }} }} }}\n",
            entrust.url()
        ));
    }
}

/// moto needs a Python that only its owner can run: not with `tests/as-user`.
mod judged {
    use super::*;

    #[test]
    #[ignore = "needs rootful Podman, and KESTACK_PYTHON"]
    fn aws_holds_the_keys_with_the_least_permissions() {
        let moto = Emulator::moto();
        let section = |(access_key, secret_key): (String, String)| {
            format!(
                "keystore: {{ aws: {{ secretsmanager: {{ endpoint: '{}', region: eu-central-1, \
                 credentials: {{ accesskey: '{access_key}', secretkey: '{secret_key}' }} }} }} }}\n",
                moto.url()
            )
        };
        let least = r#"["secretsmanager:CreateSecret","secretsmanager:DeleteSecret","secretsmanager:GetSecretValue","secretsmanager:ListSecrets"]"#;
        round_trip(&section(moto.user("kes", least)));
        // the stack's key is there by now: writing is only tried where it must be made
        let other = "keys: [other-key]\n";
        let reader = moto.user("reader", r#"["secretsmanager:GetSecretValue","secretsmanager:ListSecrets"]"#);
        refused(&(section(reader) + other), "grant secretsmanager:CreateSecret");
        let writer = moto.user("writer", r#"["secretsmanager:CreateSecret"]"#);
        refused(&(section(writer) + other), "grant secretsmanager:GetSecretValue");
    }
}

/// These clouds get secrets over HTTPS only, except for an emulator on the loopback of KES.
mod process {
    use super::*;

    #[test]
    #[ignore = "needs the process engine"]
    fn azure_and_gcp_hold_the_keys() {
        let azure = Emulator::start("azure");
        let url = azure.url();
        round_trip(&format!(
            "kes: {{ port: 0, env: {{ AZURE_AUTHORITY_HOST: '{url}', KES_AZURE_SKIP_DOMAIN_CHECK: 'on' }} }}\n\
             keystore: {{ azure: {{ keyvault: {{ endpoint: '{url}', credentials: {{ tenant_id: tenant, client_id: client, \
             client_secret: 's3cret~+&= %' }} }} }} }}\n"
        ));
        let gcp = Emulator::start("gcp");
        let url = gcp.url();
        round_trip(&format!(
            "kes: {{ port: 0, env: {{ GCE_METADATA_HOST: '127.0.0.1:{}' }} }}\n\
             keystore: {{ gcp: {{ secretmanager: {{ endpoint: '{url}', project_id: my-project }} }} }}\n",
            gcp.port
        ));
    }
}
