//! The stock module of Rust, with another image.

use std::time::{Duration, Instant};

use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use testcontainers_modules::minio::MinIO;
use testcontainers_modules::testcontainers::core::ExecCommand;
use testcontainers_modules::testcontainers::runners::SyncRunner;
use testcontainers_modules::testcontainers::{Container, ImageExt};

const BODY: &str = "seven words that nobody may read there";

fn main() {
    let begun = Instant::now();
    let minio = MinIO::default().with_name("localhost/kestack").with_tag("latest").start().unwrap();
    let endpoint = format!("http://127.0.0.1:{}", minio.get_host_port_ipv4(9000).unwrap());
    let started = Instant::now();

    let bucket = Bucket::new(endpoint.parse().unwrap(), UrlStyle::Path, "encrypted", "us-east-1").unwrap();
    let user = Credentials::new("minioadmin", "minioadmin");
    let put = || {
        let url = bucket.put_object(Some(&user), "hello").sign(Duration::from_secs(60));
        ureq::put(url.as_str()).send(BODY)
    };
    let answer = put().unwrap();
    println!("# rust: start {:?}, first PUT {:?}", started - begun, started.elapsed());
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-amz-server-side-encryption"), "aws:kms");
    assert!(header("x-amz-server-side-encryption-aws-kms-key-id").ends_with("minio-backend-key"));
    let url = bucket.get_object(Some(&user), "hello").sign(Duration::from_secs(60));
    let got = ureq::get(url.as_str()).call().unwrap().body_mut().read_to_string().unwrap();
    assert_eq!(got, BODY);

    assert_eq!(run(&minio, &["grep", "-rlF", BODY, "/data"]), 1, "the drive holds it in clear");
    let deny = std::env::var("KESTACK_DENY").unwrap();
    assert_eq!(run(&minio, &["sh", "-c", &deny]), 0);
    assert!(put().is_err(), "an object was taken without KES");
}

fn run(minio: &Container<MinIO>, command: &[&str]) -> i64 {
    let mut done = minio.exec(ExecCommand::new(command.iter().copied())).unwrap();
    done.stdout_to_vec().unwrap();
    done.exit_code().unwrap().unwrap()
}
