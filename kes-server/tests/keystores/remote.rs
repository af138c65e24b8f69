//! What holds for every keystore that is reached over the network, whichever it is.

use std::time::Duration;

use kes_server::keystore::{KeyStore, KeyStoreError};

use super::conformance::VALUE;
use super::fake::{Fake, Fault};

/// The same key as [`VALUE`], but for ChaCha20 (docs/keystores-protocol.md §1.2).
pub const CHACHA: &[u8] = b"CiQKIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fEAISJAogICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8QARoICKX6zawGEAYiBW1pbmlv";
/// A key of the oldest form.
pub const LEGACY: &[u8] =
    br#" {"bytes":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","algorithm":"AES256-GCM_SHA256"} "#;
/// Longest time that a call takes (docs/keystores-protocol.md §14, 16).
const BOUND: Duration = Duration::from_secs(31);

/// `put` stores as others do, `stored` shows what is stored: both in the stored form of this keystore.
pub async fn keeps_the_reference_form(
    store: &impl KeyStore,
    form: impl Fn(&[u8]) -> String,
    put: impl Fn(&str, &str),
    stored: impl Fn(&str) -> Option<String>,
) {
    for (number, value) in [VALUE, CHACHA, LEGACY].into_iter().enumerate() {
        let (theirs, ours) = (format!("theirs-{number}"), format!("ours-{number}"));
        put(&theirs, &form(value));
        assert_eq!(store.get(&theirs).await.unwrap().as_slice(), value);
        store.create(&ours, value).await.unwrap();
        assert_eq!(stored(&ours), Some(form(value)));
        store.delete(&theirs).await.unwrap();
        store.delete(&ours).await.unwrap();
    }
}

/// A keystore that takes a call and never answers: the call ends all the same. Needs a runtime of one thread; the
/// clock stands until the call has arrived, and then runs by itself.
pub async fn ends_a_hang(fake: &Fake, store: &impl KeyStore, name: &str) {
    fake.trace();
    fake.fail("", usize::MAX, Fault::Hang);
    let call = store.get(name);
    let arrived = async {
        while fake.trace().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::pause();
        tokio::time::Instant::now()
    };
    let (result, arrived) = tokio::join!(call, arrived);
    let took = arrived.elapsed();
    tokio::time::resume();
    assert!(matches!(&result, Err(KeyStoreError::Unreachable(why)) if why.contains("no answer within")), "{result:?}");
    assert!(took <= BOUND, "{took:?}");
    fake.heal();
}

/// The answer to a write is lost: the write is done again, finds itself done, and that is what it was to do.
pub async fn survives_lost_answers(fake: &Fake, store: &impl KeyStore, create: &str, delete: &str) {
    for fault in [Fault::Drop, Fault::DropAnswer] {
        fake.fail(create, 1, fault.clone());
        store.create("lost", VALUE).await.unwrap();
        assert_eq!(store.get("lost").await.unwrap().as_slice(), VALUE);
        fake.fail(create, 1, fault.clone());
        assert_eq!(store.create("lost", CHACHA).await, Err(KeyStoreError::Exists), "somebody else's");
        fake.fail(delete, 1, fault);
        store.delete("lost").await.unwrap();
        assert_eq!(store.get("lost").await, Err(KeyStoreError::NotFound));
        fake.heal();
    }
}

/// Nothing listens any more.
pub async fn tells_an_outage(fake: Fake, store: &impl KeyStore) {
    drop(fake);
    // the connections that stand end with the fake; then none can be made
    for _ in 0..100 {
        if store.status().await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(matches!(store.status().await, Err(KeyStoreError::Unreachable(_))));
    assert!(matches!(store.get("one").await, Err(KeyStoreError::Unreachable(_))));
}

/// Lets the time pass without waiting, for renewals; the network goes on in real time before and afterwards. Needs a
/// runtime of one thread: then whoever has an answer has taken it after some rounds.
pub async fn pass(time: Duration) {
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Does `work` while time runs a thousand times as fast: for long waits of ours between short calls. Needs a runtime of
/// one thread.
pub async fn hurry<T>(work: impl Future<Output = T>) -> T {
    tokio::time::pause();
    // the clock of a test moves by itself when nobody works; a thread that is at work keeps it from that
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let work_of_a_thread = tokio::task::spawn_blocking(move || wait.recv());
    let clock = async {
        loop {
            for _ in 0..500 {
                tokio::task::yield_now().await;
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
    };
    let result = tokio::select! { result = work => result, never = clock => never };
    drop(done);
    let _ = work_of_a_thread.await;
    tokio::time::resume();
    result
}

/// Waits until `done`, 5 s at most.
pub async fn eventually(done: impl Fn() -> bool) {
    for _ in 0..5000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("not within 5 s");
}
