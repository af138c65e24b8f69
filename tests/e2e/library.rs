//! The library for test suites: the same stack by calls instead of commands.

use std::time::{Duration, Instant};

use kestack::servers::s3::S3Client;
use kestack::testing::{EngineKind, Fault, Stack, StackBuilder};

use crate::engine::{Kind, kind};
use crate::sandbox::binary;

fn builder(folder: &std::path::Path) -> StackBuilder {
    let engine = match kind() {
        Kind::Podman => EngineKind::Podman,
        Kind::Docker => EngineKind::Docker,
        Kind::Process => EngineKind::Process,
    };
    Stack::builder().engine(engine).folder(folder).program(binary())
}

fn root(stack: &Stack) -> S3Client {
    let root = stack.credentials();
    S3Client::trusting(Some(stack.authority()), &stack.s3_endpoint(), &root.access_key, &root.secret_key).unwrap()
}

#[tokio::test]
#[ignore = "needs an engine"]
async fn a_suite_uses_a_stack_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let stack = builder(folder.path()).tls().up().await.unwrap();
    assert!(stack.s3_endpoint().starts_with("https://"));
    root(&stack).put_object("encrypted", "one", b"content").await.unwrap();
    let sandbox = stack.sandbox().await.unwrap();
    let bundle = sandbox.environment().into_iter().find(|(name, _)| name == "AWS_CA_BUNDLE").unwrap().1;
    assert_eq!(std::fs::read_to_string(bundle).unwrap(), stack.authority());
    let stranger = S3Client::new(&stack.s3_endpoint(), "a", "b").unwrap();
    assert!(stranger.health("live").await.unwrap_err().is_connection(), "a certificate of nobody known was trusted");
    stack.down().await.unwrap();
}

#[tokio::test]
#[ignore = "needs an engine"]
async fn a_suite_uses_a_stack() {
    let folder = tempfile::tempdir().unwrap();
    // one that a killed run left: its lease ends at once
    let left = builder(folder.path()).lease(Duration::from_millis(1)).up().await.unwrap();
    let left_folder = folder.path().join(left.name());
    drop(left);
    assert!(left_folder.is_dir(), "dropping removes nothing");

    let stack = builder(folder.path()).bucket("invoices").up().await.unwrap();
    assert!(!left_folder.exists(), "what nobody needs any more is removed");
    let endpoint = stack.environment().into_iter().find(|(name, _)| name == "AWS_ENDPOINT_URL_S3").unwrap().1;
    assert_eq!(endpoint, stack.s3_endpoint());
    let s3 = root(&stack);
    s3.put_object("invoices", "one", b"content").await.unwrap();

    let sandbox = stack.sandbox().await.unwrap();
    let user = sandbox.credentials();
    let own = S3Client::new(&stack.s3_endpoint(), &user.access_key, &user.secret_key).unwrap();
    own.put_object(sandbox.bucket(), "two", b"own").await.unwrap();
    assert!(own.get_object("invoices", "one").await.is_err(), "its user sees more than the sandbox");

    // KES is down: nothing is readable; afterwards everything is
    let broken = stack.chaos(Fault::KesDown, Duration::from_secs(3));
    let start = Instant::now();
    let mut refused = 0;
    let reads = async {
        while start.elapsed() < Duration::from_secs(2) {
            let read = tokio::time::timeout(Duration::from_secs(1), own.get_object(sandbox.bucket(), "two")).await;
            refused += u32::from(!matches!(read, Ok(Ok(_))));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let (healed, ()) = tokio::join!(broken, reads);
    healed.unwrap();
    assert!(refused > 0, "the fault was not felt");
    assert_eq!(own.get_object(sandbox.bucket(), "two").await.unwrap(), b"own");
    sandbox.remove().await.unwrap();

    stack.reset().await.unwrap();
    assert!(s3.get_object("invoices", "one").await.is_err());
    s3.put_object("invoices", "one", b"again").await.unwrap();
    let own_folder = folder.path().join(stack.name());
    stack.down().await.unwrap();
    assert!(!own_folder.exists());
}
