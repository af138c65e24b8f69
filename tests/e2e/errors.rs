//! What can be wrong is said clearly, and before anything is made.

use std::net::TcpListener;

use crate::engine::kind;
use crate::sandbox::Sandbox;

/// Nothing was made: no folder, no pod.
fn untouched(stack: &Sandbox) {
    assert!(!stack.base().exists(), "files were made");
    assert_eq!(kind().members(&stack.name), Vec::<String>::new(), "a pod was made");
}

#[test]
#[ignore = "needs an engine"]
fn a_taken_port() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let stack = Sandbox::new(&format!("minio: {{ port: {port}, console_port: 0 }}\n"));
    let error = stack.fails(&["up"], 6);
    let expected = format!(
        "error: port 127.0.0.1:{port} for S3 is not available: Address already in use (os error 98)\n  stop the program \
         that uses it (`ss -ltnp` shows it), or let `kestack up --port auto` choose free ports, or write others into kestack.yaml: kes.port, \
         minio.port, minio.console_port (0 means any free one)\n"
    );
    assert_eq!(error, expected);
    untouched(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn an_unwritable_folder() {
    let stack = Sandbox::new("");
    // for root, too, nothing can be made below /proc
    let error = stack.fails(&["up", "--dir", "/proc/kestack"], 6);
    assert!(error.starts_with("error: cannot write to '/proc'"), "{error}");
    assert!(error.contains("choose another place with --dir"), "{error}");
    untouched(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn a_file_where_the_folder_should_be() {
    let stack = Sandbox::new("");
    let file = stack.folder().join("file");
    std::fs::write(&file, "").unwrap();
    let error = stack.fails(&["up", "--dir", file.to_str().unwrap()], 6);
    assert!(error.contains("it is not a folder"), "{error}");
    untouched(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn no_minio() {
    let stack = Sandbox::new("minio: { port: 0, console_port: 0, binary: /nonexistent/minio }\n");
    let error = stack.fails(&["up"], 6);
    assert!(error.contains("/nonexistent/minio"), "{error}");
    untouched(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn a_broken_manifest_and_an_unknown_keystore() {
    let stack = Sandbox::new("keystore: { etcd: { endpoint: x } }\nbukets: []\nkeys: [a b]\n");
    let error = stack.fails(&["up"], 2);
    for part in ["kestack.yaml:5:", "kestack.yaml:6:", "kestack.yaml:7:", "etcd", "bukets", "buckets"] {
        assert!(error.contains(part), "'{part}' is missing in:\n{error}");
    }
    untouched(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn a_foreign_pod_of_that_name() {
    let stack = Sandbox::new("");
    let seed = Sandbox::new("");
    seed.ok(&["up"]);
    let error = stack.fails(&["status"], 3);
    assert!(error.contains("is not running"), "{error}");
    assert!(error.contains("kestack up"), "{error}");
}

/// About containers and images, which the process engine does not have.
mod containers {
    use super::*;

    #[test]
    #[ignore = "needs Podman or Docker"]
    fn no_engine() {
        let stack = Sandbox::new("");
        let error = stack.fails(&["up", "--host", "unix:///nonexistent/podman.sock"], 6);
        assert!(error.contains("/nonexistent/podman.sock"), "{error}");
        untouched(&stack);
    }
}
