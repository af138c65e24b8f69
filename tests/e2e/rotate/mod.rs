//! A key is replaced by another: everything under it can be read afterwards without the former one, and nothing else changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kestack::unstable::servers::s3::S3Client;
use serde_json::json;

use crate::bounded::ended;
use crate::faults::{Dice, seeded, times};
use crate::sandbox::{Sandbox, text};

mod drive;
mod kinds;
mod own;
mod under_way;

/// A stack whose bucket `docs` keeps versions under a key of its own.
const MANIFEST: &str = "keys: [minio-backend-key, docs-key] # both\nbuckets:\n  # papers\n  - { name: docs, key: docs-key, versioning: true }\n  - { name: other, encryption: sse-s3 }\n";

fn stack() -> Sandbox {
    let stack = Sandbox::new(MANIFEST);
    stack.ok(&["up"]);
    stack
}

/// MinIO's own list of all versions: names, order, times, `ETag`s, delete markers.
fn versions(stack: &Sandbox, bucket: &str) -> String {
    text(&stack.s3("GET", &format!("/{bucket}?versions="), None).1)
}

/// Objects of each kind.
fn fill(stack: &Sandbox) {
    stack.fill(&["first", "second", "third"], 300_000);
    let tags = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    assert_eq!(stack.s3("PUT", "/docs/a?tagging=", Some(tags)).0, 200);
    let user = (stack.variable("AWS_ACCESS_KEY_ID"), stack.variable("AWS_SECRET_ACCESS_KEY"));
    assert_eq!(stack.s3_as(&user, "PUT", "/docs/blue", Some(b"blue"), &["x-amz-meta-color: blue"]).0, 200);
}

/// Each object as it was stored.
fn check(stack: &Sandbox) {
    assert_eq!(stack.read("/docs/a"), b"third");
    assert_eq!(stack.read("/docs/deep/big"), vec![7; 300_000]);
    assert_eq!(stack.read("/docs/we%3Ci%3E%26rd%20%C3%BC"), b"odd");
    assert_eq!(stack.read("/docs/blue"), b"blue");
    assert_eq!(stack.s3("GET", "/docs/deleted", None).0, 404, "it stays deleted");
    assert!(text(&stack.read("/docs/a?tagging=")).contains("<Key>k</Key><Value>v</Value>"));
    assert_eq!(stack.read("/other/s3"), b"default key");
}

/// True if nothing on the drive needs the key.
fn is_free(stack: &Sandbox, key: &str) -> bool {
    let inventory = stack.json(&["inventory"]);
    let used = &inventory["keys"][key];
    used.is_null() || (used["buckets"] == json!({}) && used["minio_files"] == 0 && used["default_of"] == json!([]))
}

fn manifest(stack: &Sandbox) -> String {
    std::fs::read_to_string(stack.folder().join("kestack.yaml")).unwrap()
}

#[test]
#[ignore = "needs an engine"]
fn a_key_of_a_bucket_is_replaced_and_nothing_else_changes() {
    let stack = stack();
    fill(&stack);
    let (listed, yaml) = (versions(&stack, "docs"), manifest(&stack));
    let planned = stack.json(&["key", "rotate", "docs-key", "--dry-run"]);
    assert_eq!((&planned["new"], &planned["versions"]), (&json!("docs-key-2"), &json!(7)), "{planned}");
    assert_eq!(manifest(&stack), yaml, "nothing was changed");
    let done = stack.json(&["key", "rotate", "docs-key"]);
    assert_eq!((&done["versions"], &done["left"]), (&json!(7), &json!([])), "{done}");
    assert!(done["longest_pause_milliseconds"].as_u64().unwrap() < 2000, "{done}");
    assert_eq!(versions(&stack, "docs"), listed, "names, order, times, ETags");
    check(&stack);
    assert!(is_free(&stack, "docs-key"));
    assert_eq!(manifest(&stack), yaml.replace("docs-key", "docs-key-2"));
    let snapshots = stack.json(&["snapshot", "list"]);
    assert_eq!(snapshots["snapshots"][0]["name"], done["snapshot"]);
    assert_eq!(stack.json(&["up"])["changed"], 0);
    let error = stack.fails(&["key", "rotate", "absent"], 2);
    assert!(error.contains("there is no key 'absent'"), "{error}");

    // the former key is gone, and nothing needs it
    let done = stack.json(&["key", "rotate", "docs-key", "docs-key-2", "--delete-old", "--no-snapshot"]);
    assert_eq!((&done["deleted"], &done["versions"]), (&json!(true), &json!(0)), "{done}");
    assert_eq!(stack.json(&["status"])["keys"], json!(["docs-key-2", "minio-backend-key"]));
    stack.ok(&["down"]);
    stack.ok(&["up"]);
    check(&stack);
    stack.ok(&["verify"]);
    stack.fails(&["key", "rotate", "docs-key-2", "--undo"], 2);
}

/// `escape` asks for this: one key for everything, which kestack.yaml lists already.
#[test]
#[ignore = "needs an engine"]
fn two_keys_of_the_manifest_become_one() {
    let stack = stack();
    fill(&stack);
    let yaml = manifest(&stack);
    let call = "key rotate docs-key minio-backend-key";
    assert!(stack.fails(&["escape"], 7).contains(&format!("`kestack {call}`")));
    let call: Vec<_> = call.split(' ').chain(["--no-snapshot"]).collect();
    let done = stack.json(&call);
    assert_eq!((&done["left"], &done["manifest"]), (&json!([]), &json!(true)), "{done}");
    let expected = yaml.replace("[minio-backend-key, docs-key] # both", "[minio-backend-key] # both");
    assert_eq!(manifest(&stack), expected.replace("key: docs-key", "key: minio-backend-key"));
    check(&stack);
    assert!(is_free(&stack, "docs-key"));
    stack.ok(&call);
    assert_eq!(stack.json(&["up"])["changed"], 0);
    assert_eq!(stack.json(&["escape"])["proven"], json!(true));
}

#[test]
#[ignore = "needs an engine"]
fn the_default_key_is_replaced_in_the_files_of_minio_too() {
    let stack = stack();
    fill(&stack);
    let made = stack.json(&["sandbox", "create", "kept"]);
    let (drive, before) = (stack.root().join("minio"), drive::read(&stack.root().join("minio")));
    let done = stack.json(&["key", "rotate", "minio-backend-key", "root", "--delete-old", "--no-snapshot"]);
    assert_eq!((&done["left"], &done["deleted"]), (&json!([]), &json!(true)), "{done}");
    assert!(done["minio_files"].as_u64().unwrap() >= 2, "{done}");
    assert!(is_free(&stack, "minio-backend-key"));
    assert_eq!(drive::replaced(&before, &drive::read(&drive), "minio-backend-key", "root"), 1);
    assert!(manifest(&stack).contains("keys: [root, docs-key] # both"));
    stack.ok(&["down"]);
    stack.ok(&["up"]);
    check(&stack);
    stack.ok(&["verify"]);
    let again = stack.json(&["sandbox", "list"]);
    assert_eq!(again["sandboxes"].as_array().unwrap().len(), 1, "{made} {again}");
}

#[test]
#[ignore = "needs an engine"]
fn a_rotation_is_taken_back() {
    let stack = stack();
    fill(&stack);
    let yaml = manifest(&stack);
    stack.ok(&["key", "rotate", "docs-key", "--no-snapshot"]);
    stack.put("/docs/later", b"later");
    let listed = versions(&stack, "docs");
    let back = stack.json(&["key", "rotate", "docs-key", "--undo"]);
    assert_eq!(
        (&back["undone"], &back["versions"], &back["deleted"]),
        (&json!(true), &json!(8), &json!(false)),
        "{back}"
    );
    stack.fails(&["key", "rotate", "docs-key", "--undo"], 2);
    assert_eq!(manifest(&stack), yaml);
    assert_eq!(versions(&stack, "docs"), listed);
    check(&stack);
    assert_eq!(stack.read("/docs/later"), b"later");
    let keys = || stack.json(&["status"])["keys"].clone();
    assert_eq!(keys(), json!(["docs-key", "docs-key-2", "minio-backend-key"]));
    assert_eq!(stack.json(&["up"])["changed"], 0);
    stack.ok(&["key", "rotate", "docs-key", "--no-snapshot"]);
    let back = stack.json(&["key", "rotate", "docs-key", "--undo", "--delete-old"]);
    assert_eq!((&back["versions"], &back["deleted"]), (&json!(8), &json!(true)), "{back}");
    assert_eq!(keys(), json!(["docs-key", "docs-key-2", "minio-backend-key"]));
    check(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn an_unfinished_upload_is_named_and_the_rotation_goes_on_after_it() {
    let stack = stack();
    fill(&stack);
    let (status, answer) = stack.s3("POST", "/docs/deep/upload?uploads=", None);
    assert_eq!(status, 200, "{}", text(&answer));
    let begun = text(&answer);
    let upload = begun.split_once("<UploadId>").unwrap().1.split_once('<').unwrap().0;
    let error = stack.fails(&["key", "rotate", "docs-key", "--no-snapshot", "--wait", "0"], 7);
    assert!(error.contains("'docs/deep/upload': an upload is not finished"), "{error}");
    let error = stack.fails(&["key", "rotate", "minio-backend-key"], 2);
    assert!(error.contains("rotation of key 'docs-key' to 'docs-key-2' is not complete"), "{error}");
    check(&stack);
    assert_eq!(stack.s3("DELETE", &format!("/docs/deep/upload?uploadId={upload}"), None).0, 204);
    let done = stack.json(&["key", "rotate", "docs-key", "--delete-old"]);
    assert_eq!((&done["left"], &done["deleted"]), (&json!([]), &json!(true)), "{done}");
    check(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn without_a_file_it_says_what_to_write() {
    let stack = Sandbox::new("");
    std::fs::remove_file(stack.folder().join("kestack.yaml")).unwrap();
    let named = |verb: &[&'static str]| {
        let mut all: Vec<String> = verb.iter().map(|&word| word.to_owned()).collect();
        all.extend(["--name".to_owned(), stack.name.clone()]);
        all
    };
    let run = |verb: &[&'static str]| stack.run(&named(verb).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(run(&["up"]).status.success());
    let refused = run(&["key", "rotate", "minio-backend-key"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("keys: [minio-backend-key-2]"), "{said}");
    assert!(run(&["down", "--data"]).status.success());
}

/// Clients that write, overwrite, read and delete objects of their own, and know what each must be.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    worker: JoinHandle<BTreeMap<String, Vec<u8>>>,
}

impl Load {
    fn on(stack: &Sandbox, bucket: &'static str, mut dice: Dice) -> Self {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let s3 = stack.client();
        let (stopped, counted) = (stop.clone(), calls.clone());
        let worker = std::thread::spawn(move || {
            let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            let runtime = runtime();
            while !stopped.load(Ordering::Relaxed) {
                let call = counted.fetch_add(1, Ordering::Relaxed);
                let name = format!("load-{}", dice.below(40));
                match dice.below(4) {
                    0 | 1 => {
                        let body = vec![u8::try_from(call % 256).unwrap(); *dice.pick(&[10, 4096, 200_000])];
                        runtime.block_on(s3.put_object(bucket, &name, &body)).unwrap();
                        model.insert(name, body);
                    }
                    2 => {
                        runtime.block_on(s3.delete_object_versions(bucket, &name)).unwrap();
                        model.remove(&name);
                    }
                    _ => same(&runtime, &s3, bucket, &name, model.get(&name)),
                }
            }
            for number in 0..40 {
                let name = format!("load-{number}");
                same(&runtime, &s3, bucket, &name, model.get(&name));
            }
            model
        });
        Self { stop, calls, worker }
    }

    /// Ends it after some calls at least, and says how many there were.
    fn end(self, least: u64) -> u64 {
        let start = Instant::now();
        while self.calls.load(Ordering::Relaxed) < least && !self.worker.is_finished() {
            assert!(start.elapsed() < Duration::from_secs(60), "clients make no calls");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.stop.store(true, Ordering::Relaxed);
        self.worker.join().unwrap();
        self.calls.load(Ordering::Relaxed)
    }
}

fn same(runtime: &tokio::runtime::Runtime, s3: &S3Client, bucket: &str, name: &str, expected: Option<&Vec<u8>>) {
    match (runtime.block_on(s3.get_object(bucket, name)), expected) {
        (Ok(found), Some(expected)) => assert!(found == *expected, "{name}"),
        (Err(error), None) if error.is_not_found() => {}
        (found, expected) => {
            panic!("{name}: {:?}, and must be {:?}", found.map(|found| found.len()), expected.map(Vec::len))
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A bucket with a key that kestack.yaml does not name: nothing is restarted for it.
fn with_bucket(stack: &Sandbox, key: &str) {
    stack.ok(&["bucket", "create", "busy", "--key", key]);
}

#[test]
#[ignore = "needs an engine"]
fn clients_notice_nothing_of_a_rotation() {
    let stack = stack();
    with_bucket(&stack, "busy-key");
    let (s3, runtime) = (stack.client(), runtime());
    runtime.block_on(s3.put_bucket_versioning("busy", true)).unwrap();
    let count = times("KESTACK_E2E_VERSIONS", 1000);
    for number in 0..count {
        runtime.block_on(s3.put_object("busy", "many", number.to_string().as_bytes())).unwrap();
    }
    let listed = versions(&stack, "busy");
    let (elsewhere, load) = (Load::on(&stack, "docs", seeded()), Load::on(&stack, "busy", seeded()));
    let done = stack.json(&["key", "rotate", "busy-key", "--no-snapshot"]);
    let calls = load.end(200) + elsewhere.end(0);
    eprintln!("{calls} calls meanwhile; {done}");
    assert_eq!(done["left"], json!([]), "{done}");
    assert!(done["longest_pause_milliseconds"].as_u64().unwrap() < 2000, "{done}");
    let many = |listing: &str| {
        let entries = listing.split("<Version>").skip(1).filter(|entry| entry.contains("<Key>many</Key>"));
        entries.map(|entry| entry.split("</Version>").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // a page of the listing, which holds what clients wrote as well
    let (before, after) = (many(&listed), many(&versions(&stack, "busy")));
    assert!(before.len() > 500 && after.len() > 500);
    assert!(before.iter().zip(&after).all(|(before, after)| before == after), "order, times and ETags stay");
    assert!(is_free(&stack, "busy-key"));
    stack.ok(&["key", "delete", "busy-key"]);
    stack.ok(&["down"]);
    stack.ok(&["up"]);
    assert_eq!(text(&stack.read("/busy/many")), (count - 1).to_string());
}

#[test]
#[ignore = "needs an engine"]
fn a_killed_rotation_goes_on_or_back_and_nothing_is_unreadable() {
    let kills = times("KESTACK_E2E_KILLS", 3);
    let stack = stack();
    fill(&stack);
    with_bucket(&stack, "busy");
    let (s3, runtime) = (stack.client(), runtime());
    for number in 0..300 {
        runtime.block_on(s3.put_object("busy", &format!("kept-{number}"), number.to_string().as_bytes())).unwrap();
    }
    let start = Instant::now();
    stack.ok(&["key", "rotate", "busy", "--no-snapshot", "--slice", "20"]);
    let span = start.elapsed();
    let (mut dice, mut key, mut unfinished) = (seeded(), "busy-2".to_owned(), 0);
    let load = Load::on(&stack, "busy", seeded());
    for kill in 0..kills {
        let moment = dice.moment(span);
        let mut child = stack.start(&["key", "rotate", &key, "--no-snapshot", "--slice", "20"]);
        std::thread::sleep(moment);
        let _ = child.kill();
        ended(&mut child);
        for number in [0, 150, 299] {
            let found = runtime.block_on(s3.get_object("busy", &format!("kept-{number}"))).unwrap();
            assert_eq!(found, number.to_string().as_bytes(), "kill {kill} after {moment:?}");
        }
        let record = std::fs::read_to_string(stack.root().join("config/rotation.json")).unwrap_or("{}".into());
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let (begun, complete) = (record["old"] == json!(key), record["complete"] == json!(true));
        unfinished += u32::from(begun && !complete);
        let verb: &[&str] = match (begun, complete, dice.below(3)) {
            (true, _, 0) => &["key", "rotate", &key, "--undo"],
            (true, true, _) => &["key", "rotate", &key, record["new"].as_str().unwrap(), "--no-snapshot"],
            _ => &["key", "rotate", &key, "--no-snapshot", "--slice", "20"],
        };
        let done = stack.json(verb);
        assert_eq!(done["left"], json!([]), "kill {kill} after {moment:?}: {done}");
        let (new, old) = (done["new"].as_str().unwrap().to_owned(), done["old"].as_str().unwrap().to_owned());
        assert!(is_free(&stack, &old), "{old}");
        key = new;
    }
    let calls = load.end(100);
    eprintln!("{unfinished} of {kills} rotations were not complete when they were killed; {calls} calls meanwhile");
    for number in 0..300 {
        let found = runtime.block_on(s3.get_object("busy", &format!("kept-{number}"))).unwrap();
        assert_eq!(found, number.to_string().as_bytes());
    }
    check(&stack);
    assert!(!stack.root().join("minio/.kestack-rotate").exists());
    let keys: BTreeSet<_> =
        stack.json(&["status"])["keys"].as_array().unwrap().iter().map(ToString::to_string).collect();
    assert!(keys.contains(&json!(key).to_string()));
    assert_eq!(stack.json(&["up"])["changed"], 0);
}

#[test]
#[ignore = "needs an engine"]
fn what_lies_in_clear_is_encrypted() {
    let stack = Sandbox::new(
        "buckets: [{ name: plain, encryption: none }, { name: kept, encryption: none, versioning: true }]\n",
    );
    stack.ok(&["up"]);
    let user = (stack.variable("AWS_ACCESS_KEY_ID"), stack.variable("AWS_SECRET_ACCESS_KEY"));
    let headers = ["x-amz-meta-color: blue", "x-amz-tagging: k=v", "content-type: text/x-odd"];
    for path in ["/plain/a", "/plain/we%3Ci%3E%26rd%20%C3%BC%25", "/kept/a"] {
        assert_eq!(stack.s3_as(&user, "PUT", path, Some(b"open"), &headers).0, 200);
    }
    stack.put("/plain/big", &vec![7; 300_000]);
    let done = stack.json(&["bucket", "encrypt", "plain", "--key", "late", "--existing"]);
    assert_eq!(
        (&done["existing"]["objects"], &done["existing"]["versions_in_clear"]),
        (&json!(3), &json!([])),
        "{done}"
    );
    let kept = stack.json(&["bucket", "encrypt", "kept", "--existing"]);
    assert_eq!(kept["existing"]["versions_in_clear"], json!([{ "object": "a", "versions": 1 }]), "{kept}");
    assert_eq!(stack.read("/plain/we%3Ci%3E%26rd%20%C3%BC%25"), b"open");
    assert_eq!(stack.read("/plain/big"), vec![7; 300_000]);
    assert!(text(&stack.read("/plain/a?tagging=")).contains("<Key>k</Key><Value>v</Value>"));
    let inventory = stack.json(&["inventory"]);
    assert_eq!(inventory["keys"]["late"]["buckets"]["plain"]["objects"], 3, "{inventory}");
    assert!(inventory["unencrypted"]["plain"].is_null(), "{inventory}");
    assert_eq!(inventory["unencrypted"]["kept"]["versions"], 1, "{inventory}");
    let again = stack.json(&["bucket", "encrypt", "plain", "--key", "late", "--existing"]);
    assert_eq!(again["existing"]["objects"], 0, "{again}");
}
