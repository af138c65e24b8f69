//! up, up again, down, and what stays in between.

use crate::engine::{cli, kind};
use crate::sandbox::{Sandbox, binary};

#[test]
#[ignore = "needs an engine"]
fn a_stack_comes_up_once_and_keeps_its_data() {
    let stack = Sandbox::new("");
    let first = stack.json(&["up"]);
    assert!(first["changed"].as_u64().unwrap() > 10, "{first}");
    let second = stack.json(&["up"]);
    assert_eq!(second["changed"], 0, "{second}");
    assert_eq!(second["s3"], first["s3"], "automatic ports must not move");
    assert_eq!(stack.json(&["plan"])["changes"], 0);

    let data = vec![42; 100_000];
    stack.put("/encrypted/kept", &data);
    stack.ok(&["down"]);
    assert_eq!(kind().members(&stack.name), Vec::<String>::new());
    stack.fails(&["status"], 3);
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), data);
    stack.ok(&["down", "--data"]);
    assert!(!stack.root().exists());
}

#[test]
#[ignore = "needs an engine"]
fn a_changed_configuration_restarts_only_its_reader() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let kes = format!("{}-kes-server", stack.name);
    let before = kind().started(&kes);
    stack.manifest("minio: { port: 0, console_port: 0, env: { MINIO_SITE_NAME: changed } }\n");
    let plan = stack.json(&["plan"]);
    let replaced: Vec<_> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["decision"] == "replace")
        .map(|step| step["kind"].as_str().unwrap())
        .collect();
    assert_eq!(replaced, ["file", "container"], "{plan}");
    stack.ok(&["up"]);
    assert_eq!(kind().started(&kes), before, "KES must not restart");
    stack.ok(&["verify"]);
}

#[test]
#[ignore = "needs an engine"]
fn declared_keys_and_buckets_are_there_with_their_encryption() {
    let stack = Sandbox::new(
        "keys: [first, second]\nbuckets:\n  - { name: one }\n  - { name: two, key: second, versioning: true }\n  \
         - { name: three, encryption: sse-s3 }\n  - { name: four, encryption: none }\n",
    );
    stack.ok(&["up"]);
    let status = stack.json(&["status"]);
    assert_eq!(status["keys"], serde_json::json!(["first", "second"]));
    let expected = serde_json::json!({
        "one": "SSE-KMS with key 'first'",
        "two": "SSE-KMS with key 'second'",
        "three": "SSE-S3",
        "four": "none",
    });
    assert_eq!(status["buckets"], expected);
    assert_eq!(stack.json(&["bucket", "info", "two"])["versioning"], true);
    assert_eq!(status["state"], "running");
    assert!(status["certificate_days_left"]["minio"].as_i64().unwrap() > 300, "{status}");
}

/// About containers and images, which the process engine does not have.
mod containers {
    use super::*;

    #[test]
    #[ignore = "needs Podman or Docker"]
    fn an_upgrade_removes_the_image_of_the_former_program() {
        let stack = Sandbox::new("");
        let image = || cli(&["inspect", "--format", "{{.Image}}", &format!("{}-kes-server", stack.name)]);
        let present = |id: &str| {
            let all = cli(&["images", "--no-trunc", "--format", "{{.ID}}"]);
            all.lines().any(|line| line.trim_start_matches("sha256:") == id.trim().trim_start_matches("sha256:"))
        };
        let upgrade = |version: &str| {
            let program = stack.folder().join("kes");
            let mut bytes = std::fs::read(binary().with_file_name("kes")).unwrap();
            bytes.extend(format!("{version} {}", stack.name).bytes());
            std::fs::write(&program, bytes).unwrap();
            stack.manifest(&format!("kes: {{ port: 0, binary: {} }}\n", program.display()));
            stack.ok(&["up"]);
            image()
        };
        let first = upgrade("first");
        let second = upgrade("second");
        assert_ne!(first, second);
        assert!(present(&second) && !present(&first), "{first} {second}");
        stack.ok(&["verify"]);
        stack.ok(&["down", "--data"]);
        cli(&["rmi", second.trim()]);
    }
}
