//! A keystore that is overloaded, or not ready to serve: the same call may work later, so it counts as out of reach. Reads
//! wait for it, and a start goes on without it.

use kes_server::keystore::{KeyStore as _, KeyStoreError};

use super::aws::away;
use super::everyone::{self, Subject};
use super::fake::{Fault, Reply};
use super::{entrust, fortanix, keysecure, remote};

fn is_away<T>(result: &Result<T, KeyStoreError>) -> bool {
    matches!(result, Err(KeyStoreError::Unreachable(_)))
}

#[tokio::test]
async fn an_answer_that_may_be_another_one_later_is_not_a_refusal() {
    for Subject { name, fake, store } in everyone::all().await {
        for (status, may_change) in [(429, true), (500, true), (503, true), (403, false), (501, false)] {
            fake.fail("", usize::MAX, Fault::Answer(Reply::status(status)));
            let (read, created, state) = remote::hurry(async {
                (store.get("there").await, store.create("new", b"v").await, store.status().await)
            })
            .await;
            fake.heal();
            assert!(read.is_err() && created.is_err(), "{name}, {status}");
            assert_eq!((is_away(&read), is_away(&created)), (may_change, may_change), "{name}, {status}: {read:?}");
            assert!(!is_away(&state), "{name}, {status}: there is an answer");
        }
    }
}

/// Nothing is said about credentials that nobody has looked at.
#[tokio::test]
async fn a_start_finds_a_server_that_is_not_ready_out_of_reach() {
    let (entrust, fortanix, keysecure) =
        (entrust::start().await.0, fortanix::start().await.0, keysecure::start().await.0);
    for fake in [&entrust, &fortanix, &keysecure] {
        fake.fail("", usize::MAX, Fault::Answer(Reply::status(503)));
    }
    let told = remote::hurry(async {
        [
            away(entrust::connect(&entrust, "box", "password").await),
            away(fortanix::connect(&fortanix, "", "YXBwOmtleQ==").await),
            away(keysecure::connect(&keysecure, "refresh").await),
        ]
    });
    for text in told.await {
        assert!(text.contains("answered 503") && !text.contains("check"), "{text}");
    }
    fortanix.heal();
    fortanix.fail("session/auth", usize::MAX, Fault::Answer(Reply::status(429)));
    let text = away(remote::hurry(fortanix::connect(&fortanix, "", "YXBwOmtleQ==")).await);
    assert!(text.ends_with("/sys/v1/session/auth answered 429"), "{text}");
}
