//! Data is never started with other keys than those it was written under.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::bounded::ended;
use crate::sandbox::Sandbox;

const KEY: &str = "minio-backend-key";

/// A stack that is down, with an object under its default key.
fn with_data(manifest: &str) -> Sandbox {
    let stack = Sandbox::new(manifest);
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    stack.ok(&["down"]);
    stack
}

fn key(stack: &Sandbox, name: &str) -> PathBuf {
    stack.root().join("keys").join(name)
}

fn keys(stack: &Sandbox) -> Vec<String> {
    let entries = std::fs::read_dir(stack.root().join("keys")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
#[ignore = "needs an engine"]
fn a_lost_key_is_named_and_not_made_anew() {
    let stack = with_data("");
    let kept = std::fs::read(key(&stack, KEY)).unwrap();
    std::fs::remove_file(key(&stack, KEY)).unwrap();
    for verb in ["up", "plan"] {
        let error = stack.fails(&[verb], 7);
        for part in [format!("key '{KEY}' is gone"), "1 object in bucket 'encrypted'".into(), "IAM".into()] {
            assert!(error.contains(&part), "no {part}: {error}");
        }
    }
    assert_eq!(keys(&stack), Vec::<String>::new(), "nothing was made in its place");
    // also without the record: what MinIO sealed tells as well
    std::fs::remove_file(stack.root().join("guard.json")).unwrap();
    stack.fails(&["up"], 7);
    std::fs::write(key(&stack, KEY), kept).unwrap();
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
    assert!(stack.root().join("guard.json").exists(), "the record is there again");
}

#[test]
#[ignore = "needs an engine"]
fn a_replaced_key_is_refused_and_an_unused_one_is_not() {
    let stack = Sandbox::new(&format!("keys: [{KEY}, unused]\n"));
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    stack.ok(&["key", "create", "spare"]);
    stack.ok(&["down"]);
    let kept = std::fs::read(key(&stack, KEY)).unwrap();
    std::fs::copy(key(&stack, "spare"), key(&stack, KEY)).unwrap();
    let error = stack.fails(&["up"], 7);
    assert!(error.contains(&format!("key '{KEY}' is not the key that encrypted")), "{error}");
    std::fs::write(stack.root().join("guard.json"), "{ \"half").unwrap();
    stack.fails(&["up"], 7);
    std::fs::write(key(&stack, KEY), kept).unwrap();
    stack.ok(&["up"]);

    // nothing is encrypted under these two
    stack.ok(&["down"]);
    std::fs::copy(key(&stack, "spare"), key(&stack, "unused")).unwrap();
    std::fs::remove_file(key(&stack, "spare")).unwrap();
    stack.ok(&["up"]);
    assert_eq!(stack.json(&["up"])["changed"], 0, "the record follows");
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
}

#[test]
#[ignore = "needs an engine"]
fn data_of_another_keystore_is_refused() {
    let stack = with_data("");
    let other = stack.folder().join("other-keys");
    stack.manifest(&format!("keystore: {{ fs: {{ path: {} }} }}\n", other.display()));
    let error = stack.fails(&["up"], 7);
    assert!(error.contains("was written with keystore 'the stack's own folder'"), "{error}");
    assert!(!other.exists(), "nothing was made");
    stack.manifest("");
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
}

/// What is on the disk of a stack's keys, and an object that it serves.
fn witnessed(stack: &Sandbox) -> [Vec<u8>; 4] {
    let record = std::fs::read(stack.root().join("guard.json")).unwrap();
    let config = std::fs::read(stack.root().join("config/kes-config.yaml")).unwrap();
    let material = std::fs::read(key(stack, KEY)).unwrap();
    assert_eq!(keys(stack), [KEY]);
    [record, config, material, stack.read("/encrypted/kept")]
}

/// A KES that runs has the keystore of before, and opens everything with it.
#[test]
#[ignore = "needs an engine"]
fn data_of_another_keystore_is_refused_while_the_stack_runs() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    let before = witnessed(&stack);
    let other = stack.folder().join("other-keys");
    stack.manifest(&format!("keystore: {{ fs: {{ path: {} }} }}\n", other.display()));
    for verb in ["up", "plan"] {
        let error = stack.fails(&[verb], 7);
        assert!(error.contains("was written with keystore 'the stack's own folder'"), "{error}");
    }
    // what a verb would do to the keys of the one keystore, it would do to those of the other
    for verb in [&["verify"][..], &["reset"], &["snapshot", "save", "wrong"], &["chaos", "kes-deny", "--for", "1s"]] {
        let error = stack.fails(verb, 2);
        assert!(error.contains("was brought up with 'the stack's own folder'"), "{verb:?}: {error}");
        assert!(witnessed(&stack) == before, "{verb:?} has changed something");
    }
    assert!(!other.exists(), "nothing was made");
    stack.manifest("");
    assert_eq!(stack.json(&["up"])["changed"], 0);
    assert_eq!(stack.json(&["verify"])["proven"], true);
    // keys that were copied are the keys of the data, whoever asks for them
    let copied = Command::new("cp").arg("-a").arg(stack.root().join("keys")).arg(&other).status();
    assert!(copied.unwrap().success());
    stack.manifest(&format!("keystore: {{ fs: {{ path: {} }} }}\n", other.display()));
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
    assert_eq!(stack.json(&["verify"])["proven"], true);
}

/// `--keystore` counts for one command.
#[test]
#[ignore = "needs an engine"]
fn a_keystore_of_the_command_line_is_not_left_by_the_next_command() {
    let stack = Sandbox::new("");
    let other = stack.folder().join("other-keys");
    stack.manifest(&format!("keystore: {{ fs: {{ path: {} }} }}\n", other.display()));
    stack.ok(&["up", "--keystore", "fs"]);
    stack.put("/encrypted/kept", b"precious");
    let before = witnessed(&stack);
    let error = stack.fails(&["up"], 7);
    assert!(error.contains(&format!("key '{KEY}' is gone")), "{error}");
    assert!(witnessed(&stack) == before && !other.exists(), "nothing was changed");
    assert_eq!(stack.json(&["up", "--keystore", "fs"])["changed"], 0);
}

/// `reset` empties the stack's own folder of keys, and no other one.
#[test]
#[ignore = "needs an engine"]
fn a_reset_for_another_keystore_removes_no_keys_of_others() {
    let stack = Sandbox::new("");
    let folder = stack.folder().join("named-keys");
    stack.manifest(&format!("keystore: {{ fs: {{ path: {} }} }}\n", folder.display()));
    stack.ok(&["up"]);
    stack.ok(&["key", "create", "theirs"]);
    stack.put("/encrypted/kept", b"precious");
    stack.manifest("");
    for verb in [&["reset"][..], &["reset", "--keys"]] {
        let error = stack.fails(verb, 2);
        assert!(error.contains(&format!("was brought up with 'folder {}'", folder.display())), "{error}");
        assert!(folder.join("theirs").exists(), "{verb:?} has removed it");
        assert_eq!(stack.read("/encrypted/kept"), b"precious");
    }
}

/// A snapshot writes the record, too.
#[test]
#[ignore = "needs an engine"]
fn a_snapshot_does_not_take_a_replaced_key_for_the_right_one() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.ok(&["key", "create", "spare"]);
    stack.put("/encrypted/kept", b"precious");
    let record = std::fs::read(stack.root().join("guard.json")).unwrap();
    let kept = std::fs::read(key(&stack, KEY)).unwrap();
    std::fs::copy(key(&stack, "spare"), key(&stack, KEY)).unwrap();
    // KES has it in memory until it starts again
    stack.ok(&["chaos", "kes-down", "--for", "1s"]);
    let error = stack.fails(&["snapshot", "save", "wrong"], 7);
    assert!(error.contains(&format!("key '{KEY}' is not the key that encrypted")), "{error}");
    assert_eq!(std::fs::read(stack.root().join("guard.json")).unwrap(), record, "the right key is still known");
    std::fs::write(key(&stack, KEY), kept).unwrap();
    stack.ok(&["chaos", "kes-down", "--for", "1s"]);
    stack.ok(&["snapshot", "save", "right"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
}

#[test]
#[ignore = "needs an engine"]
fn a_reset_leaves_the_record_of_the_fresh_stack() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let recorded = || {
        let text = std::fs::read_to_string(stack.root().join("guard.json")).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        record["keys"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    stack.ok(&["key", "create", "invoices"]);
    assert_eq!(recorded(), ["invoices", KEY]);
    stack.ok(&["reset"]);
    assert_eq!(recorded(), [KEY]);
    assert_eq!(stack.json(&["up"])["changed"], 0);
    stack.ok(&["down", "--data"]);
    assert!(!stack.root().exists());
}

/// A folder that the user named may hold keys of others.
#[test]
#[ignore = "needs an engine"]
fn a_reset_leaves_the_keys_in_a_folder_of_the_users() {
    let stack = Sandbox::new("");
    let folder = stack.folder().join("named-keys");
    stack.manifest(&format!("keystore: {{ fs: {{ path: {} }} }}\n", folder.display()));
    stack.ok(&["up"]);
    stack.ok(&["key", "create", "ours"]);
    // the same, but somebody else made it
    let mut key = STANDARD.decode(std::fs::read_to_string(folder.join("ours")).unwrap().trim()).unwrap();
    let identity = key.windows(64).position(|run| run.iter().all(u8::is_ascii_hexdigit)).unwrap();
    key[identity..identity + 64].fill(b'0');
    std::fs::write(folder.join("theirs"), STANDARD.encode(key)).unwrap();
    for _ in 0..2 {
        stack.put("/encrypted/object", b"content");
        stack.ok(&["reset"]);
        assert!(folder.join("ours").exists() && folder.join("theirs").exists());
    }
    stack.ok(&["reset", "--keys"]);
    assert!(!folder.join("ours").exists() && folder.join("theirs").exists() && folder.join(KEY).exists());
    stack.put("/encrypted/object", b"works");
    stack.ok(&["down", "--data"]);
    assert!(folder.join("theirs").exists());
}

#[test]
#[ignore = "needs an engine"]
fn the_inventory_knows_what_a_key_protects_and_keeps_it() {
    let stack = Sandbox::new(
        "buckets:\n  - { name: docs, key: minio-backend-key, versioning: true }\n  - { name: plain, encryption: none }\n",
    );
    stack.ok(&["up"]);
    stack.ok(&["bucket", "create", "bills", "--key", "bills-key"]);
    stack.put("/docs/a", b"first");
    stack.put("/docs/a", b"second");
    stack.put("/docs/b", &vec![7; 300_000]);
    stack.put("/plain/p", b"open");
    let before = stack.json(&["inventory"]);
    let docs = &before["keys"][KEY]["buckets"]["docs"];
    assert_eq!(*docs, serde_json::json!({ "objects": 2, "versions": 3, "bytes": 300_011 }), "{before}");
    assert!(before["keys"][KEY]["minio_files"].as_u64().unwrap() >= 2, "{before}");
    assert_eq!(before["unencrypted"]["plain"]["bytes"], 4);
    assert_eq!(before["unused_keys"], serde_json::json!(["bills-key"]));

    stack.fails(&["key", "delete", KEY], 2);
    let error = stack.fails(&["key", "delete", "bills-key"], 7);
    assert!(error.contains("bucket 'bills' encrypts with it"), "{error}");
    stack.put("/bills/one", b"due");
    stack.ok(&["bucket", "encrypt", "bills"]);
    let error = stack.fails(&["key", "delete", "bills-key"], 7);
    assert!(error.contains("it protects 1 object in bucket 'bills'"), "{error}");
    assert_eq!(stack.s3("DELETE", "/bills/one", None).0, 204);
    stack.ok(&["key", "delete", "bills-key"]);
    assert_eq!(stack.json(&["status"])["keys"], serde_json::json!([KEY]));
    assert_eq!(stack.json(&["up"])["changed"], 0);
    stack.ok(&["down"]);
    assert_eq!(stack.json(&["inventory"])["keys"][KEY]["buckets"]["docs"], *docs, "without servers, too");
}

/// Names of the keys that the record remembers.
fn remembered(stack: &Sandbox) -> Vec<String> {
    let record = std::fs::read(stack.root().join("guard.json")).unwrap();
    let record: Value = serde_json::from_slice(&record).unwrap();
    record["keys"].as_object().unwrap().keys().cloned().collect()
}

#[test]
#[ignore = "needs an engine"]
fn keys_that_are_made_at_the_same_time_are_all_remembered() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    for round in 0..3 {
        let names: Vec<_> = (0..6).map(|number| format!("same-{round}-{number}")).collect();
        let children: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(number, name)| match number % 3 {
                0 => stack.start(&["key", "create", name]),
                1 => stack.start(&["bucket", "create", name, "--key", name]),
                _ => stack.start(&["bucket", "encrypt", "encrypted", "--key", name]),
            })
            .collect();
        for mut child in children {
            assert!(ended(&mut child).success());
        }
        let found = remembered(&stack);
        let lost: Vec<_> = names.iter().filter(|name| !found.contains(name)).collect();
        assert!(lost.is_empty(), "{lost:?} is not in the record");
    }
    stack.ok(&["bucket", "encrypt", "encrypted", "--sse-s3"]);
    let (mut delete, mut create) =
        (stack.start(&["key", "delete", "same-0-0", "same-1-0"]), stack.start(&["key", "create", "last"]));
    assert!(ended(&mut delete).success() && ended(&mut create).success());
    let found = remembered(&stack);
    assert!(found.contains(&"last".to_owned()) && !found.contains(&"same-0-0".to_owned()), "{found:?}");
}

/// A path that was mistyped: nobody else would enter that folder any more.
#[test]
#[ignore = "needs an engine"]
fn a_folder_of_other_things_is_not_made_one_of_keys() {
    use std::os::unix::fs::PermissionsExt as _;
    let stack = Sandbox::new("");
    let site = stack.folder().join("site");
    std::fs::create_dir_all(site.join("css")).unwrap();
    std::fs::set_permissions(&site, std::fs::Permissions::from_mode(0o755)).unwrap();
    stack.manifest("keystore: { fs: { path: site } }\n");
    let error = stack.fails(&["up"], 2);
    assert!(error.contains("site' is not a folder of keys: it holds the folder 'css'"), "{error}");
    assert_eq!(std::fs::metadata(&site).unwrap().permissions().mode() & 0o7777, 0o755);
    assert!(!stack.root().exists(), "nothing was made");
    std::fs::remove_dir(site.join("css")).unwrap();
    std::fs::write(site.join(".gitkeep"), "").unwrap();
    stack.ok(&["up"]);
    assert_eq!(std::fs::metadata(&site).unwrap().permissions().mode() & 0o7777, 0o700);
    // what kestack does not change it does not judge
    stack.ok(&["down"]);
    std::fs::write(site.join("README.md"), "").unwrap();
    stack.ok(&["up"]);
}
