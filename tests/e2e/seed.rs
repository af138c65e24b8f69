//! Declared content: objects, users, policies, access keys, rules and a command.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use serde_json::Value;

use crate::engine::{Kind, kind};
use crate::sandbox::{Sandbox, text};

const SEED: &str = "
seed:
  objects:
    - { from: files, bucket: encrypted, prefix: demo/ }
  policies:
    - { name: reader, file: reader.json }
  users:
    - { name: alice, password: given-password, policies: [reader] }
    - { name: bob, policies: [readwrite] }
  access_keys:
    - { name: app-of-bob, user: bob, policy: reader }
  lifecycle:
    - { bucket: encrypted, prefix: logs/, expire_days: 30 }
  notifications:
    - { bucket: encrypted, target: 'arn:minio:sqs::primary:webhook', events: [put], suffix: .jpg }
  run: [./seed, one]
";

const MINIO: &str = "minio:
  port: 0
  console_port: 0
  env:
    MINIO_NOTIFY_WEBHOOK_ENABLE_primary: 'on'
    MINIO_NOTIFY_WEBHOOK_ENDPOINT_primary: 'http://127.0.0.1:9'
    MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_primary: 'QUEUE'
";

const POLICY: &str = r#"{ "Version": "2012-10-17", "Statement": [
    { "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::encrypted/demo/*" }] }"#;

/// Writes down that it ran, and does so only with the stack's variables.
const SCRIPT: &str = "#!/bin/sh
set -eu
curl -sS --aws-sigv4 aws:amz:us-east-1:s3 -K - -o /dev/null -f \"$AWS_ENDPOINT_URL/encrypted?location=\" <<CONFIG
user = \"$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY\"
CONFIG
echo \"$1\" >> ran
";

struct Seeded(Sandbox);

impl Seeded {
    fn new() -> Self {
        let seeded = Self(Sandbox::new(""));
        seeded.manifest(SEED);
        std::fs::create_dir_all(seeded.file("files/below")).unwrap();
        seeded.write("files/page.html", "<p>hello</p>");
        seeded.write("files/below/100% ü+.txt", "odd name");
        seeded.write("reader.json", POLICY);
        seeded.write("seed", SCRIPT);
        std::fs::set_permissions(seeded.file("seed"), std::fs::Permissions::from_mode(0o755)).unwrap();
        seeded
    }

    fn manifest(&self, seed: &str) {
        // a process shares /tmp with all others, where the queue would lie under one name for all; a container has its own
        let queue = if kind() == Kind::Process { self.file("queue") } else { PathBuf::from("/tmp") };
        let minio = MINIO.replace("'QUEUE'", &format!("'{}'", queue.display()));
        self.0.manifest(&format!("{minio}{seed}"));
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.folder().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.file(name), content).unwrap();
    }

    /// What `up` changed, by kind and name.
    fn up(&self) -> Vec<String> {
        changed(&self.0.json(&["up"]))
    }

    /// Name and secret of a declared user or access key.
    fn credentials(&self, name: &str) -> (String, String) {
        let path = self.0.root().join(format!("config/credentials/{name}.env"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(path).unwrap();
        let value = |variable: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(&format!("{variable}=")));
            found.unwrap().to_owned()
        };
        (value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY"))
    }

    fn ran(&self) -> String {
        std::fs::read_to_string(self.file("ran")).unwrap_or_default()
    }

    fn status_as(&self, who: &str, method: &str, path: &str) -> u16 {
        let body = (method == "PUT").then_some(&b"new"[..]);
        self.0.s3_as(&self.credentials(who), method, path, body, &[]).0
    }
}

fn changed(up: &Value) -> Vec<String> {
    let steps = up["steps"].as_array().unwrap().iter().filter(|step| step["decision"] != "keep");
    steps.map(|step| format!("{} {}", step["kind"].as_str().unwrap(), step["name"].as_str().unwrap())).collect()
}

#[test]
#[ignore = "needs an engine"]
fn declared_content_is_there_and_a_second_up_changes_nothing() {
    let seeded = Seeded::new();
    let stack = &seeded.0;
    let up = text(&stack.run(&["up"]).stdout);
    assert!(up.contains("is up"), "{up}");
    assert_eq!(stack.read("/encrypted/demo/page.html"), b"<p>hello</p>");
    assert_eq!(stack.read("/encrypted/demo/below/100%25%20%C3%BC%2B.txt"), b"odd name");
    assert_eq!(seeded.status_as("alice", "GET", "/encrypted/demo/page.html"), 200);
    assert_eq!(seeded.status_as("alice", "PUT", "/encrypted/demo/page.html"), 403);
    assert_eq!(seeded.status_as("bob", "PUT", "/encrypted/other"), 200);
    assert_eq!(seeded.status_as("app-of-bob", "GET", "/encrypted/demo/page.html"), 200);
    assert_eq!(seeded.status_as("app-of-bob", "PUT", "/encrypted/other"), 403, "its policy takes that away");
    assert_eq!(seeded.credentials("alice").1, "given-password");
    assert!(text(&stack.s3("GET", "/encrypted?lifecycle=", None).1).contains("<Prefix>logs/</Prefix>"));
    assert!(text(&stack.s3("GET", "/encrypted?notification=", None).1).contains("arn:minio:sqs::primary:webhook"));
    assert_eq!(seeded.ran(), "one\n");
    assert_eq!(seeded.up(), Vec::<String>::new());
    assert_eq!(seeded.ran(), "one\n");
    let secrets = format!("{}{}", stack.ok(&["up", "--output", "json"]), text(&stack.run(&["-vv", "up"]).stderr));
    assert!(!secrets.contains("given-password") && !secrets.contains(&seeded.credentials("bob").1));

    // what is changed on either side is made as declared
    seeded.write("files/page.html", "<p>hello again</p>");
    stack.put("/encrypted/demo/below/100%25%20%C3%BC%2B.txt", b"by hand");
    seeded.write("reader.json", &POLICY.replace("demo/*", "*"));
    stack.s3("DELETE", "/encrypted?lifecycle=", None);
    let plan = stack.ok(&["plan"]);
    assert!(plan.contains("reader") && plan.contains("encrypted/demo/"), "{plan}");
    let changed = seeded.up();
    let kinds: Vec<_> = changed.iter().map(|step| step.split(' ').next().unwrap()).collect();
    assert_eq!(kinds, ["policy", "access-key", "lifecycle", "objects"], "{changed:?}");
    assert_eq!(stack.read("/encrypted/demo/page.html"), b"<p>hello again</p>");
    assert_eq!(stack.read("/encrypted/demo/below/100%25%20%C3%BC%2B.txt"), b"odd name");
    assert_eq!(seeded.up(), Vec::<String>::new());

    // what is declared no more stays, and is named
    seeded.manifest(
        &SEED
            .replace("    - { name: bob, policies: [readwrite] }\n", "")
            .replace("  access_keys:\n    - { name: app-of-bob, user: bob, policy: reader }\n", ""),
    );
    std::fs::remove_dir_all(seeded.file("files/below")).unwrap();
    let said = text(&stack.run(&["up"]).stderr);
    for left in ["user bob", "access-key app-of-bob", "object encrypted/demo/below/100% ü+.txt"] {
        assert!(said.contains(left), "{said}");
    }
    assert_eq!(stack.read("/encrypted/demo/below/100%25%20%C3%BC%2B.txt"), b"odd name");
    assert_eq!(seeded.status_as("bob", "PUT", "/encrypted/other"), 200);
}

#[test]
#[ignore = "needs an engine"]
fn a_reset_brings_the_content_back() {
    let seeded = Seeded::new();
    let stack = &seeded.0;
    stack.ok(&["up"]);
    let bob = seeded.credentials("bob");
    stack.ok(&["snapshot", "save", "seeded"]);
    stack.put("/encrypted/demo/page.html", b"changed by a test");
    stack.put("/encrypted/more", b"more");
    stack.ok(&["reset"]);
    assert_eq!(stack.read("/encrypted/demo/page.html"), b"<p>hello</p>");
    assert_eq!(stack.s3("GET", "/encrypted/more", None).0, 404);
    assert_eq!(seeded.credentials("bob"), bob, "clients of a stack need no new credentials after a reset");
    assert_eq!(seeded.status_as("app-of-bob", "GET", "/encrypted/demo/page.html"), 200);
    assert_eq!(seeded.ran(), "one\none\n");
    assert_eq!(seeded.up(), Vec::<String>::new());
    stack.put("/encrypted/demo/page.html", b"changed by a test");
    stack.ok(&["snapshot", "restore", "seeded"]);
    assert_eq!(stack.read("/encrypted/demo/page.html"), b"<p>hello</p>");
    assert_eq!(seeded.up(), Vec::<String>::new());
    assert_eq!(seeded.ran(), "one\none\n", "what the command made is in the snapshot");
    assert_eq!(stack.json(&["verify"])["proven"], true);
}

#[test]
#[ignore = "needs an engine"]
fn what_cannot_be_taken_is_refused_before_anything_is_made() {
    let seeded = Seeded::new();
    let stack = &seeded.0;
    symlink("/etc/passwd", seeded.file("files/passwd")).unwrap();
    for verb in [&["up"][..], &["config", "check"], &["plan"]] {
        let said = stack.fails(verb, 2);
        assert!(said.contains("leads out of its folder"), "{said}");
    }
    assert!(!stack.root().exists());
    std::fs::remove_file(seeded.file("files/passwd")).unwrap();
    seeded.write("reader.json", &POLICY.replace("Allow", "allow"));
    assert!(stack.fails(&["up"], 2).contains("Effect must be Allow or Deny"));
    assert!(!stack.root().exists());
    seeded.write("reader.json", POLICY);
    let other = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(seeded.file("seed"), other).unwrap();
    let said = stack.fails(&["up"], 2);
    assert!(said.contains("seed.run names") && said.contains("can be written by other users"), "{said}");
}

#[test]
#[ignore = "needs an engine"]
fn a_command_that_fails_shows_what_it_said_and_runs_again() {
    let seeded = Seeded::new();
    let stack = &seeded.0;
    seeded.write("seed", "#!/bin/sh\necho this went wrong >&2\nexit 7\n");
    let said = stack.fails(&["up"], 6);
    assert!(said.contains("this went wrong") && said.contains("exit status: 7"), "{said}");
    seeded.write("seed", SCRIPT);
    assert_eq!(seeded.up(), ["run ./seed one"]);
    assert_eq!(seeded.ran(), "one\n");
}
