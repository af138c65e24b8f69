//! A disaster drill: a copy of the stack is lost and recovered, and nobody touches the stack itself.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bounded::ended;
use crate::engine::kind;
use crate::faults::{seeded, times};
use crate::sandbox::{Sandbox, text};

const MANIFEST: &str = "keys: [minio-backend-key, docs-key]\nbuckets:\n  - { name: docs, key: docs-key, versioning: true }\n  - { name: other, encryption: sse-s3 }\n  - { name: encrypted }\n";

/// A stack with objects of several kinds: seven versions and a delete marker.
fn stack() -> Sandbox {
    let stack = Sandbox::new(MANIFEST);
    stack.ok(&["up"]);
    stack.fill(&["first", "second", "third"], 300_000);
    stack
}

/// A file of evidence, which must have the form of its schema and be its owner's alone.
pub(crate) fn evidence(path: &Path) -> Value {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/evidence.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let found: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<_> = validator.iter_errors(&found).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{wrong:?}: {found}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    found
}

/// Secrets of a stack, as they lie in its folder.
pub(crate) fn secrets(stack: &Sandbox) -> Vec<String> {
    let key = std::fs::read_to_string(stack.root().join("keys/minio-backend-key")).unwrap();
    let mut secrets: Vec<_> = key.split('"').filter(|part| part.len() > 30).map(str::to_owned).collect();
    assert!(!secrets.is_empty(), "the key has a value");
    secrets.push(stack.variable("AWS_SECRET_ACCESS_KEY"));
    let client = std::fs::read_to_string(stack.variable("KES_CLIENT_KEY")).unwrap();
    secrets.extend(client.lines().filter(|line| !line.starts_with('-')).map(str::to_owned));
    secrets
}

/// Nothing of a drill is left: no folder, no stack, no snapshot.
pub(crate) fn assert_nothing_left(stack: &Sandbox) {
    let names: Vec<_> = std::fs::read_dir(stack.base()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let drills: Vec<_> = names.iter().filter(|name| name.to_string_lossy().contains("drill")).collect();
    assert!(drills.is_empty(), "{names:?}");
    assert_eq!(stack.json(&["snapshot", "list"])["snapshots"], serde_json::json!([]));
    let copy = format!("{}-drill", stack.name);
    assert_eq!(kind().members(&copy), [""; 0]);
}

fn file(stack: &Sandbox, name: &str) -> (PathBuf, String) {
    let path = stack.folder().join(name);
    (path.clone(), path.to_str().unwrap().to_owned())
}

#[test]
#[ignore = "needs an engine"]
fn a_lost_machine_keystore_and_drive_come_back() {
    let stack = stack();
    let kes = format!("{}-kes-server", stack.name);
    let started = kind().started(&kes);
    let ((json, json_name), (page, page_name)) = (file(&stack, "evidence.json"), file(&stack, "evidence.html"));
    let call = ["drill", "--evidence", &json_name, "--page", &page_name];
    let said = stack.ok(&call);
    assert!(said.contains("proven: this stack can be recovered"), "{said}");
    let found = evidence(&json);
    assert_eq!((&found["kind"], &found["verdict"]), (&"drill".into(), &"proven".into()), "{found}");
    let losses = found["losses"].as_array().unwrap();
    let lost: Vec<_> = losses.iter().map(|loss| loss["lost"].as_str().unwrap()).collect();
    assert_eq!(lost, ["machine", "keystore", "drive-and-keystore"]);
    for loss in losses {
        assert_eq!((&loss["versions"], &loss["missing_count"]), (&7.into(), &0.into()), "{loss}");
        assert!(loss["recovery_milliseconds"].as_u64().unwrap() > 0, "{loss}");
    }
    assert!(found["claims"].as_array().unwrap().iter().all(|claim| claim["proven"] == true), "{found}");
    assert!(found["versions"]["kes"].is_string() && found["versions"]["minio"].is_string(), "{found}");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("Recovery drill") && html.contains("Proven") && !html.contains("<script"), "{html}");
    assert_eq!(page.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    for secret in secrets(&stack) {
        assert!(!html.contains(&secret) && !found.to_string().contains(&secret), "a secret is in the evidence");
    }
    assert_nothing_left(&stack);
    assert!(stack.fails(&call, 2).contains("already exists"));
    assert_eq!(stack.json(&["up"])["changed"], 0, "the stack is as it was");
    // KES was never stopped; MinIO was, while its drive was copied
    assert_eq!(kind().started(&kes), started);
    assert_eq!(stack.read("/docs/a"), b"third");
}

#[test]
#[ignore = "needs an engine"]
fn a_snapshot_that_lacks_an_object_fails_the_drill() {
    let stack = stack();
    stack.ok(&["snapshot", "save", "kept"]);
    let folder = stack.root().join("snapshots/kept");
    let object = folder.join("minio/docs/a");
    let bytes = object.join("xl.meta").metadata().unwrap().len();
    std::fs::remove_dir_all(object).unwrap();
    let description = folder.join("snapshot.json");
    let mut snapshot: Value = serde_json::from_slice(&std::fs::read(&description).unwrap()).unwrap();
    snapshot["files"] = (snapshot["files"].as_u64().unwrap() - 1).into();
    snapshot["bytes"] = (snapshot["bytes"].as_u64().unwrap() - bytes).into();
    std::fs::write(&description, snapshot.to_string()).unwrap();
    let (json, name) = file(&stack, "evidence.json");
    let error = stack.fails(&["drill", "--snapshot", "kept", "--evidence", &name], 5);
    assert!(error.contains("3 are not in it, such as docs/a"), "{error}");
    let found = evidence(&json);
    assert_eq!(found["verdict"], "not-proven", "{found}");
    assert_eq!(found["losses"][0]["versions"], 4, "{found}");
    stack.ok(&["snapshot", "remove", "kept"]);
    assert_nothing_left(&stack);
}

/// A snapshot of yesterday: what was written since is not missing, and the age of the snapshot is the recovery point.
#[test]
#[ignore = "needs an engine"]
fn an_older_snapshot_is_compared_with_what_is_still_there() {
    let stack = stack();
    stack.ok(&["snapshot", "save", "kept"]);
    stack.put("/docs/new", b"after the snapshot");
    stack.put("/encrypted/new", b"after the snapshot");
    stack.put("/other/s3", b"overwritten");
    let report = stack.json(&["drill", "--snapshot", "kept"]);
    assert_eq!(report["verdict"], "proven", "{report}");
    assert_eq!((&report["losses"][0]["versions"], &report["losses"][0]["missing_count"]), (&6.into(), &0.into()));
    assert!(report["losses"][0]["recovery_point_age_milliseconds"].as_u64().unwrap() > 0, "{report}");
    let limits = report["not_covered"].to_string();
    assert!(limits.contains("1 versions were overwritten or deleted after the snapshot"), "{limits}");
    assert_eq!(stack.json(&["snapshot", "list"])["snapshots"][0]["name"], "kept", "it is the user's");
    stack.ok(&["snapshot", "remove", "kept"]);
    assert_nothing_left(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn what_a_killed_drill_left_goes_with_the_next_one_and_with_gc() {
    let stack = stack();
    let other = tempfile::tempdir().unwrap();
    let elsewhere = ["drill", "--folder", other.path().to_str().unwrap()];
    let mut dice = seeded();
    let start = std::time::Instant::now();
    stack.ok(&elsewhere);
    let span = start.elapsed();
    for number in 0..times("KESTACK_E2E_KILLS", 3) {
        let moment = dice.moment(span);
        let mut child = stack.start(if number % 2 == 0 { &elsewhere } else { &["drill"] });
        std::thread::sleep(moment);
        let _ = child.kill();
        ended(&mut child);
        eprintln!("killed after {moment:?}");
        stack.ok(if number % 3 == 2 { &["drill"] } else { &["gc"] });
        assert_nothing_left(&stack);
        assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);
        // MinIO may have been stopped for the snapshot
        stack.ok(&["up"]);
        assert_eq!(stack.read("/docs/a"), b"third");
    }
    stack.ok(&["drill"]);
    assert_nothing_left(&stack);
}

/// Its copy has the keys of the stack, and lies where nobody would look for it.
#[test]
#[ignore = "needs an engine"]
fn a_copy_that_a_killed_drill_left_elsewhere_is_found() {
    let stack = stack();
    let other = tempfile::tempdir().unwrap();
    let copy = other.path().join(format!(".kestack-drill-{}-drill", stack.name));
    let kill = || {
        let mut child = stack.start(&["drill", "--folder", other.path().to_str().unwrap()]);
        let start = std::time::Instant::now();
        while !copy.join("identity").exists() {
            assert!(start.elapsed() < std::time::Duration::from_secs(60), "no copy is made");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = child.kill();
        ended(&mut child);
        assert!(copy.exists() && stack.root().join("drill.json").exists());
    };
    kill();
    let swept = stack.json(&["gc"]);
    assert_eq!(swept["drills"], serde_json::json!([copy.canonicalize().unwrap_or(copy.clone())]), "{swept}");
    assert_eq!(swept["snapshots"].as_array().unwrap().len(), 1, "{swept}");
    assert!(!copy.exists() && !stack.root().join("drill.json").exists());
    assert_nothing_left(&stack);
    stack.ok(&["up"]);
    kill();
    stack.ok(&["drill"]);
    assert!(!copy.exists());
    assert_nothing_left(&stack);
    kill();
    stack.ok(&["down", "--data"]);
    assert!(!copy.exists(), "the keys go with the stack");
}

/// Without an object nothing is shown; and a snapshot of the user's stays, whatever its name.
#[test]
#[ignore = "needs an engine"]
fn a_drill_of_an_empty_stack_proves_nothing() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.ok(&["snapshot", "save", "kept"]);
    let snapshots = stack.root().join("snapshots");
    let mine = "kestack-drill-mine";
    std::fs::rename(snapshots.join("kept"), snapshots.join(mine)).unwrap();
    let description = snapshots.join(mine).join("snapshot.json");
    let text = std::fs::read_to_string(&description).unwrap().replace("\"kept\"", &format!("\"{mine}\""));
    std::fs::write(&description, text).unwrap();
    let (json, name) = file(&stack, "evidence.json");
    let error = stack.fails(&["drill", "--evidence", &name], 5);
    assert!(error.contains("store an object first"), "{error}");
    assert_eq!(evidence(&json)["verdict"], "not-proven");
    assert_eq!(stack.json(&["snapshot", "list"])["snapshots"][0]["name"], mine, "it is the user's");
    stack.ok(&["snapshot", "remove", mine]);
    assert_nothing_left(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn a_drill_is_refused_before_anything_is_made() {
    let stack = Sandbox::new("");
    stack.fails(&["drill"], 3);
    stack.ok(&["up"]);
    assert!(stack.fails(&["drill", "--snapshot", "absent"], 2).contains("there is no snapshot 'absent'"));
    assert!(stack.fails(&["drill", "--folder", "absent"], 1).contains("absent"));
    let drive = stack.root().join("minio").display().to_string();
    assert!(stack.fails(&["drill", "--folder", &drive], 2).contains("which must not change"));
    let absent = stack.run(&["drill", "--evidence", "absent/evidence.json"]);
    assert!(!absent.status.success() && text(&absent.stderr).contains("absent/evidence.json"));
    let both = ["drill", "--evidence", "one.json", "--page", "./one.json"];
    assert!(stack.fails(&both, 2).contains("name the same file"));
    assert!(stack.fails(&["snapshot", "save", "kestack-drill-mine"], 2).contains("does not begin with"));
    assert_nothing_left(&stack);
    // a folder of the user's in its place is left alone
    let taken = stack.base().join(format!(".kestack-drill-{}-drill", stack.name));
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("notes"), "mine").unwrap();
    assert!(stack.fails(&["drill"], 6).contains("notes"));
    assert!(taken.join("notes").exists());
    std::fs::remove_dir_all(taken).unwrap();
}
