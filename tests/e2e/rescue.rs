//! Everything that can be read is written out in clear: of a stack that runs, that cannot start, and of a snapshot.

use std::path::Path;

use serde_json::{Value, json};

use crate::sandbox::{Sandbox, text};

fn stack(more: &str) -> Sandbox {
    let buckets = "keys: [minio-backend-key, docs-key]\nbuckets:\n  - { name: docs, key: docs-key, versioning: true }\n  - { name: other, encryption: sse-s3 }\n";
    let stack = Sandbox::new(&format!("{more}{buckets}"));
    stack.ok(&["up"]);
    stack.fill(&["first", "second"], 3_000_000);
    stack
}

fn rescue(stack: &Sandbox, name: &str, more: &[&str]) -> Value {
    let destination = stack.folder().join(name).display().to_string();
    stack.json(&[&["rescue", &destination], more].concat())
}

/// The current objects as they were stored.
fn check(place: &Path) {
    let read = |name: &str| std::fs::read(place.join("objects").join(name)).unwrap();
    assert_eq!(read("docs/a"), b"second");
    assert_eq!(read("docs/deep/big"), vec![7; 3_000_000]);
    assert_eq!(read("docs/we<i>&rd ü"), b"odd");
    assert_eq!(read("other/s3"), b"default key");
    assert!(!place.join("objects/docs/deleted").exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(place.join("objects/docs/a")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
#[ignore = "needs an engine"]
fn objects_of_two_keys_are_written_from_a_running_stack_and_from_a_dead_one() {
    let stack = stack("");
    let done = rescue(&stack, "running", &[]);
    assert_eq!((&done["objects"], &done["versions"], &done["unreadable"]), (&json!(4), &json!(0), &json!(0)), "{done}");
    check(&stack.folder().join("running"));
    assert_eq!(stack.read("/docs/a"), b"second", "the stack goes on");

    stack.ok(&["down"]);
    for name in ["certs", "config"] {
        std::fs::remove_dir_all(stack.root().join(name)).unwrap();
    }
    let done = rescue(&stack, "dead", &["--versions"]);
    assert_eq!((&done["objects"], &done["versions"]), (&json!(4), &json!(2)), "{done}");
    let place = stack.folder().join("dead");
    check(&place);
    let earlier = std::fs::read_dir(place.join("versions/docs/a")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read(earlier).unwrap(), b"first");
    let report: Value = serde_json::from_slice(&std::fs::read(place.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["bytes"], done["bytes"]);
    let error = stack.fails(&["rescue", place.to_str().unwrap()], 2);
    assert!(error.contains("is not empty"), "{error}");
    let inside = stack.root().join("minio/rescued");
    let error = stack.fails(&["rescue", inside.to_str().unwrap()], 2);
    assert!(error.contains("which must not change") && !inside.exists(), "{error}");
}

/// The engine went with its runtime folder: MinIO is taken for stopped only if the caller says so.
#[test]
#[ignore = "needs an engine"]
fn without_its_engine_the_caller_says_that_minio_is_stopped() {
    let stack = stack("");
    let done = rescue(&stack, "running", &["--stopped"]);
    assert_eq!(
        (&done["objects"], &done["unreadable"]),
        (&json!(4), &json!(0)),
        "who runs is paused all the same: {done}"
    );
    stack.ok(&["stop"]);
    let absent = format!("unix://{}", stack.folder().join("absent.sock").display());
    let silent = ["--engine", "podman", "--host", &absent];
    let place = stack.folder().join("refused");
    let error = stack.fails(&[&["rescue", place.to_str().unwrap()], &silent[..]].concat(), 6);
    assert!(error.contains("does not answer") && error.contains("`--stopped`"), "{error}");
    assert!(!place.exists(), "nothing is left of it");
    let done = rescue(&stack, "stopped", &[&["--stopped"], &silent[..]].concat());
    assert_eq!((&done["objects"], &done["unreadable"]), (&json!(4), &json!(0)), "{done}");
    check(&stack.folder().join("stopped"));
    stack.ok(&["start"]);
    assert_eq!(stack.read("/docs/a"), b"second");
    stack.ok(&["down"]);
    // a stack that is up nowhere has no MinIO
    let done = rescue(&stack, "down", &silent);
    assert_eq!((&done["objects"], &done["unreadable"]), (&json!(4), &json!(0)), "{done}");
}

#[test]
#[ignore = "needs an engine"]
fn what_cannot_be_read_is_listed_with_the_reason() {
    let stack = stack("");
    stack.ok(&["down"]);
    std::fs::remove_file(stack.root().join("keys/docs-key")).unwrap();
    let folder = stack.root().join("minio/other/s3/xl.meta");
    let mut meta = std::fs::read(&folder).unwrap();
    let last = meta.len() - 20;
    meta[last] ^= 1;
    std::fs::write(&folder, meta).unwrap();
    let place = stack.folder().join("partly");
    let error = stack.fails(&["rescue", place.to_str().unwrap()], 7);
    assert!(error.contains("4 versions could not be read") && error.contains("key 'docs-key'"), "{error}");
    let lines = std::fs::read_to_string(place.join("unreadable.jsonl")).unwrap();
    assert!(lines.lines().count() == 4 && lines.contains("\"object\":\"s3\""), "{lines}");
}

#[test]
#[ignore = "needs an engine"]
fn a_snapshot_file_is_rescued_elsewhere() {
    let (stack, other) = (stack("kes: { port: 0, seal: true }\n"), Sandbox::new(""));
    stack.ok(&["snapshot", "save", "one"]);
    stack.put("/docs/a", b"later");
    let file = stack.folder().join("one.tar").display().to_string();
    stack.ok(&["snapshot", "export", "one", &file, "--plain"]);
    other.ok(&["snapshot", "import", &file, "--plain"]);
    let place = other.folder().join("there");
    let error = other.fails(&["rescue", place.to_str().unwrap(), "--snapshot", "one"], 7);
    assert!(error.contains("the keystore cannot be opened"), "its master key is not in the file: {error}");
    let master = other.root().join("certs/keystore");
    std::fs::create_dir_all(&master).unwrap();
    std::fs::copy(stack.root().join("certs/keystore/master.key"), master.join("master.key")).unwrap();
    let done = rescue(&other, "again", &["--snapshot", "one"]);
    assert_eq!((&done["objects"], &done["snapshot"]), (&json!(4), &json!("one")), "{done}");
    check(&other.folder().join("again"));
    assert!(!text(&std::fs::read(other.folder().join("again/report.json")).unwrap()).contains("master"));
}

mod processes {
    use std::time::{Duration, Instant};

    use super::*;

    /// The MinIO that serves a clone below a folder.
    fn server(folder: &Path) -> Option<i32> {
        let clone = folder.join(".kestack-clone-").to_string_lossy().into_owned();
        let is_one = |pid: &i32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            text(&words).contains(&clone)
        };
        let mut processes = std::fs::read_dir("/proc").unwrap();
        processes.find_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok().filter(is_one))
    }

    #[test]
    #[ignore = "needs an engine"]
    fn a_rescue_whose_minio_ends_says_so_and_is_not_complete() {
        let stack = stack("");
        stack.put_many("other", 300, 100_000);
        let place = stack.folder().join("there");
        let mut running = stack.start(&["rescue", place.to_str().unwrap()]);
        let start = Instant::now();
        while !place.join("objects").exists() {
            assert!(start.elapsed() < Duration::from_secs(60), "nothing is written");
            std::thread::sleep(Duration::from_millis(1));
        }
        let pid = rustix::process::Pid::from_raw(server(&stack.root()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        assert_eq!(running.wait().unwrap().code(), Some(4));
        assert!(!place.join("report.json").exists());
    }
}
