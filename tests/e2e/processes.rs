//! What only the process engine has: supervisors, and a place among the other engines.

// another MinIO is a script there, which no container could run
#[path = "minio_change.rs"]
mod minio_change;

use std::path::Path;

use crate::bounded::Bounded as _;
use crate::engine::{kill, kind, processes};
use crate::sandbox::{Sandbox, text};
use crate::support::binary;

/// Process numbers of a stack's processes of that program.
fn pids(stack: &Sandbox, program: &str) -> Vec<String> {
    let lines = processes(&stack.name, program);
    lines.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
#[ignore = "needs the process engine"]
fn whatever_is_killed_comes_back_with_its_data() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    for victims in [&["kes"][..], &["minio"], &["kestack"], &["kes", "minio"], &["kestack", "kes", "minio"]] {
        let pids: Vec<_> = victims.iter().flat_map(|program| pids(&stack, program)).collect();
        kill(&pids);
        stack.ok(&["up"]);
        assert_eq!(stack.json(&["verify"])["proven"], true);
        assert_eq!(stack.read("/encrypted/kept"), b"precious", "{victims:?}");
        let running: Vec<_> = ["kes", "minio", "kestack"].iter().map(|name| processes(&stack.name, name)).collect();
        assert_eq!(running.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 2], "{victims:?}: {running:#?}");
    }
}

/// Who waits for the end of a lock, or of a pipe, waits for all that have it open.
#[test]
#[ignore = "needs the process engine"]
fn servers_keep_nothing_open_of_the_shell_that_started_them() {
    let stack = Sandbox::new("ui: true\n");
    let lock = stack.folder().join("job.lock");
    let (flock, kestack) = (Path::new("flock"), binary());
    let [lock, kestack] = [&lock, &kestack].map(|path| path.to_str().unwrap());
    let up = stack.command_of(flock, &[lock, kestack, "up"]).finished();
    assert!(up.status.success(), "{}", text(&up.stderr));
    let next = stack.command_of(flock, &["--nonblock", lock, "true"]).finished();
    assert!(next.status.success(), "the lock is still held");
}

#[test]
#[ignore = "needs the process engine"]
fn a_killed_server_comes_back_by_itself() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    for program in ["kes", "minio"] {
        let before = pids(&stack, program);
        kill(&before);
        let start = std::time::Instant::now();
        let back = || pids(&stack, program).iter().any(|pid| !before.contains(pid));
        while !back() || !stack.run(&["status"]).status.success() {
            assert!(start.elapsed().as_secs() < 10, "{program}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    assert_eq!(stack.json(&["verify"])["proven"], true);
}

#[test]
#[ignore = "needs the process engine"]
fn a_key_that_was_lost_does_not_come_back_with_a_crashed_kes() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let key = stack.root().join("keys/minio-backend-key");
    std::fs::rename(&key, stack.root().join("lost")).unwrap();
    let before = pids(&stack, "kes");
    kill(&before);
    let start = std::time::Instant::now();
    let is_back =
        || pids(&stack, "kes").iter().any(|pid| !before.contains(pid)) && stack.run(&["key", "list"]).status.success();
    while !is_back() {
        assert!(start.elapsed().as_secs() < 20, "KES does not come back");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(!key.exists(), "a new key took the name of the lost one");
    stack.fails(&["up"], 7);
    std::fs::rename(stack.root().join("lost"), &key).unwrap();
    stack.ok(&["up"]);
    assert_eq!(stack.json(&["verify"])["proven"], true);
}

#[test]
#[ignore = "needs the process engine"]
fn down_finds_servers_without_supervisors() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    kill(&pids(&stack, "kestack"));
    stack.ok(&["down", "--data"]);
    assert_eq!(kind().members(&stack.name), Vec::<String>::new());
    assert!(!stack.root().exists());
}

#[test]
#[ignore = "needs the process engine"]
fn a_stack_stays_on_its_engine() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    assert_eq!(stack.json(&["up", "--engine", "auto"])["changed"], 0, "auto finds what runs");
    let error = stack.fails(&["up", "--engine", "podman"], 6);
    assert!(error.contains("is up as processes") && error.contains("kestack down --engine process"), "{error}");
}

#[test]
#[ignore = "needs the process engine"]
fn auto_falls_back_to_processes_and_says_so() {
    for socket in ["/run/podman/podman.sock", "/var/run/docker.sock"] {
        assert!(!Path::new(socket).exists(), "{socket} is here: run this test with tests/as-user");
    }
    let stack = Sandbox::new("");
    let mut command = stack.command(&["up", "--engine", "auto", "--quiet", "--output", "json"]);
    let output = command.env("PATH", "/nonexistent").env_remove("XDG_RUNTIME_DIR").finished();
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains("no container engine answers: the servers are processes of this host"), "{stderr}");
    assert!(text(&output.stdout).contains("\"engine\": \"process "));
    assert_eq!(stack.json(&["verify", "--engine", "auto"])["proven"], true);
}

#[test]
#[ignore = "needs the process engine"]
fn images_are_refused_before_anything_is_made() {
    let stack = Sandbox::new("minio: { port: 0, console_port: 0, image: example.org/minio }\n");
    let error = stack.fails(&["up"], 6);
    assert!(error.contains("minio.image") && error.contains("minio.binary"), "{error}");
    let error = stack.fails(&["up", "--host", "unix:///nonexistent/podman.sock"], 6);
    assert!(error.contains("--host"), "{error}");
    assert!(!stack.base().exists());
}

#[test]
#[ignore = "needs the process engine"]
fn a_server_that_cannot_start_is_reported_with_its_words() {
    let stack = Sandbox::new("minio: { port: 0, console_port: 0, binary: not-minio }\n");
    let program = stack.folder().join("not-minio");
    std::fs::write(&program, "#!/bin/sh\necho 'not today' >&2\nexit 7\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = stack.fails(&["up"], 4);
    assert!(error.contains("MinIO ended with exit code 7") && error.contains("not today"), "{error}");
}

#[test]
#[ignore = "needs the process engine"]
fn a_path_with_blanks_works() {
    let stack = Sandbox::new("dir: with blanks\n");
    let run = |arguments: &[&str]| {
        let output = stack.command(arguments).env_remove("KESTACK_DIR").finished();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    run(&["up"]);
    run(&["verify"]);
    run(&["down", "--data"]);
    assert_eq!(kind().members(&stack.name), Vec::<String>::new());
}

#[test]
#[ignore = "needs the process engine"]
fn nothing_goes_on_without_the_stacks_folder() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    std::fs::remove_dir_all(stack.root()).unwrap();
    let start = std::time::Instant::now();
    while ["kes", "minio", "kestack"].iter().any(|name| !processes(&stack.name, name).is_empty()) {
        assert!(start.elapsed().as_secs() < 60, "supervisors or servers go on");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    stack.ok(&["up"]);
    stack.put("/encrypted/new", b"works");
}

/// With so few files MinIO lets every upload wait forever.
#[test]
#[ignore = "needs the process engine"]
fn too_low_a_limit_of_open_files_is_refused_by_name() {
    let stack = Sandbox::new("");
    let limited = |arguments: &str| {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("ulimit -n 256 && exec \"$0\" {arguments}")]).arg(binary());
        shell.current_dir(stack.folder()).env("KESTACK_DIR", stack.base()).env("KESTACK_ENGINE", "process");
        shell.finished()
    };
    let output = limited("up");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{error}");
    assert!(error.contains("may open 256 files and connections") && error.contains("ulimit -n"), "{error}");
    assert!(!stack.root().exists(), "nothing was made");
    let output = limited("doctor");
    assert!(text(&output.stdout).contains("may open 256 files and connections"), "{}", text(&output.stdout));
    stack.ok(&["up"]);
    assert_eq!(stack.json(&["status"])["state"], "running");
}
