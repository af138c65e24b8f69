//! Keystore, drive and configuration are saved and put back together, or not at all.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::bounded::ended;
use crate::engine::kind;
use crate::faults::{seeded, times};
use crate::sandbox::Sandbox;

/// More than MinIO keeps inline: its content lies in a file of its own.
const BIG: usize = 300_000;

fn write(stack: &Sandbox, state: u8) {
    stack.put("/encrypted/small", &[state; 100]);
    stack.put("/encrypted/deep/big", &vec![state; BIG]);
}

/// The state that both objects are in.
fn state(stack: &Sandbox) -> u8 {
    let (small, big) = (stack.read("/encrypted/small"), stack.read("/encrypted/deep/big"));
    assert_eq!((small.len(), big.len()), (100, BIG));
    assert!(small.iter().chain(&big).all(|byte| *byte == small[0]), "a mix of states");
    small[0]
}

#[test]
#[ignore = "needs an engine"]
fn a_snapshot_brings_data_and_keys_back_again_and_again() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    write(&stack, 1);
    let saved = stack.json(&["snapshot", "save", "one"]);
    assert_eq!(saved["keys"], 1, "{saved}");
    assert_eq!(state(&stack), 1, "the stack goes on");
    for later in [2, 3] {
        write(&stack, later);
        stack.ok(&["key", "create", "later"]);
        let restored = stack.json(&["snapshot", "restore", "one"]);
        assert_eq!(restored["started"], true, "{restored}");
        assert_eq!(state(&stack), 1);
        assert_eq!(stack.json(&["status"])["keys"], serde_json::json!(["minio-backend-key"]));
    }
    assert_eq!(stack.json(&["up"])["changed"], 0);
    stack.ok(&["verify"]);
    assert_eq!(stack.json(&["snapshot", "list"])["snapshots"][0]["name"], "one");
    let error = stack.fails(&["snapshot", "save", "one"], 2);
    assert!(error.contains("snapshot 'one' already exists"), "{error}");
    stack.ok(&["snapshot", "remove", "one"]);
    stack.fails(&["snapshot", "restore", "one"], 2);
    stack.ok(&["down", "--data"]);
    assert!(!stack.root().exists());
}

/// The files of objects whose content is shared with a snapshot by a hard link, where files cannot be cloned.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let here = files.into_iter().filter(|file| file.ends_with("part.1"));
    here.chain(folders.iter().flat_map(|folder| parts(folder))).collect()
}

/// Says of the parts that they were changed at that time.
fn date(folder: &Path, time: SystemTime) {
    let parts = parts(folder);
    assert!(!parts.is_empty(), "'{}' has no part", folder.display());
    for part in parts {
        std::fs::File::options().write(true).open(part).unwrap().set_modified(time).unwrap();
    }
}

/// As after a clock that was set back, or on a drive of a server whose clock is ahead.
#[test]
#[ignore = "needs an engine"]
fn a_drive_whose_clock_was_ahead_is_saved_and_restored() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    write(&stack, 1);
    let ahead = SystemTime::now() + Duration::from_secs(40 * 60);
    date(&stack.root().join("minio/encrypted"), ahead);
    let saved = stack.json(&["snapshot", "save", "ahead"]);
    write(&stack, 2);
    stack.ok(&["snapshot", "restore", "ahead"]);
    assert_eq!(state(&stack), 1);
    assert!(saved["newest"].as_str() > saved["created"].as_str(), "{saved}");
    // what is shared and was written to since is refused all the same
    date(&stack.root().join("snapshots/ahead/minio/encrypted"), ahead + Duration::from_secs(1));
    if saved["method"] == "links-and-copies" {
        let error = stack.fails(&["snapshot", "restore", "ahead"], 6);
        assert!(error.contains("was changed after the snapshot was taken"), "{error}");
    } else {
        stack.ok(&["snapshot", "restore", "ahead"]);
    }
    assert_eq!(state(&stack), 1);
}

#[test]
#[ignore = "needs an engine"]
fn a_snapshot_outlives_its_stack() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    write(&stack, 1);
    let user = stack.variable("AWS_ACCESS_KEY_ID");
    stack.ok(&["down"]);
    stack.ok(&["snapshot", "save", "kept"]);
    let down = stack.ok(&["down", "--data"]);
    assert!(down.contains("kestack snapshot remove kept"), "{down}");
    let restored = stack.json(&["snapshot", "restore", "kept"]);
    assert_eq!(restored["started"], false, "{restored}");
    stack.ok(&["up"]);
    assert_eq!(state(&stack), 1);
    assert_eq!(stack.variable("AWS_ACCESS_KEY_ID"), user, "the configuration is back as well");

    let kes = format!("{}-kes-server", stack.name);
    let started = kind().started(&kes);
    write(&stack, 2);
    stack.ok(&["snapshot", "restore", "kept"]);
    assert_eq!(state(&stack), 1);
    assert_eq!(kind().started(&kes), started, "other ports than when the snapshot was taken do not stop KES");

    // a snapshot without its key is not put back, and what runs is left alone
    write(&stack, 2);
    let key = stack.root().join("snapshots/kept/keys/minio-backend-key");
    std::fs::rename(&key, stack.folder().join("key")).unwrap();
    let error = stack.fails(&["snapshot", "restore", "kept"], 7);
    assert!(error.contains("key 'minio-backend-key' is gone"), "{error}");
    assert_eq!(state(&stack), 2);
    stack.ok(&["snapshot", "remove", "kept"]);
}

#[test]
#[ignore = "needs an engine"]
fn an_exported_snapshot_comes_back_in_another_stack() {
    let (stack, other) = (Sandbox::new(""), Sandbox::new(""));
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (file, passphrase) = (text(stack.folder().join("kept.age")), text(stack.folder().join("passphrase")));
    std::fs::write(&passphrase, "correct horse\n").unwrap();
    stack.ok(&["up"]);
    write(&stack, 1);
    let user = stack.variable("AWS_ACCESS_KEY_ID");
    stack.ok(&["snapshot", "save", "kept"]);
    let error = stack.fails(&["snapshot", "export", "kept", &file], 2);
    assert!(error.contains("a passphrase is needed"), "{error}");
    let export = ["snapshot", "export", "kept", &file, "--passphrase-file", &passphrase];
    let exported = stack.json(&export);
    assert_eq!((&exported["encrypted"], &exported["snapshot"]["keys"]), (&true.into(), &1.into()), "{exported}");
    assert!(stack.fails(&export, 2).contains("already exists"));
    stack.ok(&["snapshot", "remove", "kept"]);
    stack.ok(&["down", "--data"]);

    // as on a machine that knows neither the stack nor its keys
    let import = |with: &str, code| {
        let arguments = ["snapshot", "import", &file, "came", "--passphrase-file", with];
        if code == 0 { other.ok(&arguments) } else { other.fails(&arguments, code) }
    };
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 20_000]).unwrap();
    assert!(import(&passphrase, 6).contains("nothing was changed"));
    std::fs::write(&file, whole).unwrap();
    let wrong = text(stack.folder().join("wrong"));
    std::fs::write(&wrong, "correct hose").unwrap();
    assert!(import(&wrong, 2).contains("does not open with this passphrase"));
    assert!(!other.root().exists(), "what is refused leaves nothing");
    assert!(import(&passphrase, 0).contains("is complete"));
    other.ok(&["snapshot", "restore", "came"]);
    other.ok(&["up"]);
    assert_eq!(state(&other), 1);
    assert_eq!(other.variable("AWS_ACCESS_KEY_ID"), user);
    write(&other, 2);
    other.ok(&["snapshot", "restore", "came"]);
    assert_eq!(state(&other), 1);
    assert_eq!(other.json(&["up"])["changed"], 0);
    other.ok(&["verify"]);
    other.ok(&["snapshot", "remove", "came"]);
}

#[test]
#[ignore = "needs an engine"]
fn a_killed_restore_is_finished_or_undone() {
    let kills = times("KESTACK_E2E_RESTORE_KILLS", 3);
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    write(&stack, 1);
    stack.ok(&["snapshot", "save", "one"]);
    write(&stack, 2);
    stack.ok(&["key", "create", "other"]);
    stack.ok(&["snapshot", "save", "two"]);
    let start = Instant::now();
    stack.ok(&["snapshot", "restore", "one"]);
    let span = start.elapsed();
    let mut dice = seeded();
    let mut finished = 0;
    for kill in 0..kills {
        let (before, wanted, name) = if state(&stack) == 1 { (1, 2, "two") } else { (2, 1, "one") };
        let moment = dice.moment(span);
        let mut child = stack.start(&["snapshot", "restore", name]);
        std::thread::sleep(moment);
        let _ = child.kill();
        ended(&mut child);
        eprintln!("kill {kill} after {moment:?}");
        stack.ok(&["up"]);
        let now = state(&stack);
        assert!([before, wanted].contains(&now), "{now}");
        let keys = stack.json(&["status"])["keys"].as_array().unwrap().len();
        assert_eq!(keys, usize::from(now), "the keys of that state");
        for left in ["restore", "restore.json"] {
            assert!(!stack.root().join(left).exists(), "{left}");
        }
        finished += u32::from(now == wanted);
        stack.ok(&["snapshot", "restore", name]);
        assert_eq!(state(&stack), wanted);
    }
    eprintln!("{finished} of {kills} killed restores were finished by the next up, the others undone");
    stack.ok(&["verify"]);
}

#[test]
#[ignore = "needs an engine"]
fn a_save_that_is_told_to_end_starts_minio_again() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    write(&stack, 1);
    for milliseconds in [60, 150, 300] {
        let mut child = stack.start(&["snapshot", "save", "cut"]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
        ended(&mut child);
        stack.ok(&["up"]);
        assert_eq!(state(&stack), 1);
        let names = stack.json(&["snapshot", "list"])["snapshots"].as_array().unwrap().len();
        if names == 1 {
            stack.ok(&["snapshot", "remove", "cut"]);
        }
        assert!(!stack.root().join("snapshots").exists(), "all or nothing");
    }
}
