use std::fmt;
use std::sync::Mutex;
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
    asked: AtomicUsize,
    /// The question after its state is never answered.
    mute: AtomicBool,
    /// What it does may be undone by a crash.
    unsynced: AtomicBool,
    /// Deletions are carried out, and never answered.
    silent: AtomicBool,
    /// Deletions are refused.
    refuses: AtomicBool,
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("slow")
    }
}

impl KeyStore for Slow {
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.mute.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
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
        if self.down.load(Ordering::Relaxed) {
            return Err(KeyStoreError::Unreachable("down".into()));
        }
        self.memory.get(name).await
    }

    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(KeyStoreError::Unreachable("down".into()));
        }
        if self.refuses.load(Ordering::Relaxed) {
            return Err(KeyStoreError::Other("no".into()));
        }
        self.memory.delete(name).await?;
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let unsynced = KeyStoreError::Unsynced("the disk fails".into());
        if self.unsynced.load(Ordering::Relaxed) { Err(unsynced) } else { Ok(()) }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        self.memory.list(prefix).await
    }
}

async fn cache(expiry: Expiry) -> Cache<Slow> {
    let cache = Cache::new(Slow::default(), expiry, |_| {});
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
    assert!(cache.shared.flights.is_empty());
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
    assert_eq!(reads(&cache), 7, "in use, reviewed four times, swept once after 5 minutes");
}

#[tokio::test(start_paused = true)]
async fn entries_go_in_time_also_if_the_keystore_does_not_say_how_it_is() {
    let cache = cache(Expiry::default()).await;
    cache.store().mute.store(true, Ordering::Relaxed);
    cache.get("key").await.unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert!(cache.shared.cached("key").is_none(), "unused for 40 s");
}

#[tokio::test(start_paused = true)]
async fn only_that_it_is_well_is_passed_on_and_not_for_long() {
    let cache = cache(Expiry::default()).await;
    for _ in 0..1000 {
        cache.status().await.unwrap();
    }
    assert_eq!(cache.store().asked.load(Ordering::Relaxed), 1);
    cache.store().down.store(true, Ordering::Relaxed);
    tokio::time::sleep(WELL).await;
    assert!(cache.status().await.is_err());
    cache.store().down.store(false, Ordering::Relaxed);
    cache.status().await.unwrap();
    assert_eq!(cache.store().asked.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_while_waiting_leaves_nothing_behind() {
    let cache = cache(Expiry::default()).await;
    let impatient = (0..5).map(|_| tokio::time::timeout(Duration::from_millis(10), cache.get("key")));
    assert!(join_all(impatient).await.iter().all(Result::is_err));
    assert!(cache.shared.flights.is_empty());
    let (patient, left) =
        tokio::join!(cache.get("key"), tokio::time::timeout(Duration::from_millis(10), cache.get("key")));
    assert!(patient.is_ok() && left.is_err());
    assert!(cache.shared.flights.is_empty());
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
async fn the_state_of_now_decides_whether_the_cache_is_emptied() {
    let seconds = Duration::from_secs;
    let expiry = Expiry { any: seconds(300), unused: seconds(7_200), offline: seconds(1_000) };
    let cache = cache(expiry).await;
    cache.get("key").await.unwrap();
    tokio::time::sleep(seconds(20)).await;
    cache.store().down.store(true, Ordering::Relaxed);
    tokio::time::sleep(seconds(290)).await;
    assert!(cache.shared.cached("key").is_some(), "down since 20 s, which the next tick of `any` must know");
    tokio::time::sleep(seconds(700)).await;
    assert!(cache.shared.cached("key").is_none(), "down for longer than `offline`");

    let expiry = Expiry { any: seconds(3_600), unused: seconds(140), ..expiry };
    let cache = Cache::new(Slow::default(), expiry, |_| {});
    cache.create("key", &Key::generate(Algorithm::Aes256, "").unwrap()).await.unwrap();
    cache.get("key").await.unwrap();
    cache.store().down.store(true, Ordering::Relaxed);
    tokio::time::sleep(seconds(980)).await;
    cache.store().down.store(false, Ordering::Relaxed);
    tokio::time::sleep(seconds(30)).await;
    assert!(cache.shared.cached("key").is_some(), "up again since 990 s, which the tick of `offline` must know");
}

#[tokio::test(start_paused = true)]
async fn a_keystore_that_is_back_is_noticed_by_whoever_asks_or_reads() {
    let cache = cache(Expiry::default()).await;
    for reads in [false, true] {
        cache.store().down.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(11)).await;
        let asked = cache.store().asked.load(Ordering::Relaxed);
        for _ in 0..1_000 {
            assert!(cache.status().await.is_err());
        }
        assert_eq!(cache.store().asked.load(Ordering::Relaxed), asked + 1, "one question for all of them");
        cache.store().down.store(false, Ordering::Relaxed);
        if reads {
            cache.shared.clear();
            cache.get("key").await.unwrap();
        } else {
            tokio::time::sleep(BACK).await;
        }
        cache.status().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_waits_for_a_keystore_that_comes_back() {
    let cache = cache(Expiry::default()).await;
    cache.store().down.store(true, Ordering::Relaxed);
    let back = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        cache.store().down.store(false, Ordering::Relaxed);
    };
    let (read, ()) = tokio::join!(cache.get("key"), back);
    read.unwrap();
    cache.shared.clear();
    cache.store().down.store(true, Ordering::Relaxed);
    let start = Instant::now();
    let all = join_all((0..20).map(|_| cache.get("key"))).await;
    assert!(all.iter().all(|read| matches!(read, Err(KeyStoreError::Unreachable(_)))));
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}: within the deadline of a request", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_happens_behind_its_back_is_noticed() {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let told = notices.clone();
    let expiry = Expiry { unused: Duration::from_secs(3600), ..Expiry::default() };
    let cache = Cache::new(Slow::default(), expiry, move |notice| told.lock().unwrap().push(notice));
    for name in ["kept", "deleted", "replaced"] {
        cache.create(name, &Key::generate(Algorithm::Aes256, "").unwrap()).await.unwrap();
        cache.get(name).await.unwrap();
    }
    let store = cache.store();
    store.memory.delete("deleted").await.unwrap();
    store.memory.delete("replaced").await.unwrap();
    let other = Key::generate(Algorithm::Aes256, "other").unwrap();
    cache.create("replaced", &other).await.unwrap();
    tokio::time::sleep(Duration::from_secs(62)).await;
    let mut seen = notices.lock().unwrap().clone();
    seen.sort_by_key(ToString::to_string);
    assert_eq!(seen, [Notice::Deleted("deleted".into()), Notice::Replaced("replaced".into())]);
    assert_eq!(cache.get("replaced").await.unwrap().created_by(), "other");
    assert_eq!(cache.get("deleted").await.unwrap_err(), KeyStoreError::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_key_is_gone_even_while_it_is_being_read() {
    let cache = cache(Expiry::default()).await;
    let (read, deleted) = tokio::join!(cache.get("key"), cache.delete("key"));
    deleted.unwrap();
    assert_eq!(read.unwrap_err(), KeyStoreError::NotFound);
    assert_eq!(cache.get("key").await.unwrap_err(), KeyStoreError::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_a_crash_may_bring_back_is_gone_all_the_same() {
    let cache = cache(Expiry::default()).await;
    cache.get("key").await.unwrap();
    cache.store().unsynced.store(true, Ordering::Relaxed);
    assert!(matches!(cache.delete("key").await, Err(KeyStoreError::Unsynced(_))));
    assert_eq!(cache.get("key").await.unwrap_err(), KeyStoreError::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_gone_also_if_nobody_waits_for_its_deletion() {
    let cache = cache(Expiry::default()).await;
    cache.get("key").await.unwrap();
    cache.store().silent.store(true, Ordering::Relaxed);
    assert!(tokio::time::timeout(Duration::from_secs(15), cache.delete("key")).await.is_err());
    assert_eq!(cache.get("key").await.unwrap_err(), KeyStoreError::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_without_an_outcome_costs_a_read_and_a_refused_one_nothing() {
    let cache = cache(Expiry { offline: Duration::from_secs(3600), ..Expiry::default() }).await;
    cache.get("key").await.unwrap();
    cache.store().refuses.store(true, Ordering::Relaxed);
    assert!(matches!(cache.delete("key").await, Err(KeyStoreError::Other(_))));
    assert!(cache.shared.cached("key").is_some());

    cache.store().down.store(true, Ordering::Relaxed);
    assert!(matches!(cache.delete("key").await, Err(KeyStoreError::Unreachable(_))));
    assert!(cache.shared.cached("key").is_none(), "it may have been carried out");
    cache.store().down.store(false, Ordering::Relaxed);
    cache.get("key").await.unwrap();

    cache.store().down.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert!(matches!(cache.delete("key").await, Err(KeyStoreError::Unreachable(_))));
    assert!(cache.shared.cached("key").is_some(), "it is known to be down");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_key_is_gone_in_upper_and_lower_case() {
    let cache = cache(Expiry::default()).await;
    cache.create("KEY", &Key::generate(Algorithm::Aes256, "").unwrap()).await.unwrap();
    for name in ["key", "KEY"] {
        cache.get(name).await.unwrap();
    }
    cache.delete("key").await.unwrap();
    assert!(cache.shared.cached("KEY").is_none(), "one key in Azure");
}

#[tokio::test(start_paused = true)]
async fn a_successor_keeps_what_was_read_and_compares_it_at_once() {
    let (first, second) = (Slow::default(), Slow::default());
    let stored = || Key::generate(Algorithm::Aes256, "").unwrap().encode();
    let (both, only) = (stored(), stored());
    first.memory.create("key", &both).await.unwrap();
    second.memory.create("key", &both).await.unwrap();
    first.memory.create("gone", &only).await.unwrap();
    let former = Cache::new(first, Expiry::default(), |_| ());
    let (kept, gone) = (former.get("key").await.unwrap(), former.get("gone").await.unwrap());
    let notices = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&notices);
    let cache = former.successor(second, Expiry::default(), move |notice| told.lock().unwrap().push(notice));
    assert!(Arc::ptr_eq(&cache.get("gone").await.unwrap(), &gone), "nothing is read");
    assert!(Arc::ptr_eq(&cache.get("key").await.unwrap(), &kept));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(cache.get("gone").await.unwrap_err(), KeyStoreError::NotFound);
    assert!(notices.lock().unwrap().contains(&Notice::Deleted("gone".into())));
    former.delete("key").await.unwrap();
    assert!(!Arc::ptr_eq(&cache.get("key").await.unwrap(), &kept), "what the former deletes is gone here too");
}
