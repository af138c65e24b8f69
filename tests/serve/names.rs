//! Names of MinIO: what is not `server` goes to the real one, `server` is ours, also where a shell calls it.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

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
    let place = Place::new();
    let key = "mine:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let mut served = place.start(&[("MINIO_KMS_SECRET_KEY", key)], &[]);
    let start = std::time::Instant::now();
    while run(place.s3().list_buckets()).is_err() {
        assert!(start.elapsed().as_secs() < 60, "{}", served.said());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let said = served.said();
    assert!(said.contains("MINIO_KMS_SECRET_KEY is set: MinIO uses that KMS"), "{said}");
    assert!(!place.drive().join(".kestack").exists());
    served.signal(Signal::TERM);
    assert_eq!(served.ended().code(), Some(0));
}
