//! Leaving KES: the one key becomes the static key of MinIO, and everything is the same on a clone.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::sandbox::Sandbox;
use crate::signed;

/// A stack with one key, versions, SSE-KMS, also with a client's own context, and SSE-S3.
fn stack(more: &str) -> Sandbox {
    let buckets = "buckets:\n  - { name: docs, versioning: true }\n  - { name: other, encryption: sse-s3 }\n";
    let stack = Sandbox::new(&format!("{more}{buckets}"));
    stack.ok(&["up"]);
    stack.fill(&["first", "second"], 3_000_000);
    signed::with_context(&stack, "PUT", "/docs/context", b"bound", "minio-backend-key");
    stack
}

/// What is left of clones in a folder.
pub(crate) fn clones(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains("kestack-clone-")).collect()
}

#[test]
#[ignore = "needs an engine"]
fn all_data_is_the_same_without_kes_and_the_key_is_written() {
    let stack = stack("");
    let file = stack.folder().join("static.env");
    let done = stack.json(&["escape", "--write-key-in-clear", file.to_str().unwrap()]);
    assert_eq!((&done["same"], &done["proven"]), (&json!(7), &json!(true)), "{done}");
    assert!(done["minio_files"].as_u64().unwrap() >= 2, "{done}");
    assert_eq!(clones(&stack.root()), Vec::<PathBuf>::new());
    let line = std::fs::read_to_string(&file).unwrap();
    assert!(line.starts_with("MINIO_KMS_SECRET_KEY=minio-backend-key:") && line.lines().count() == 1);
    assert!(!done.to_string().contains(line.trim().rsplit_once(':').unwrap().1), "the report has no secret");
    let error = stack.fails(&["escape", "--write-key-in-clear", file.to_str().unwrap()], 2);
    assert!(error.contains("already exists"), "{error}");

    let sampled = stack.json(&["escape", "--sample", "2"]);
    assert_eq!((&sampled["same"], &sampled["written"]), (&json!(2), &json!(null)), "{sampled}");
    assert_eq!(stack.read("/docs/a"), b"second", "the stack goes on");
    stack.ok(&["verify", "--bucket", "docs"]);
}

#[test]
#[ignore = "needs an engine"]
fn a_second_key_is_named_and_nothing_is_written() {
    let stack = stack("");
    let file = stack.folder().join("static.env");
    stack.ok(&["bucket", "create", "secret", "--key", "second"]);
    let error = stack.fails(&["escape", "--write-key-in-clear", file.to_str().unwrap()], 7);
    assert!(error.contains("'second'") && error.contains("kestack key rotate second"), "{error}");
    stack.put("/secret/a", b"under the second key");
    let error = stack.fails(&["escape"], 7);
    assert!(error.contains("1 object in bucket 'secret'"), "{error}");
    assert!(!file.exists());
    stack.ok(&["key", "rotate", "second", "minio-backend-key", "--no-snapshot"]);
    assert_eq!(stack.json(&["escape"])["proven"], json!(true));
}

#[test]
#[ignore = "needs an engine"]
fn a_damaged_object_is_named_and_no_key_is_written() {
    let stack = stack("");
    let file = stack.folder().join("static.env");
    let folder = stack.root().join("minio/docs/deep/big");
    let part = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
    let part = part.unwrap().join("part.1");
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[2_000_000] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let error = stack.fails(&["escape", "--write-key-in-clear", file.to_str().unwrap()], 5);
    assert!(error.contains("'docs/deep/big'") && error.contains("no key was written"), "{error}");
    assert!(!file.exists());
}

#[test]
#[ignore = "needs an engine"]
fn sealed_keys_leave_too() {
    let stack = stack("kes: { port: 0, seal: true }\n");
    assert_eq!(stack.json(&["escape"])["proven"], json!(true));
}

pub(crate) mod processes {
    use std::process::Child;
    use std::time::{Duration, Instant, SystemTime};

    use super::*;

    /// MinIO and KES processes whose clone is below a folder.
    pub(crate) fn servers(folder: &Path) -> Vec<i32> {
        let clone = folder.join(".kestack-clone-").to_string_lossy().into_owned();
        let is_one = |pid: &i32| {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains(&clone)
        };
        let processes = std::fs::read_dir("/proc").unwrap();
        processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).filter(is_one).collect()
    }

    pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(30), "{what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    #[ignore = "needs an engine"]
    fn a_killed_escape_ends_its_minio_and_the_next_one_or_gc_clears_its_clone() {
        let stack = stack("");
        stack.put_many("docs", 300, 10_000);
        let work = tempfile::tempdir().unwrap();
        let own = stack.root();
        let named = ["escape", "--work-dir", work.path().to_str().unwrap()];
        for (place, call, next) in
            [(own.as_path(), &["escape"][..], &["escape", "--sample", "1"][..]), (work.path(), &named, &["gc"])]
        {
            let running = stack.start(call);
            wait_until("its MinIO starts", || !servers(place).is_empty());
            kill(running);
            wait_until("its MinIO ends", || servers(place).is_empty());
            assert_eq!(stack.read("/docs/a"), b"second", "the stack's MinIO goes on");
            let left = clones(place);
            assert_eq!(left.len(), 1);
            let long_ago = SystemTime::now() - Duration::from_secs(60);
            std::fs::File::open(&left[0]).unwrap().set_modified(long_ago).unwrap();
            stack.ok(next);
            assert_eq!(clones(place), Vec::<PathBuf>::new());
        }
        assert!(!own.join("clones.json").exists(), "nothing is left on record");
    }
}
