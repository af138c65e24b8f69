//! Files of MinIO's own that are too long to stand inside their metadata get another key as well.

use std::io::{Cursor, Write as _};
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{is_free, runtime};
use crate::bounded::ended;
use crate::faults::{seeded, times};
use crate::sandbox::{Sandbox, text};

/// Policies of some hundred KiB, and of more than the MiB that MinIO stores in one piece.
const LONG: [(&str, usize); 2] = [("long", 700), ("longer", 5000)];

/// A stack with long policies.
fn stack() -> (Sandbox, Vec<Vec<String>>) {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("iam-assets/policies.json", SimpleFileOptions::default()).unwrap();
    let policies: Value = LONG.into_iter().map(|(name, lines)| (name.to_owned(), policy(lines))).collect();
    archive.write_all(policies.to_string().as_bytes()).unwrap();
    let archive = archive.finish().unwrap().into_inner();
    let imported = runtime().block_on(stack.client().import_iam(archive)).unwrap();
    assert!(imported.whole(), "{imported:?}");
    let policies = policies_of(&stack);
    (stack, policies)
}

fn policy(lines: usize) -> Value {
    let resources: Vec<_> =
        (0..lines).map(|line| format!("arn:aws:s3:::docs/{line:05}{}/*", "p".repeat(300))).collect();
    let statement = json!({ "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": resources });
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

/// What the policies are about; MinIO says it in any order.
fn policies_of(stack: &Sandbox) -> Vec<Vec<String>> {
    let (s3, runtime) = (stack.client(), runtime());
    let resources = |(name, _)| {
        let policy = runtime.block_on(s3.policy(name)).unwrap().unwrap();
        let policy: Value = serde_json::from_str(&policy).unwrap();
        let mut resources: Vec<String> = serde_json::from_value(policy["Statement"][0]["Resource"].clone()).unwrap();
        resources.sort();
        resources
    };
    LONG.into_iter().map(resources).collect()
}

/// The policies are as they were, also for a MinIO that reads them again, and each has its content once.
fn check(stack: &Sandbox, policies: &[Vec<String>]) {
    for (name, lines) in LONG {
        let folder = stack.root().join(format!("minio/.minio.sys/config/iam/policies/{name}/policy.json"));
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        assert_eq!((folders.len(), files.len()), (1, 1), "{folders:?} {files:?}");
        let length = std::fs::metadata(folders[0].join("part.1")).unwrap().len();
        assert!(length > 300 * lines as u64, "{length}");
    }
    stack.ok(&["stop"]);
    stack.ok(&["start"]);
    assert!(policies_of(stack) == policies);
}

#[test]
#[ignore = "needs an engine"]
fn long_files_of_minio_get_the_key_too() {
    let (stack, policies) = stack();
    let files = stack.json(&["inventory"])["keys"]["minio-backend-key"]["minio_files"].clone();
    assert!(files.as_u64().unwrap() >= 4, "{files}");
    let done = stack.json(&["key", "rotate", "minio-backend-key", "a-key-with-a-longer-name", "--no-snapshot"]);
    assert_eq!((&done["left"], &done["minio_files"]), (&json!([]), &files), "{done}");
    check(&stack, &policies);
    let back = stack.json(&["key", "rotate", "minio-backend-key", "--undo"]);
    assert_eq!((&back["left"], &back["minio_files"]), (&json!([]), &files), "{back}");
    check(&stack, &policies);
    let done = stack.json(&["key", "rotate", "minio-backend-key", "k", "--no-snapshot", "--delete-old"]);
    assert_eq!((&done["left"], &done["deleted"]), (&json!([]), &json!(true)), "{done}");
    check(&stack, &policies);
}

#[test]
#[ignore = "needs an engine"]
fn long_files_survive_a_killed_rotation() {
    let (stack, policies) = stack();
    let rotate = |old: &'static str, new: &'static str| ["key", "rotate", old, new, "--no-snapshot", "--delete-old"];
    let start = Instant::now();
    stack.ok(&rotate("minio-backend-key", "one"));
    let (span, mut dice, mut pair) = (start.elapsed(), seeded(), ("one", "another"));
    let mut unfinished = 0;
    for _ in 0..times("KESTACK_E2E_KILLS", 2) {
        let mut child = stack.start(&rotate(pair.0, pair.1));
        std::thread::sleep(dice.moment(span));
        let _ = child.kill();
        ended(&mut child);
        let record = stack.root().join("config/rotation.json");
        if is_begun(&record) {
            unfinished += 1;
        }
        // its former key may be gone already
        let again = stack.run(&rotate(pair.0, pair.1));
        let said = text(&again.stderr);
        assert!(again.status.success() || said.contains("there is no key"), "{said}");
        assert!(is_free(&stack, pair.0), "{}", pair.0);
        check(&stack, &policies);
        pair = (pair.1, pair.0);
    }
    eprintln!("{unfinished} rotations were not complete when they were killed");
}

/// True if a rotation was begun, and is not complete.
fn is_begun(record: &Path) -> bool {
    let text = std::fs::read_to_string(record).unwrap_or("{}".into());
    serde_json::from_str::<Value>(&text).unwrap()["complete"] == json!(false)
}
