//! Nothing is ever stored in clear, whoever hammers the port from which moment on.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use kestack::unstable::servers::s3::S3Client;

use crate::served::{Place, free_port, run};
use crate::support::text;

/// Puts an object until it is taken, and says how it is protected.
async fn first_put(s3: &S3Client, bucket: &str, makes: bool, body: &[u8], end: Instant) -> String {
    loop {
        if makes {
            let _ = s3.create_bucket(bucket).await;
        }
        if s3.put_object(bucket, "first", body).await.is_ok() {
            break;
        }
        assert!(Instant::now() < end, "{bucket}: never taken");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let head = s3.head_object(bucket, "first").await.unwrap();
    format!("{} {}", head.encryption.unwrap_or_default(), head.kms_key.unwrap_or_default())
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn the_first_object_that_is_taken_is_encrypted() {
    let starts = std::env::var("KESTACK_E2E_STARTS").map_or(30, |starts| starts.parse().unwrap());
    let body = b"seven words that must stay unread here".repeat(8);
    for start in 0..starts {
        let place = Place::new();
        // each third start is a second one
        let again = start % 3 == 2;
        if again {
            place.start(&[], &[]).open(&place).stop();
        }
        std::fs::create_dir_all(place.drive().join("folder")).unwrap();
        let served = place.start(&[], &[]);
        let end = Instant::now() + Duration::from_secs(60);
        let s3 = place.s3();
        let all = run(async {
            let declared = first_put(&s3, "encrypted", false, &body, end);
            let made = first_put(&s3, "made-by-a-client", true, &body, end);
            let folder = first_put(&s3, "folder", false, &body, end);
            <[String; 3]>::from(tokio::join!(declared, made, folder))
        });
        assert_eq!(all, ["aws:kms minio-backend-key"; 3], "start {start}");
        served.stop();
        assert!(!place.holds(&body[..32]), "start {start}: the drive holds it in clear");
    }
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn the_console_opens_after_s3() {
    for by_variable in [false, true] {
        let place = Place::new();
        let console = format!("127.0.0.1:{}", free_port());
        let option = ["--console-address", &console];
        let variable = [("MINIO_CONSOLE_ADDRESS", console.as_str())];
        let served = if by_variable { place.start(&variable, &[]) } else { place.start(&[], &option) };
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(&console).is_err() {
            assert!(Instant::now() < end, "the console never opened:\n{}", served.said());
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(TcpStream::connect(("127.0.0.1", place.port)).is_ok(), "the console was open before S3");
        served.says(&format!("WebUI: http://{console}"));
        let mut client = TcpStream::connect(&console).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut page = String::new();
        client.read_to_string(&mut page).unwrap();
        assert!(page.contains("MinIO Console"), "{page}");
        served.stop();
    }
}

/// MinIO would listen on any port of every address, and serve whoever signs in there before it encrypts.
#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_console_that_nobody_asked_for_is_on_this_machine_only() {
    for arguments in [&[][..], &["--console-address", ":0"]] {
        let place = Place::new();
        let served = place.start(&[], arguments).open(&place);
        let minio = served.server("minio").unwrap();
        let line =
            text(&std::fs::read(format!("/proc/{}/cmdline", minio.as_raw_nonzero())).unwrap()).replace('\0', " ");
        assert!(line.contains("--console-address 127.0.0.1:") && !line.contains(":0 "), "{line}");
        served.stop();
    }
}

/// As after `mkdir -p /data/uploads`, whatever happens to buckets that clients make.
#[test]
#[ignore = "needs MINIO_BINARY"]
fn folders_become_encrypting_buckets_also_where_others_do_not() {
    let place = Place::new();
    std::fs::create_dir_all(place.drive().join("uploads")).unwrap();
    let served = place.start(&[("KESTACK_AUTO_ENCRYPTION", "off")], &[]);
    let body = b"seven words that must stay unread here";
    let end = Instant::now() + Duration::from_secs(60);
    let protected = run(first_put(&place.s3(), "uploads", false, body, end));
    assert_eq!(protected, "aws:kms minio-backend-key");
    served.stop();
    assert!(!place.holds(body));
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_console_that_is_off_has_no_port() {
    let place = Place::new();
    let console = format!("127.0.0.1:{}", free_port());
    let served = place.start(&[("MINIO_BROWSER", "off")], &["--console-address", &console]).open(&place);
    assert!(TcpStream::connect(&console).is_err());
    served.stop();
    let taken = TcpListener::bind(&console).unwrap();
    let (code, said) = place.refused(&[], &["--console-address", &console]);
    assert!(code == 6 && said.contains(&format!("cannot listen on '{console}'")), "{code}: {said}");
    assert!(said.contains("choose another port with `--console-address`"), "{said}");
    drop(taken);
}
