//! What the host does to a stack's folder: full, read-only, half-written. Certificates out of their time are in
//! [`crate::certificates`].

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use super::{assert_gone, assert_kept, assert_mended, fill, precious, seeded, until};
use crate::engine::{Kind, cli, kind};
use crate::sandbox::{Sandbox, text};

/// A disk of 64 MB: one that `tests/as-user` made, or our own if we may mount.
struct SmallDisk {
    folder: PathBuf,
    mounted: Option<tempfile::TempDir>,
}

impl SmallDisk {
    fn new() -> Self {
        if let Some(folder) = std::env::var_os("KESTACK_E2E_SMALL_DISK") {
            return Self { folder: folder.into(), mounted: None };
        }
        assert!(geteuid().is_root(), "this test needs a small disk: run it as root or with tests/as-user");
        let place = tempfile::tempdir().unwrap();
        mount(&["-t", "tmpfs", "-o", "size=64m,mode=755", "tmpfs"], place.path());
        Self { folder: place.path().to_owned(), mounted: Some(place) }
    }

    /// Fills it to the last byte; returns the file to remove.
    fn fill(&self) -> PathBuf {
        let path = self.folder.join("ballast");
        let mut file = fs::File::create(&path).unwrap();
        for size in [1 << 20, 1 << 12, 1] {
            while file.write(&vec![7; size]).is_ok_and(|written| written == size) {}
        }
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join("ballast"));
        if self.mounted.is_some() {
            let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        }
    }
}

fn mount(arguments: &[&str], place: &Path) {
    assert!(Command::new("mount").args(arguments).arg(place).status().unwrap().success());
}

/// An error that says what happened, and no crash.
fn assert_said(output: &std::process::Output, words: &[&str]) {
    let error = text(&output.stderr);
    assert!(!output.status.success() && !error.contains("panicked"), "{error}");
    assert!(words.iter().any(|word| error.contains(word)), "{words:?} in\n{error}");
}

#[test]
#[ignore = "needs an engine"]
fn a_full_disk_loses_nothing_and_is_said() {
    let disk = SmallDisk::new();
    let stack = Sandbox::below(&disk.folder.join("stacks"));
    fill(&stack);
    let ballast = disk.fill();
    assert_eq!(stack.json(&["up"])["changed"], 0, "what runs needs no space");
    assert_kept(&stack);
    assert_said(&stack.run(&["key", "create", "late"]), &["`kestack logs kes` shows why"]);
    let said = stack.ok(&["logs", "kes", "--tail", "5"]);
    assert!(said.contains("No space left on device"), "{said}");
    restart_kes_on_a_full_disk(&stack);
    assert_ne!(stack.s3("PUT", "/encrypted/late", Some(&vec![1; 100_000])).0, 200);
    let down = stack.run(&["down"]);
    assert!(down.status.success(), "{}", text(&down.stderr));
    let up = stack.run(&["up"]);
    if !up.status.success() {
        assert_said(&up, &["No space left", "no space left", "not ready"]);
    }
    let other = Sandbox::below(&disk.folder.join("stacks"));
    assert_said(&other.run(&["up"]), &["No space left", "no space left"]);
    fs::remove_file(ballast).unwrap();
    stack.ok(&["up"]);
    // MinIO looks at the free space now and then
    let start = Instant::now();
    while stack.s3("PUT", "/encrypted/later", Some(b"room")).0 != 200 {
        assert!(start.elapsed() < Duration::from_secs(60), "there is room, and MinIO writes nothing");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_mended(&stack);
    assert_eq!(stack.json(&["key", "create", "late"])["created"], true, "no half of a key was left");
    other.ok(&["up"]);
    assert_gone(&other);
    assert_gone(&stack);
}

/// Its keys are there, so it serves them again: nothing has to be written for that.
fn restart_kes_on_a_full_disk(stack: &Sandbox) {
    stack.ok(&["status"]);
    let kes = format!("{}-kes-server", stack.name);
    let served = || stack.s3("GET", "/encrypted/kept", None).0 == 200;
    kind().kill(&kes);
    // A supervisor starts it again; an engine got the command to kill it.
    if kind() != Kind::Process {
        cli(&["restart", &kes]);
    }
    until("KES serves its keys again", served);
    kind().kill(&kes);
    stack.ok(&["up"]);
    until("KES serves its keys after another start", served);
    assert_eq!(stack.json(&["status"])["state"], "running");
    assert_kept(stack);
}

#[test]
#[ignore = "needs an engine"]
fn a_read_only_folder_loses_nothing_and_is_said() {
    let disk = SmallDisk::new();
    let stack = Sandbox::below(&disk.folder.join("stacks"));
    fill(&stack);
    let folders = ["", "certs", "config"].map(|folder| stack.root().join(folder));
    let modes = folders.clone().map(|folder| fs::metadata(folder).unwrap().permissions());
    let lock = |read_only: bool| match (&disk.mounted, read_only) {
        (Some(_), true) => mount(&["-o", "remount,ro"], &disk.folder),
        (Some(_), false) => mount(&["-o", "remount,rw"], &disk.folder),
        (None, true) => folders.iter().for_each(|f| fs::set_permissions(f, Permissions::from_mode(0o500)).unwrap()),
        (None, false) => folders.iter().zip(&modes).for_each(|(f, m)| fs::set_permissions(f, m.clone()).unwrap()),
    };
    if kind() == Kind::Process && disk.mounted.is_some() {
        // the logs that supervisors write keep a disk from becoming read-only
        stack.ok(&["down"]);
    }
    lock(true);
    stack.manifest("minio: { port: 0, console_port: 0, env: { MINIO_SITE_NAME: changed } }\n");
    let up = stack.run(&["up"]);
    lock(false);
    assert_said(&up, &["Read-only file system", "Permission denied"]);
    assert_mended(&stack);
    assert_gone(&stack);
}

/// Each file that kestack makes, cut, emptied, removed: it is made again or the message names it; the data is there.
#[test]
#[ignore = "needs an engine"]
fn half_written_files_are_mended_or_named() {
    let stack = precious();
    let mut dice = seeded();
    let folders = ["certs", "config"].map(|folder| stack.root().join(folder));
    let mut files: Vec<_> = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().flatten()).collect();
    files.sort_by_key(fs::DirEntry::path);
    assert!(files.len() >= 11);
    for file in files.iter().map(fs::DirEntry::path) {
        let whole = fs::read(&file).unwrap();
        let cuts: &[usize] = &[whole.len() / 2, 0, usize::MAX];
        // all three where an `up` takes no time
        let cuts = if kind() == Kind::Process { cuts } else { std::slice::from_ref(dice.pick(cuts)) };
        for cut in cuts {
            match whole.get(..*cut) {
                Some(part) => fs::write(&file, part).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let up = stack.run(&["up"]);
            eprintln!("{} cut to {cut}: {:?} {}", file.display(), up.status.code(), text(&up.stderr));
            if !up.status.success() {
                assert_said(&up, &[file.file_name().unwrap().to_str().unwrap()]);
                fs::write(&file, &whole).unwrap();
                stack.ok(&["up"]);
            }
            assert_kept(&stack);
        }
    }
    assert_mended(&stack);
    assert_gone(&stack);
}

/// A key that is cut is the user's to bring back: nothing is made in its place.
#[test]
#[ignore = "needs an engine"]
fn a_half_written_key_is_never_replaced() {
    let stack = precious();
    stack.ok(&["down"]);
    for name in ["minio-backend-key", "another"] {
        let file = stack.root().join("keys").join(name);
        let whole = fs::read(&file).unwrap();
        let part = &whole[..whole.len() / 2];
        fs::write(&file, part).unwrap();
        let up = stack.run(&["up"]);
        eprintln!("{name}: {:?} {}", up.status.code(), text(&up.stderr));
        assert_eq!(fs::read(&file).unwrap(), part, "{name}");
        stack.ok(&["down"]);
        fs::write(&file, whole).unwrap();
        assert_mended(&stack);
        stack.ok(&["down"]);
    }
    assert_gone(&stack);
}
