//! Several drives: one store, and keys on each of them.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use kestack::unstable::servers::s3::Encryption;

use crate::served::{Place, Served, free_port, run};
use crate::support::binary;

const BODY: &[u8] = b"nobody may find these words on the drives";
const KEY: &str = ".kestack/keys/minio-backend-key";

/// A place with four drives, which MinIO takes although they are one disk.
struct Drives(Place);

impl Drives {
    fn disk(&self, number: u32) -> PathBuf {
        self.0.folder.path().join(format!("disk{number}"))
    }

    /// All of them, as the call has them.
    fn pattern(&self) -> PathBuf {
        self.0.folder.path().join("disk{1...4}")
    }

    fn start(&self) -> Served {
        self.start_with(&[])
    }

    fn start_with(&self, env: &[(&str, String)]) -> Served {
        let mut command = self.0.command(&binary());
        command
            .args(["serve", "--address", &format!("127.0.0.1:{}", self.0.port)])
            .arg(self.pattern())
            .env("MINIO_CI_CD", "1")
            .envs(env.iter().map(|(name, value)| (*name, value)));
        self.0.spawn(command)
    }

    /// A start, once it can be used.
    fn open(&self) -> Served {
        self.opened(self.start())
    }

    fn opened(&self, served: Served) -> Served {
        let check = || self.0.command(&binary()).args(["serve", "--check"]).arg(self.pattern()).output().unwrap();
        served.open_by(check)
    }

    /// Waits until each drive has this file, or none.
    fn come_to(&self, file: &str, there: bool) {
        let start = Instant::now();
        while self.have(file) != [there; 4] {
            assert!(start.elapsed() < Duration::from_secs(60), "{file}: {:?}", self.have(file));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether each of the drives has this file.
    fn have(&self, file: &str) -> Vec<bool> {
        (1..=4).map(|number| self.disk(number).join(file).exists()).collect()
    }
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn several_drives_are_one_store_and_each_has_the_keys() {
    let drives = Drives(Place::new());
    let served = drives.open();
    run(async {
        let s3 = drives.0.s3();
        s3.put_object("encrypted", "o", BODY).await.unwrap();
        assert_eq!(s3.head_object("encrypted", "o").await.unwrap().kms_key.as_deref(), Some("minio-backend-key"));
    });
    served.stop();
    assert_eq!((drives.have(KEY), drives.have(".kestack/guard.json")), (vec![true; 4], vec![true; 4]));
    // another disk is put in place of the first
    std::fs::remove_dir_all(drives.disk(1)).unwrap();
    std::fs::create_dir(drives.disk(1)).unwrap();
    let served = drives.open();
    run(async {
        assert_eq!(drives.0.s3().get_object("encrypted", "o").await.unwrap(), BODY);
        let encryption = drives.0.s3().bucket_encryption("encrypted").await.unwrap();
        assert_eq!(encryption, Some(Encryption::SseKms("minio-backend-key".into())));
    });
    served.says("key 'minio-backend-key' was only on");
    served.stop();
    assert!(drives.disk(1).join(KEY).exists());
}

/// As kestack left them before it copied keys, and with the record of the keys gone as well.
#[test]
#[ignore = "needs MINIO_BINARY"]
fn an_empty_first_drive_is_no_reason_for_another_key() {
    for without in [".kestack/keys", ".kestack"] {
        let drives = Drives(Place::new());
        let served = drives.open();
        run(drives.0.s3().put_object("encrypted", "o", BODY)).unwrap();
        served.stop();
        std::fs::remove_dir_all(drives.disk(1)).unwrap();
        for number in 2..=4 {
            // a kestack that made no copies has nothing there
            let _ = std::fs::remove_dir_all(drives.disk(number).join(without));
        }
        let mut served = drives.start();
        let code = served.ended().code();
        let said = served.said();
        assert!(code == Some(7) && said.contains("key 'minio-backend-key' is gone"), "{code:?}: {said}");
        assert!(said.contains(drives.disk(2).to_str().unwrap()), "{said}");
        assert_eq!(drives.have(KEY), [false; 4]);
    }
}

/// What a dropped sandbox does, and the next one of its name.
#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_name_that_is_used_again_is_no_reason_to_refuse_a_start() {
    let drives = Drives(Place::new());
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}/v1/sandboxes");
    let token = "a-token-of-our-own-0123456789";
    let open = || {
        let env = [("KESTACK_UI", format!("127.0.0.1:{port}")), ("KESTACK_UI_TOKEN", token.to_owned())];
        let served = drives.opened(drives.start_with(&env));
        served.says("the HTTP interface is at");
        served
    };
    let ask = |method: &str, path: &str, body: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "--fail", "--max-time", "60", "-X", method, &format!("{url}{path}")]);
        curl.args(["-H", &format!("Authorization: Bearer {token}")]).args(body);
        assert!(curl.output().unwrap().status.success(), "{method} {path}");
    };
    let made = ["-H", "Content-Type: application/json", "--data", r#"{ "name": "mine" }"#];
    let served = open();
    ask("POST", "", &made);
    let names = || std::fs::read_dir(drives.disk(1).join(".kestack/keys")).unwrap().flatten();
    let key = names().map(|entry| entry.file_name().into_string().unwrap()).find(|name| name.contains("mine")).unwrap();
    let key = format!(".kestack/keys/{key}");
    drives.come_to(&key, true);
    ask("DELETE", "/mine", &[]);
    ask("POST", "", &made);
    served.signal(rustix::process::Signal::KILL);
    drop(served);
    let served = open();
    ask("DELETE", "/mine", &[]);
    drives.come_to(&key, false);
    served.stop();
    let served = open();
    assert_eq!(drives.have(&key), [false; 4]);
    served.stop();
}
