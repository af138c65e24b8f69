//! A Docker behind TCP and TLS, which sees only some of this machine's folders. Runs under `tests/with-docker` with
//! `KESTACK_E2E_ELSEWHERE=1`.

use std::path::PathBuf;

use crate::bounded::Bounded as _;
use crate::sandbox::{Sandbox, text};

/// A folder that the daemon sees, or one that it does not see.
fn folder(variable: &str) -> PathBuf {
    std::env::var_os(variable).expect("run this test with KESTACK_E2E_ELSEWHERE=1 tests/with-docker").into()
}

#[test]
#[ignore = "needs a Docker behind TCP"]
fn a_docker_behind_tls_that_shares_the_folder_runs_a_stack() {
    let shared = folder("KESTACK_E2E_SHARED");
    let stack = Sandbox::below(&shared);
    let host = std::env::var("DOCKER_HOST").unwrap();
    let address = host.strip_prefix("tcp://").unwrap().rsplit_once(':').unwrap().0;
    let up = stack.json(&["up"]);
    assert!(up["s3"].as_str().unwrap().contains(address), "ports are at the engine's address: {up}");
    stack.put("/encrypted/kept", b"precious");
    assert_eq!(stack.json(&["up"])["changed"], 0);
    assert_eq!(stack.json(&["status"])["state"], "running");
    assert!(stack.variable("KES_SERVER").contains(address));
    assert_eq!(stack.json(&["verify"])["proven"], true);
    assert!(stack.ok(&["list"]).contains(&stack.name));
    assert!(stack.ok(&["logs", "--tail", "5"]).contains("minio"));
    stack.ok(&["sandbox", "create", "one"]);
    stack.ok(&["chaos", "kes-down", "--for", "1s"]);
    stack.ok(&["snapshot", "save", "kept"]);
    stack.ok(&["reset"]);
    assert_eq!(stack.s3("GET", "/encrypted/kept", None).0, 404);
    stack.ok(&["snapshot", "restore", "kept"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
    stack.ok(&["down"]);
    stack.fails(&["status"], 3);
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
    let plain = stack.command(&["status"]).env_remove("DOCKER_TLS_VERIFY").finished();
    assert_eq!(plain.status.code(), Some(6), "{}", text(&plain.stderr));
    assert!(text(&plain.stderr).contains("DOCKER_TLS_VERIFY"), "{}", text(&plain.stderr));
}

#[test]
#[ignore = "needs a Docker behind TCP"]
fn a_docker_that_does_not_see_the_folder_is_refused() {
    let hidden = folder("KESTACK_E2E_HIDDEN");
    let stack = Sandbox::below(&hidden);
    let said = stack.fails(&["up"], 6);
    assert!(said.contains("does not see") && said.contains("KESTACK_DIR"), "{said}");
    assert_eq!(std::fs::read_dir(&hidden).unwrap().count(), 0, "nothing was made");
    assert!(!stack.ok(&["list"]).contains(&stack.name));
}
