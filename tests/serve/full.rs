//! A full drive: what is there can be read and deleted, as with MinIO alone.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::served::{Place, Served, run};
use crate::support::binary;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A disk of its own below a place, in a namespace that nobody else sees; it goes with the process that holds it.
struct Disk {
    place: Place,
    holder: Child,
}

impl Disk {
    fn new() -> Self {
        let place = Place::new();
        std::fs::create_dir(place.drive()).unwrap();
        // the host's /dev/shm belongs to somebody whom a namespace of users does not know
        let mounted = "mount -t tmpfs -o mode=1777 tmpfs /dev/shm && mount -t tmpfs -o size=64m,mode=700 tmpfs \"$0\" && touch \"$0/mounted\" && exec sleep 600";
        let mut command = Command::new("unshare");
        command.args(if is_root() { &["--mount"][..] } else { &["--mount", "--user", "--map-root-user"] });
        command.args(["sh", "-c", mounted]).arg(place.drive()).stdin(Stdio::null());
        let holder = command.spawn().unwrap();
        let disk = Self { place, holder };
        let start = Instant::now();
        while !disk.seen("mounted").exists() {
            assert!(start.elapsed() < Duration::from_secs(20), "the disk is not there");
            std::thread::sleep(Duration::from_millis(5));
        }
        disk
    }

    /// A file on the disk, as it is seen from here.
    fn seen(&self, file: &str) -> PathBuf {
        let drive = self.place.drive();
        PathBuf::from(format!("/proc/{}/root", self.holder.id())).join(drive.strip_prefix("/").unwrap()).join(file)
    }

    fn start(&self) -> Served {
        self.start_with(&[])
    }

    /// Started, and open.
    fn start_with(&self, env: &[(&str, &str)]) -> Served {
        let mut command = self.kestack();
        command.args(["serve", "--address", &format!("127.0.0.1:{}", self.place.port)]);
        command.arg(self.place.drive()).envs(env.iter().copied());
        let check = || self.kestack().args(["serve", "--check"]).arg(self.place.drive()).output().unwrap();
        self.place.spawn(command).open_by(check)
    }

    /// kestack where the disk is seen.
    fn kestack(&self) -> Command {
        let mut command = self.place.command("/usr/bin/nsenter".as_ref());
        command.args(if is_root() { &["--mount"][..] } else { &["--mount", "--user", "--preserve-credentials"] });
        command.args(["--target", &self.holder.id().to_string()]).arg(binary());
        command
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        for (name, size) in [("large", 1 << 20), ("middle", 4096), ("small", 1)] {
            let mut file = std::fs::File::create(self.seen(name)).unwrap();
            let chunk = vec![7; size];
            while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.holder), Signal::KILL);
        let _ = self.holder.wait();
    }
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_full_drive_is_served() {
    let disk = Disk::new();
    let served = disk.start();
    let s3 = disk.place.s3();
    run(s3.put_object("encrypted", "o", b"before")).unwrap();
    served.stop();
    // the image was changed for another one meanwhile
    std::fs::write(disk.seen(".kestack/stack.json"), r#"{"layout":2,"kestack":"0.1.9"}"#).unwrap();
    disk.fill();
    let served = disk.start();
    served.says("the drive is full: MinIO serves existing objects");
    served.says("names the kestack of before");
    run(async {
        assert_eq!(s3.get_object("encrypted", "o").await.unwrap(), b"before");
        let refused = s3.put_object("encrypted", "p", &vec![7; 1 << 20]).await.unwrap_err();
        assert_eq!(refused.code(), "XMinioStorageFull");
    });
    served.stop();
    // the record of the keys and a bucket would have to be written
    std::fs::remove_file(disk.seen(".kestack/guard.json")).unwrap();
    disk.fill();
    let served = disk.start_with(&[("KESTACK_BUCKETS", "encrypted,another:download")]);
    served.says("bucket 'another' is not as declared");
    assert_eq!(run(s3.get_object("encrypted", "o")).unwrap(), b"before");
    std::fs::remove_file(disk.seen("large")).unwrap();
    run(async {
        // MinIO looks at its free space once a while
        let start = Instant::now();
        while let Err(error) = s3.put_object("encrypted", "p", b"after").await {
            assert!(start.elapsed() < Duration::from_secs(30), "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        s3.create_bucket("later").await.unwrap();
        s3.put_object("later", "o", b"after").await.unwrap();
        assert_eq!(s3.head_object("later", "o").await.unwrap().encryption.as_deref(), Some("aws:kms"));
    });
    served.stop();
}
