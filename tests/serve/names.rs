//! Names of MinIO: what is not `server` goes to the real one, `server` is ours, also where a shell calls it.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::served::{Place, minio, run};
use crate::support::{binary, text};

/// A folder with kestack under MinIO's names.
fn names(place: &Place) -> PathBuf {
    let folder = place.folder.path().join("bin");
    std::fs::create_dir(&folder).unwrap();
    for name in ["minio", "docker-entrypoint.sh"] {
        symlink(binary(), folder.join(name)).unwrap();
    }
    folder
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn what_is_not_server_is_minios_own() {
    let place = Place::new();
    let bin = names(&place);
    for arguments in [&["--version"][..], &["server", "--help"], &[], &["no-such-verb"]] {
        let theirs = Command::new(minio()).args(arguments).env("HOME", place.folder.path()).output().unwrap();
        for (program, before) in
            [("minio", None), ("docker-entrypoint.sh", None), ("docker-entrypoint.sh", Some("minio"))]
        {
            let ours = place.command(&bin.join(program)).args(before).args(arguments).output().unwrap();
            assert_eq!(ours.status.code(), theirs.status.code(), "{program} {arguments:?}");
            assert_eq!(text(&ours.stdout), text(&theirs.stdout), "{program} {arguments:?}");
        }
    }
    assert_eq!(place.processes(), Vec::<String>::new());
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_shell_that_calls_minio_gets_an_encrypting_one() {
    let place = Place::new();
    let bin = names(&place);
    let mut command = place.command("/bin/sh".as_ref());
    let drive = place.drive();
    let script =
        format!("mkdir -p {0}/langfuse && minio server --address 127.0.0.1:{1} {0}", drive.display(), place.port);
    command.args(["-c", &script]).env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let mut served = place.spawn(command).open(&place);
    run(async {
        let s3 = place.s3();
        s3.put_object("langfuse", "o", b"words that nobody reads").await.unwrap();
        assert_eq!(s3.head_object("langfuse", "o").await.unwrap().encryption.as_deref(), Some("aws:kms"));
    });
    assert!(!place.holds(b"words that nobody reads"));
    // the shell waits for it
    kill_process(served.server("minio").unwrap(), Signal::TERM).unwrap();
    assert_eq!(served.ended().code(), Some(0));
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_kms_of_the_users_is_left_alone() {
    let key = "mine:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    for was_ours in [false, true] {
        let place = Place::new();
        let lock = place.drive().join(".kestack/lock");
        if was_ours {
            std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
            std::fs::write(&lock, "").unwrap();
        }
        assert_eq!(place.check().status.code(), Some(3));
        let mut served = place.start(&[("MINIO_KMS_SECRET_KEY", key)], &[]).open(&place);
        // a MinIO that kestack does not bring up opens its port before it serves
        let begun = Instant::now();
        while let Err(error) = run(place.s3().list_buckets()) {
            assert!(begun.elapsed() < Duration::from_secs(30), "{error}");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(text(&place.check().stdout).contains("answers, with a KMS of yours"), "{:?}", place.check());
        let said = served.said();
        assert!(said.contains("MINIO_KMS_SECRET_KEY is set: MinIO uses that KMS"), "{said}");
        let held = std::fs::File::open(&lock).map(|lock| lock.try_lock().is_err());
        assert_eq!(held.ok(), was_ours.then_some(true), "the drive is locked if another kestack may come");
        served.signal(Signal::TERM);
        assert_eq!(served.ended().code(), Some(0));
        assert_eq!(place.check().status.code(), Some(3));
    }
}

/// MinIO takes one dash or two: what looks like its verb may be a value.
#[test]
#[ignore = "needs MINIO_BINARY"]
fn options_before_server_do_not_lead_past_kestack() {
    let place = Place::new();
    let program = names(&place).join("minio");
    let certs = place.folder.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    let mut command = place.command(&program);
    command.arg("-certs-dir").arg(&certs).args(["server", "--address", &format!("127.0.0.1:{}", place.port)]);
    command.arg(place.drive());
    let served = place.spawn(command).open(&place);
    run(async {
        place.s3().put_object("encrypted", "o", b"words that nobody reads").await.unwrap();
    });
    assert!(!place.holds(b"words that nobody reads"));
    served.stop();
    let unclear = place.command(&program).args(["--unknown", "/x", "server"]).arg(place.drive()).output().unwrap();
    assert_eq!(unclear.status.code(), Some(2), "{}", text(&unclear.stderr));
    assert!(text(&unclear.stderr).contains("write the options behind `server`"), "{}", text(&unclear.stderr));
}
