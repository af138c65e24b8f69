//! The cache in front of a keystore (kes-api §6): what was read is kept parsed, for a while.
//!
//! Entries go by sweeps, as in the original: every `any` all of them, every half of `unused` those that nobody asked
//! for since the last sweep. While the keystore is down and `offline` is set, both pause and only `offline` counts.
//! Unlike the original, an unset `unused` does not change `any` (Q9): the documented defaults hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{KeyStore, KeyStoreError};
use crate::crypto::Key;

/// How often the keystore is asked whether it works.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// How long entries live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// All of them.
    pub any: Duration,
    /// Those that are not used.
    pub unused: Duration,
    /// All of them while the keystore is down; zero means that a keystore that is down changes nothing.
    pub offline: Duration,
}

impl Default for Expiry {
    /// The documented defaults.
    fn default() -> Self {
        Self { any: Duration::from_secs(300), unused: Duration::from_secs(30), offline: Duration::ZERO }
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
    entries: RwLock<HashMap<String, Entry>>,
    /// One lock per name that is being read: whoever comes later waits and finds the entry.
    flights: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Counts deletions: a read that a deletion overtook must not put its key into the cache.
    deletions: AtomicU64,
    offline: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    key: Arc<Key>,
    used: AtomicBool,
}

impl<S: KeyStore + 'static> Cache<S> {
    /// Puts a cache in front of a keystore. Must be called within a runtime, which runs the sweeps.
    pub fn new(store: S, expiry: Expiry) -> Self {
        let shared = Arc::new(Shared {
            store,
            entries: RwLock::default(),
            flights: Mutex::default(),
            deletions: AtomicU64::new(0),
            offline: AtomicBool::new(false),
        });
        let sweeper = tokio::spawn(sweep(shared.clone(), expiry));
        Self { shared, sweeper }
    }

    /// The keystore behind it.
    pub fn store(&self) -> &S {
        &self.shared.store
    }

    /// The key of a name: from the cache, else read once, however many ask.
    pub async fn get(&self, name: &str) -> Result<Arc<Key>, KeyStoreError> {
        if let Some(key) = self.shared.cached(name) {
            return Ok(key);
        }
        let flight = lock(&self.shared.flights).entry(name.to_owned()).or_default().clone();
        let guard = flight.lock().await;
        let result = match self.shared.cached(name) {
            Some(key) => Ok(key),
            None => self.shared.read(name).await,
        };
        drop(guard);
        let mut flights = lock(&self.shared.flights);
        // the map's and ours: nobody else waits
        if Arc::strong_count(&flight) <= 2 {
            flights.remove(name);
        }
        result
    }

    /// Stores a key under a free name. Does not fill the cache.
    pub async fn create(&self, name: &str, key: &Key) -> Result<(), KeyStoreError> {
        self.shared.store.create(name, &key.encode()).await
    }

    /// Removes a key, here and in the keystore. Gone is gone: also what the keystore no longer knows leaves the cache.
    pub async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        let result = self.shared.store.delete(name).await;
        if matches!(result, Ok(()) | Err(KeyStoreError::NotFound)) {
            self.shared.deletions.fetch_add(1, Ordering::SeqCst);
            write(&self.shared.entries).remove(name);
        }
        result
    }

    /// Names that start with `prefix`, always from the keystore.
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        self.shared.store.list(prefix).await
    }

    /// State of the keystore; while it is known to be down, without asking it.
    pub async fn status(&self) -> Result<Duration, KeyStoreError> {
        if self.shared.offline.load(Ordering::Relaxed) {
            return Err(KeyStoreError::Unreachable("the last check found it offline".into()));
        }
        self.shared.store.status().await
    }
}

impl<S> Drop for Cache<S> {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

impl<S: KeyStore> Shared<S> {
    fn cached(&self, name: &str) -> Option<Arc<Key>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(name)?;
        // a store to a line that many cores read costs more than the check
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(entry.key.clone())
    }

    async fn read(&self, name: &str) -> Result<Arc<Key>, KeyStoreError> {
        let deletions = self.deletions.load(Ordering::SeqCst);
        let stored = self.store.get(name).await?;
        let key = Key::decode(&stored).map_err(|error| KeyStoreError::Other(error.to_string()))?;
        let key = Arc::new(key);
        let mut entries = write(&self.entries);
        if deletions == self.deletions.load(Ordering::SeqCst) {
            entries.insert(name.to_owned(), Entry { key: key.clone(), used: AtomicBool::new(true) });
        }
        Ok(key)
    }

    fn clear(&self) {
        write(&self.entries).clear();
    }

    fn drop_unused(&self) {
        write(&self.entries).retain(|_, entry| entry.used.swap(false, Ordering::Relaxed));
    }
}

async fn sweep<S: KeyStore>(shared: Arc<Shared<S>>, expiry: Expiry) {
    let mut any = ticks(expiry.any);
    let mut unused = ticks(expiry.unused / 2);
    let mut offline = ticks(expiry.offline);
    let mut status = ticks(STATUS_INTERVAL);
    loop {
        let down = shared.offline.load(Ordering::Relaxed);
        let paused = down && !expiry.offline.is_zero();
        tokio::select! {
            () = tick(&mut any) => if !paused { shared.clear() },
            () = tick(&mut unused) => if !paused { shared.drop_unused() },
            () = tick(&mut offline) => if down { shared.clear() },
            () = tick(&mut status) => {
                let down = shared.store.status().await.is_err();
                shared.offline.store(down, Ordering::Relaxed);
            }
        }
    }
}

/// A clock that ticks every `period`, `None` if that is zero.
fn ticks(period: Duration) -> Option<tokio::time::Interval> {
    if period.is_zero() {
        return None;
    }
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Some(ticks)
}

async fn tick(clock: &mut Option<tokio::time::Interval>) {
    match clock {
        Some(clock) => drop(clock.tick().await),
        None => std::future::pending().await,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use std::fmt;
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;
    use zeroize::Zeroizing;

    use super::*;
    use crate::crypto::Algorithm;
    use crate::keystore::Memory;

    /// A keystore that counts its reads, takes its time, and can be down.
    #[derive(Default)]
    struct Slow {
        memory: Memory,
        reads: AtomicUsize,
        down: AtomicBool,
    }

    impl fmt::Display for Slow {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("slow")
        }
    }

    impl KeyStore for Slow {
        async fn status(&self) -> Result<Duration, KeyStoreError> {
            if self.down.load(Ordering::Relaxed) {
                return Err(KeyStoreError::Unreachable("down".into()));
            }
            Ok(Duration::from_millis(1))
        }

        async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
            self.memory.create(name, value).await
        }

        async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.memory.get(name).await
        }

        async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
            self.memory.delete(name).await
        }

        async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
            self.memory.list(prefix).await
        }
    }

    async fn cache(expiry: Expiry) -> Cache<Slow> {
        let cache = Cache::new(Slow::default(), expiry);
        cache.create("key", &Key::generate(Algorithm::Aes256, "").unwrap()).await.unwrap();
        cache
    }

    fn reads(cache: &Cache<Slow>) -> usize {
        cache.store().reads.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn many_misses_are_one_read_and_hits_none() {
        let cache = cache(Expiry::default()).await;
        let keys = join_all((0..50).map(|_| cache.get("key"))).await;
        assert!(keys.iter().all(Result::is_ok));
        cache.get("key").await.unwrap();
        assert_eq!(reads(&cache), 1);
        assert_eq!(cache.get("missing").await.unwrap_err(), KeyStoreError::NotFound);
        assert!(lock(&cache.shared.flights).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn entries_go_when_unused_and_all_of_them_in_the_end() {
        let cache = cache(Expiry::default()).await;
        cache.get("key").await.unwrap();
        tokio::time::sleep(Duration::from_secs(31)).await;
        cache.get("key").await.unwrap();
        assert_eq!(reads(&cache), 2, "unused for 30 s");
        for _ in 0..29 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            cache.get("key").await.unwrap();
        }
        assert_eq!(reads(&cache), 3, "in use, swept once after 5 minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn a_keystore_that_is_down_keeps_the_cache_alive_if_wanted() {
        let offline = Duration::from_secs(3600);
        let cache = cache(Expiry { offline, ..Expiry::default() }).await;
        cache.get("key").await.unwrap();
        cache.store().down.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(3000)).await;
        cache.get("key").await.unwrap();
        assert_eq!(reads(&cache), 1);
        assert!(matches!(cache.status().await, Err(KeyStoreError::Unreachable(_))));
        cache.store().down.store(false, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(400)).await;
        assert!(cache.status().await.is_ok());
        cache.get("key").await.unwrap();
        assert_eq!(reads(&cache), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_key_is_gone_even_while_it_is_being_read() {
        let cache = cache(Expiry::default()).await;
        let (read, deleted) = tokio::join!(cache.get("key"), cache.delete("key"));
        deleted.unwrap();
        assert_eq!(read.unwrap_err(), KeyStoreError::NotFound);
        assert_eq!(cache.get("key").await.unwrap_err(), KeyStoreError::NotFound);
    }
}
