//! The cache in front of a keystore (docs/kes-protocol.md §6): what was read is kept parsed, for a while.
//!
//! Entries go by sweeps, as in MinIO KES: every `any` all of them, every half of `unused` those that nobody asked
//! for since the last sweep. While the keystore is down and `offline` is set, both pause and only `offline` counts.
//! Unlike MinIO KES, an unset `unused` does not change `any` (docs/kes-protocol.md §11, Q9): the documented defaults
//! hold.
//!
//! A key that was deleted or replaced behind the server's back is noticed: five times within `any`, what is cached is
//! read once more and compared. That costs one read of the keystore a minute for each key in use, with the defaults,
//! and never delays a request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::flight::Flights;
use super::tally::Lookup;
use super::{HOLD, KeyStore, KeyStoreError};
use crate::config::Expiry;
use crate::crypto::Key;

mod sweep;

/// First pause of a read that waits for the keystore; each is twice as long as the last.
const PAUSE: Duration = Duration::from_millis(200);

/// How long it is passed on that the keystore is well: health checks, one for each of a thousand connections, must not
/// become as many questions to a KMS.
const WELL: Duration = Duration::from_millis(100);

/// How often a keystore that is down is asked whether it is back, by whoever wants to know.
const BACK: Duration = Duration::from_secs(1);

/// Something that whoever runs the server should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The keystore no longer has this key.
    Deleted(String),
    /// The keystore has another key under this name.
    Replaced(String),
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deleted(name) => write!(f, "key '{name}' is gone from the keystore: data under it cannot be read"),
            Self::Replaced(name) => {
                write!(f, "key '{name}' was replaced in the keystore: data under the former key cannot be read")
            }
        }
    }
}

/// A keystore with a cache of its keys.
#[derive(Debug)]
pub struct Cache<S> {
    shared: Arc<Shared<S>>,
    sweeper: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared<S> {
    store: S,
    kept: Arc<Kept>,
    /// One lock per name that is being read.
    flights: Flights,
    offline: AtomicBool,
    /// When the keystore was last asked whether it is back; locked while it is asked.
    asked_back: tokio::sync::Mutex<Option<Instant>>,
    /// When the keystore was asked how it is, if it was well, and how long its answer took.
    well: RwLock<Option<(Instant, Duration)>>,
}

/// What was read. A cache that succeeds another has the same: what a request that still runs with the former deletes is
/// gone from both.
#[derive(Debug, Default)]
struct Kept {
    entries: RwLock<HashMap<String, Entry>>,
    /// Counts deletions: a read that a deletion overtook must not put its key into the cache.
    deletions: AtomicU64,
}

/// A deletion under way. Its key leaves the cache at its end, whichever that is: a client may leave before.
struct Deletion<'a> {
    kept: &'a Kept,
    name: &'a str,
    /// The key stays.
    is_kept: bool,
}

impl Drop for Deletion<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.kept.deletions.fetch_add(1, Ordering::SeqCst);
            // also `KEY` for `key`, which are one key in Azure; elsewhere it is read once more
            write(&self.kept.entries).retain(|name, _| !name.eq_ignore_ascii_case(self.name));
        }
    }
}

#[derive(Debug)]
struct Entry {
    key: Arc<Key>,
    /// SHA-256 of what the keystore has.
    stored: [u8; 32],
    used: AtomicBool,
}

impl<S: KeyStore + 'static> Cache<S> {
    /// Puts a cache in front of a keystore. Must be called within a runtime, which runs the sweeps. `notify` gets
    /// their findings.
    pub fn new(store: S, expiry: Expiry, notify: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self::with(None, store, expiry, notify)
    }

    /// As [`Cache::new`], in front of the keystore that this cache is in front of too. The new cache keeps what this one
    /// has read, so that no request waits for a key that is as it was, and compares all of it with the keystore at once.
    #[must_use]
    pub fn successor(&self, store: S, expiry: Expiry, notify: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self::with(Some(&self.shared.kept), store, expiry, notify)
    }

    fn with(
        former: Option<&Arc<Kept>>,
        store: S,
        expiry: Expiry,
        notify: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            store,
            kept: former.cloned().unwrap_or_default(),
            flights: Flights::default(),
            offline: AtomicBool::new(false),
            asked_back: tokio::sync::Mutex::default(),
            well: RwLock::default(),
        });
        let sweeper = tokio::spawn(sweep::sweep(shared.clone(), expiry, notify, former.is_some()));
        Self { shared, sweeper }
    }

    /// The keystore behind it.
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    /// The key of a name: from the cache, else read once, however many ask.
    pub async fn get(&self, name: &str) -> Result<Arc<Key>, KeyStoreError> {
        if let Some(key) = self.shared.cached(name) {
            let is_down = self.shared.offline.load(Ordering::Relaxed);
            self.shared.count(if is_down { Lookup::Offline } else { Lookup::Hit });
            return Ok(key);
        }
        self.shared.count(Lookup::Miss);
        let patient_until = Instant::now() + HOLD;
        let flight = self.shared.flights.board(name);
        let _one = flight.turn().await;
        match self.shared.cached(name) {
            Some(key) => Ok(key),
            None => held(patient_until, || self.shared.read(name)).await,
        }
    }

    /// Stores a key under a free name. Does not fill the cache.
    pub async fn create(&self, name: &str, key: &Key) -> Result<(), KeyStoreError> {
        self.shared.store.create(name, &key.encode()).await
    }

    /// Removes a key, here and in the keystore. Gone is gone: also what the keystore no longer knows leaves the cache, and
    /// what it may have removed without saying so, because nobody waited for its answer or none came.
    pub async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        // a keystore that is known to be down removes nothing: its keys serve on
        let is_kept = self.shared.offline.load(Ordering::Relaxed);
        let mut deletion = Deletion { kept: &self.shared.kept, name, is_kept };
        let result = self.shared.store.delete(name).await;
        match &result {
            Ok(()) | Err(KeyStoreError::NotFound | KeyStoreError::Unsynced(_)) => deletion.is_kept = false,
            Err(KeyStoreError::Unreachable(_)) => {}
            Err(KeyStoreError::Exists | KeyStoreError::Name(_) | KeyStoreError::Other(_)) => deletion.is_kept = true,
        }
        result
    }

    /// Names that start with `prefix`, always from the keystore.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        held(Instant::now() + HOLD, || self.shared.store.list(prefix)).await
    }

    /// State of the keystore. It is not asked if it was well a tenth of a second ago, nor, while it is known to be down,
    /// more than once a second.
    pub async fn status(&self) -> Result<Duration, KeyStoreError> {
        if self.shared.offline.load(Ordering::Relaxed) {
            return self.shared.is_back().await;
        }
        let well = *self.shared.well.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, latency)) = well.filter(|(asked, _)| asked.elapsed() < WELL) {
            return Ok(latency);
        }
        let asked = Instant::now();
        let answer = self.shared.store.status().await;
        *write(&self.shared.well) = answer.as_ref().ok().map(|latency| (asked, *latency));
        answer
    }

    /// The number of cached keys.
    pub fn cached_keys(&self) -> usize {
        self.shared.kept.entries.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl<S> Drop for Cache<S> {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

impl<S: KeyStore> Shared<S> {
    fn count(&self, lookup: Lookup) {
        if let Some(tally) = self.store.tally() {
            tally.looked_up(lookup);
        }
    }

    fn cached(&self, name: &str) -> Option<Arc<Key>> {
        let entries = self.kept.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(name)?;
        // a store to a line that many cores read costs more than the check
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(entry.key.clone())
    }

    /// Asks a keystore that was down how it is, unless somebody did so a moment ago.
    async fn is_back(&self) -> Result<Duration, KeyStoreError> {
        let down = || KeyStoreError::Unreachable("the last check found it offline".into());
        let mut asked = self.asked_back.try_lock().map_err(|_| down())?;
        if asked.is_some_and(|asked| asked.elapsed() < BACK) {
            return Err(down());
        }
        *asked = Some(Instant::now());
        let latency = self.store.status().await?;
        self.offline.store(false, Ordering::Relaxed);
        Ok(latency)
    }

    async fn read(&self, name: &str) -> Result<Arc<Key>, KeyStoreError> {
        let deletions = self.kept.deletions.load(Ordering::SeqCst);
        let stored = self.store.get(name).await?;
        self.offline.store(false, Ordering::Relaxed);
        let key = Key::decode(&stored).map_err(|error| KeyStoreError::Other(error.to_string()))?;
        let (key, stored) = (Arc::new(key), fingerprint(&stored));
        let mut entries = write(&self.kept.entries);
        if deletions == self.kept.deletions.load(Ordering::SeqCst) {
            entries.insert(name.to_owned(), Entry { key: key.clone(), stored, used: AtomicBool::new(true) });
        }
        Ok(key)
    }

    /// Compares what is cached with the keystore, one key after the other. Ends at the first error: a keystore in
    /// trouble is left alone.
    async fn review(&self, notify: &(impl Fn(Notice) + Send + Sync)) {
        let cached: Vec<_> = {
            let entries = self.kept.entries.read().unwrap_or_else(PoisonError::into_inner);
            entries.iter().map(|(name, entry)| (name.clone(), entry.stored)).collect()
        };
        for (name, known) in cached {
            let deletions = self.kept.deletions.load(Ordering::SeqCst);
            let notice = match self.store.get(&name).await {
                Ok(stored) if fingerprint(&stored) == known => continue,
                Ok(_) => Notice::Replaced(name),
                Err(KeyStoreError::NotFound) => Notice::Deleted(name),
                Err(_) => return,
            };
            // a deletion by our own clients needs no notice
            if deletions == self.kept.deletions.load(Ordering::SeqCst) {
                let (Notice::Replaced(name) | Notice::Deleted(name)) = &notice;
                write(&self.kept.entries).remove(name);
                notify(notice);
            }
        }
    }

    fn clear(&self) {
        write(&self.kept.entries).clear();
    }

    fn drop_unused(&self) {
        write(&self.kept.entries).retain(|_, entry| entry.used.swap(false, Ordering::Relaxed));
    }
}

/// Repeats a read of a keystore that is out of reach, until it is there or time is over.
async fn held<T, F>(until: Instant, read: impl Fn() -> F) -> Result<T, KeyStoreError>
where
    F: Future<Output = Result<T, KeyStoreError>>,
{
    let mut pause = PAUSE;
    loop {
        match read().await {
            Err(KeyStoreError::Unreachable(_)) if Instant::now() + pause < until => tokio::time::sleep(pause).await,
            result => return result,
        }
        pause *= 2;
    }
}

fn fingerprint(stored: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, stored);
    digest.as_ref().try_into().unwrap_or_default()
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
