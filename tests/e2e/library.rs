//! The library for test suites: the same stack by calls instead of commands.

use std::time::{Duration, Instant};

use kestack::testing::{EngineKind, ErrorKind, Fault, Stack, StackBuilder, blocking};
use kestack::unstable::servers::s3::{Encryption, S3Client};

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

fn root_of(stack: &Stack) -> S3Client {
    let root = stack.credentials();
    S3Client::trusting(Some(stack.authority()), &stack.s3_endpoint(), &root.access_key, &root.secret_key).unwrap()
}

#[tokio::test]
#[ignore = "needs an engine"]
async fn a_suite_uses_a_stack_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let stack = builder(folder.path()).tls().up().await.unwrap();
    assert!(stack.s3_endpoint().starts_with("https://"));
    root_of(&stack).put_object("encrypted", "one", b"content").await.unwrap();
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
    std::mem::forget(left);

    let stack = builder(folder.path()).bucket("invoices").up().await.unwrap();
    assert!(!left_folder.exists(), "what nobody needs any more is removed");
    let endpoint = stack.environment().into_iter().find(|(name, _)| name == "AWS_ENDPOINT_URL_S3").unwrap().1;
    assert_eq!(endpoint, stack.s3_endpoint());
    let s3 = root_of(&stack);
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
    drop(stack);
    assert!(!own_folder.exists(), "a dropped stack is removed");
}

#[tokio::test]
#[ignore = "needs an engine"]
async fn a_suite_proves_and_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut stack = builder(folder.path()).key("other").up().await.unwrap();
    let s3 = root_of(&stack);
    let own = s3.bucket_encryption("encrypted").await.unwrap();
    assert_eq!(own, Some(Encryption::SseKms("minio-backend-key".into())));
    s3.put_object("encrypted", "one", b"before").await.unwrap();
    stack.snapshot("first").await.unwrap();
    let taken = stack.snapshot("first").await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Usage);
    assert!(taken.hint().unwrap().contains("another name"), "{taken}");
    s3.put_object("encrypted", "one", b"after").await.unwrap();
    assert_eq!(stack.restore("absent").await.unwrap_err().kind(), ErrorKind::Usage);
    stack.restore("first").await.unwrap();
    assert_eq!(root_of(&stack).get_object("encrypted", "one").await.unwrap(), b"before");
    stack.verify().await.unwrap();
    let kes = stack.kes_endpoint();
    assert!(kes.starts_with("https://127.0.0.1:"), "{kes}");
    let folder_of = folder.path().join(stack.name());
    stack.keep();
    let name = stack.name().to_owned();
    drop(stack);
    assert!(folder_of.is_dir(), "a stack that is kept stays");
    // one that was there stays, whoever used it meanwhile
    drop(builder(folder.path()).name(&name).key("other").up().await.unwrap());
    assert!(folder_of.is_dir(), "a stack of somebody else was removed");
    let again = builder(folder.path()).name(&name).key("other").up().await.unwrap();
    assert_eq!(root_of(&again).get_object("encrypted", "one").await.unwrap(), b"before");
    // removes its snapshot, too
    again.down().await.unwrap();
    assert!(!folder_of.exists());
}

/// A timeout drops what it waits for.
#[tokio::test]
#[ignore = "needs an engine"]
async fn an_up_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("half");
    let begun = async {
        // its servers' files are there: it is being made
        while !root.join("config/kes-config.yaml").exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        up = builder(folder.path()).name("half").up() => panic!("it was too fast: {up:?}"),
        () = begun => {}
    }
    assert!(!root.exists(), "what was made is left");
    let stack = builder(folder.path()).name("half").up().await.unwrap();
    root_of(&stack).put_object("encrypted", "one", b"content").await.unwrap();
    stack.down().await.unwrap();
    assert!(!root.exists());
}

#[tokio::test]
#[ignore = "needs an engine"]
async fn a_proof_or_a_fault_that_is_dropped_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let stack = builder(folder.path()).up().await.unwrap();
    let s3 = root_of(&stack);
    s3.put_object("encrypted", "one", b"content").await.unwrap();
    let refused = async || {
        while tokio::time::timeout(Duration::from_secs(1), s3.get_object("encrypted", "one"))
            .await
            .is_ok_and(|got| got.is_ok())
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // a busy machine may not see the moment in which KES refuses
    let mut is_dropped = false;
    for _ in 0..20 {
        is_dropped = tokio::select! {
            proven = stack.verify() => proven.map(|()| false).unwrap(),
            () = refused() => true,
        };
        if is_dropped {
            break;
        }
    }
    assert!(is_dropped, "KES never refused");
    assert_eq!(s3.get_object("encrypted", "one").await.unwrap(), b"content");
    tokio::select! {
        played = stack.chaos(Fault::KesDeny, Duration::from_secs(60)) => panic!("it ended: {played:?}"),
        () = refused() => {}
    }
    assert_eq!(s3.get_object("encrypted", "one").await.unwrap(), b"content");
    stack.verify().await.unwrap();
    let unfinished = tokio::time::timeout(Duration::from_millis(1), stack.reset()).await;
    assert!(unfinished.is_err(), "it was too fast: {unfinished:?}");
    // MinIO was started again: the former connections are gone
    root_of(&stack).put_object("encrypted", "two", b"content").await.unwrap();
    stack.down().await.unwrap();
}

/// Each test has its own runtime, and drives it only while it waits.
#[test]
#[ignore = "needs an engine"]
fn a_stack_works_on_another_runtime_than_the_one_it_came_up_on() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let mut stack = first.block_on(builder(folder.path()).up()).unwrap();
    second.block_on(stack.verify()).unwrap();
    second.block_on(stack.snapshot("first")).unwrap();
    second.block_on(stack.reset()).unwrap();
    second.block_on(stack.restore("first")).unwrap();
    second.block_on(stack.chaos(Fault::KesDown, Duration::from_millis(100))).unwrap();
    second.block_on(stack.down()).unwrap();
}

/// Tests have runtimes of their own, which end before the shared stack does.
#[test]
#[ignore = "needs an engine"]
fn a_suite_without_a_runtime_shares_a_stack() {
    let folder = tempfile::tempdir().unwrap();
    let stack = blocking::Stack::up(builder(folder.path())).unwrap();
    let own = folder.path().join(stack.get().name());
    std::thread::scope(|scope| {
        let tests: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let sandbox = stack.sandbox().unwrap();
                    let name = sandbox.bucket().to_owned();
                    sandbox.remove().unwrap();
                    name
                })
            })
            .collect();
        let mut names: Vec<_> = tests.into_iter().map(|test| test.join().unwrap()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 4, "{names:?}");
    });
    stack.verify().unwrap();
    drop(stack);
    assert!(!own.exists(), "a dropped stack is removed");
}
