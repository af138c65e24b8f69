//! The state behind all requests: one part lives as long as the process, a reload replaces the other one completely.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

use super::{
    route::{Auth, Routes},
    seen::Seen,
    share::Shares,
};
use crate::{
    auth::{Access, Decision, Identity},
    config::{Config, KeyStoreConfig, Level},
    keystore::{Cache, Connection, Notice},
    log::{self, Log},
    metrics::Metrics,
};

/// What lives as long as the process.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) log: Arc<Log>,
    pub(crate) metrics: Metrics,
    pub(crate) started: Instant,
    /// The same for people: RFC 3339 in local time. Policies count as made then.
    pub(crate) started_at: String,
    pub(crate) version: &'static str,
    pub(crate) commit: &'static str,
    /// Becomes true when the server stops serving.
    pub(crate) draining: watch::Receiver<bool>,
    pub(super) shares: Shares,
    pub(crate) seen: Seen,
    state: ArcSwap<State>,
}

/// What a configuration says: one value, never changed, replaced completely.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) access: Access,
    pub(crate) keys: Cache<Connection>,
    pub(super) routes: Routes,
    pub(super) largest_listing: Largest,
    keystore: KeyStoreConfig,
    /// Keys of the configuration that are there, or were.
    made: Mutex<BTreeSet<String>>,
}

/// Bytes that the largest listing of keys has needed: what the next one may need.
#[derive(Debug, Default)]
pub(super) struct Largest(AtomicUsize);

impl Largest {
    /// `None` before the first listing.
    pub(super) fn get(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0)
    }

    /// A listing has needed so many.
    pub(super) fn grow(&self, bytes: usize) {
        self.0.fetch_max(bytes, Ordering::Relaxed);
    }
}

impl Service {
    pub(crate) fn new(
        log: Arc<Log>,
        metrics: Metrics,
        (version, commit): (&'static str, &'static str),
        draining: watch::Receiver<bool>,
        state: Arc<State>,
    ) -> Self {
        let started_at = log::timestamp(&jiff::Zoned::now());
        let state = ArcSwap::new(state);
        let (started, shares, seen) = (Instant::now(), Shares::default(), Seen::default());
        Self { log, metrics, started, started_at, version, commit, draining, shares, seen, state }
    }

    /// What holds now. Requests that already run keep what held when they began.
    pub(crate) fn state(&self) -> Guard<Arc<State>> {
        self.state.load()
    }

    /// Replaces what holds.
    pub(crate) fn replace(&self, state: Arc<State>) {
        self.state.store(state);
    }
}

impl State {
    /// Puts a cache in front of a keystore. If `former` is about the same keystore, its cached keys are kept. Must be
    /// called within a runtime.
    pub(crate) fn new(config: &Config, keystore: Connection, log: &Arc<Log>, former: Option<&Self>) -> Self {
        let log = Arc::clone(log);
        let notify = move |notice: Notice| log.error(Level::ERROR, &notice.to_string());
        let former = former.filter(|former| former.keystore.is_same_place(&config.keystore));
        let keys = match former {
            Some(former) => former.keys.successor(keystore, config.cache, notify),
            None => Cache::new(keystore, config.cache, notify),
        };
        let (access, routes) = (config.access.clone(), Routes::new(&config.api));
        let made = Mutex::new(former.map(|former| former.made().clone()).unwrap_or_default());
        Self { access, keys, routes, largest_listing: Largest::default(), keystore: config.keystore.clone(), made }
    }

    /// The section of the keystore.
    pub(crate) fn keystore(&self) -> &KeyStoreConfig {
        &self.keystore
    }

    /// Those of the configuration's keys that are there, or were: one that is gone was lost, and a new key of its name could
    /// not open what the lost one sealed.
    pub(crate) fn made(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the configuration says anything about this identity: it is the admin's or has a policy.
    pub(crate) fn knows(&self, identity: &Identity) -> bool {
        !matches!(self.access.decide(identity, ""), Decision::UnknownIdentity)
    }

    /// Whether this caller may call this path, as [`authorize`](super::authorize::authorize) decides.
    pub(super) fn may_call(&self, identity: Option<&Identity>, path: &str) -> bool {
        let is_open = self.routes.find(path, path).is_some_and(|found| found.effective.auth == Auth::None);
        is_open || identity.is_some_and(|identity| self.access.decide(identity, path).is_allowed())
    }
}
