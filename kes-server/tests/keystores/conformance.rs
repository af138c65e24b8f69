//! What every backend must do: plain functions, run over each of them.
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use kes_server::keystore::{KeyStore, KeyStoreError};

/// A key in the form that all versions write (docs/keystores-protocol.md §1.2), AES256.
pub const VALUE: &[u8] = b"CiQKIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fEAESJAogICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8QARoICKX6zawGEAYiBW1pbmlv";

/// Calls that are made side by side where there are thousands: enough for a folder that syncs each of them, and few
/// enough that the last of them has its answer in time on a busy machine.
const AT_ONCE: usize = 8;

/// More than the largest page of a listing has, which are the 1,000 names of GCP's fake.
const NAMES: usize = 1_100;

/// What a keystore says of the deletion of a name that it does not have (docs/keystores-protocol.md §1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// That there is none.
    IsTold,
    /// Nothing: gone is gone.
    IsSuccess,
}

/// All of it, on an empty keystore; it is empty again afterwards.
pub async fn all(store: &impl KeyStore, missing: Missing) {
    with_plain_names(store, missing).await;
    takes_odd_names_and_values(store).await;
}

/// What holds for keystores that do not take every name and value, too.
pub async fn with_plain_names(store: &impl KeyStore, missing: Missing) {
    stores_and_returns(store).await;
    creates_only_what_is_free(store).await;
    knows_what_is_missing(store, missing).await;
    lets_one_of_nine_win(store).await;
    lists_all_by_prefix(store).await;
}

async fn stores_and_returns(store: &impl KeyStore) {
    store.status().await.unwrap();
    store.create("one", b"value").await.unwrap();
    assert_eq!(store.get("one").await.unwrap().as_slice(), b"value");
    store.delete("one").await.unwrap();
    assert_eq!(store.get("one").await, Err(KeyStoreError::NotFound));
}

async fn creates_only_what_is_free(store: &impl KeyStore) {
    store.create("taken", b"first").await.unwrap();
    assert_eq!(store.create("taken", b"second").await, Err(KeyStoreError::Exists));
    assert_eq!(store.get("taken").await.unwrap().as_slice(), b"first");
    store.delete("taken").await.unwrap();
    store.create("taken", b"third").await.unwrap();
    assert_eq!(store.get("taken").await.unwrap().as_slice(), b"third");
    store.delete("taken").await.unwrap();
}

async fn knows_what_is_missing(store: &impl KeyStore, missing: Missing) {
    assert_eq!(store.get("missing").await, Err(KeyStoreError::NotFound));
    let deleted = store.delete("missing").await;
    assert_eq!(deleted, if missing == Missing::IsTold { Err(KeyStoreError::NotFound) } else { Ok(()) });
}

async fn lets_one_of_nine_win(store: &impl KeyStore) {
    let values: Vec<_> = (0..9).map(|number| format!("value {number}").into_bytes()).collect();
    let results = join_all(values.iter().map(|value| store.create("race", value))).await;
    let winners: Vec<_> = results.iter().zip(&values).filter(|(result, _)| result.is_ok()).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(results.iter().filter(|result| **result == Err(KeyStoreError::Exists)).count(), 8);
    assert_eq!(store.get("race").await.unwrap().as_slice(), winners.first().unwrap().1);
    store.delete("race").await.unwrap();
}

async fn lists_all_by_prefix(store: &impl KeyStore) {
    assert_eq!(store.list("").await.unwrap(), Vec::<String>::new());
    let names: Vec<_> = (0..NAMES).map(|number| format!("list-{number:04}")).collect();
    // side by side, or the synchronous writes of a folder would take long
    let creations = stream::iter(names.iter().rev()).map(|name| store.create(name, b"v"));
    creations.buffer_unordered(AT_ONCE).for_each(|result| async { result.unwrap() }).await;
    assert_eq!(store.list("").await.unwrap(), names);
    assert_eq!(store.list("list-01").await.unwrap().len(), 100);
    assert_eq!(store.list("none").await.unwrap(), Vec::<String>::new());
    let deletions = stream::iter(names.iter()).map(|name| store.delete(name));
    deletions.buffer_unordered(AT_ONCE).for_each(|result| async { result.unwrap() }).await;
}

async fn takes_odd_names_and_values(store: &impl KeyStore) {
    // none is empty: AWS takes no such value
    let large = vec![b'x'; 60_000];
    for (name, value) in [("__", b"v".as_slice()), ("A", b"0"), ("a", b"lower"), ("0-0", &large)] {
        store.create(name, value).await.unwrap();
        assert_eq!(store.get(name).await.unwrap().as_slice(), value);
    }
    assert_eq!(store.list("").await.unwrap(), ["0-0", "A", "__", "a"]);
    for name in ["__", "A", "a", "0-0"] {
        store.delete(name).await.unwrap();
    }
}
