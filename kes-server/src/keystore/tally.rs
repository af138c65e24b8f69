//! What a keystore and the cache in front of it have done, counted for `/v1/metrics` (docs/kes-protocol.md §7). It outlasts a
//! reload.
//!
//! Each family has exactly one metric and no label: clients of MinIO KES expect that of all but three.

use std::time::{Duration, Instant};

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounter};

use super::KeyStoreError;

/// From a folder on a fast disk to a cloud that is in trouble.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The calls of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Get,
    Delete,
    List,
}

/// Whence a cached key came to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// It was cached.
    Hit,
    /// It was cached, and the keystore was down.
    Offline,
    /// It had to be read.
    Miss,
}

/// The counters of a process. A clone counts with it.
#[derive(Debug, Clone)]
pub struct Tally {
    calls: [Histogram; 4],
    unreachable: IntCounter,
    failed: IntCounter,
    lookups: [IntCounter; 3],
    renewals: IntCounter,
    failed_renewals: IntCounter,
}

impl Tally {
    /// All at zero.
    ///
    /// # Errors
    /// If a name is not one that Prometheus takes.
    pub fn new() -> prometheus::Result<Self> {
        let call =
            |name: &str, help: &str| Histogram::with_opts(HistogramOpts::new(name, help).buckets(BUCKETS.to_vec()));
        Ok(Self {
            calls: [
                call("kes_keystore_create_time", "Seconds that the keystore took to store a key.")?,
                call("kes_keystore_get_time", "Seconds that the keystore took to give a key.")?,
                call("kes_keystore_delete_time", "Seconds that the keystore took to delete a key.")?,
                call("kes_keystore_list_time", "Seconds that the keystore took to list its keys.")?,
            ],
            unreachable: IntCounter::new(
                "kes_keystore_unreachable",
                "Calls that did not reach the keystore, or found it unable to serve.",
            )?,
            failed: IntCounter::new(
                "kes_keystore_error",
                "Calls that the keystore refused or answered with nonsense.",
            )?,
            lookups: [
                IntCounter::new("kes_cache_hit", "Requests whose key was cached.")?,
                IntCounter::new("kes_cache_offline_hit", "Requests whose key was cached while the keystore was down.")?,
                IntCounter::new("kes_cache_miss", "Requests whose key was read from the keystore.")?,
            ],
            renewals: IntCounter::new("kes_keystore_login_renewal", "Renewals of the login to the keystore.")?,
            failed_renewals: IntCounter::new("kes_keystore_login_failure", "Renewals of the login that failed.")?,
        })
    }

    /// All counters, to be registered.
    pub(crate) fn collectors(&self) -> Vec<Box<dyn Collector>> {
        let counters = [&self.unreachable, &self.failed, &self.renewals, &self.failed_renewals];
        let counters = counters.into_iter().chain(&self.lookups).cloned().map(boxed);
        self.calls.iter().cloned().map(boxed).chain(counters).collect()
    }

    /// A call has ended. That there is no such key, or that there is one already, is an answer.
    pub(super) fn called<T>(&self, operation: Operation, began: Instant, result: &Result<T, KeyStoreError>) {
        let time: Duration = began.elapsed();
        let [create, get, delete, list] = &self.calls;
        let calls = match operation {
            Operation::Create => create,
            Operation::Get => get,
            Operation::Delete => delete,
            Operation::List => list,
        };
        calls.observe(time.as_secs_f64());
        match result {
            Err(KeyStoreError::Unreachable(_)) => self.unreachable.inc(),
            Err(KeyStoreError::Other(_) | KeyStoreError::Unsynced(_)) => self.failed.inc(),
            Ok(_) | Err(KeyStoreError::Exists | KeyStoreError::NotFound | KeyStoreError::Name(_)) => {}
        }
    }

    /// A request asked the cache for a key.
    pub(super) fn looked_up(&self, lookup: Lookup) {
        let [hit, offline, miss] = &self.lookups;
        match lookup {
            Lookup::Hit => hit.inc(),
            Lookup::Offline => offline.inc(),
            Lookup::Miss => miss.inc(),
        }
    }

    /// A login was renewed, or was not.
    pub(super) fn renewed(&self, is_done: bool) {
        if is_done { self.renewals.inc() } else { self.failed_renewals.inc() }
    }
}

fn boxed(collector: impl Collector + 'static) -> Box<dyn Collector> {
    Box::new(collector)
}
