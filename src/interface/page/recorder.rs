//! What KES did in the last ten minutes, for the plots: counted from its audit log, in slots of five seconds. It begins
//! when the first page is shown, and never keeps more than so much.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select, select_all};
use jiff::Timestamp;
use kes_server::client::AuditEvent;
use serde::Serialize;

use crate::error::Error;
use crate::interface::Interface;

/// Seconds of a slot, and how many there are: ten minutes.
const SLOT: i64 = 5;
pub(super) const SLOTS: usize = 120;
/// Durations that a slot keeps; of more, a random choice.
const TIMES: usize = 256;
/// Events and keys that are kept.
const EVENTS: usize = 100;
const KEYS: usize = 1000;
/// How long until KES is asked again after its log ended.
const AGAIN: Duration = Duration::from_secs(1);
/// Operations on keys that count: they are what clients wait for.
const COUNTED: [&str; 4] = ["generate", "encrypt", "decrypt", "hmac"];

/// The memory of it.
#[derive(Default)]
pub(super) struct Recorder {
    begun: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By number since 1970.
    slots: BTreeMap<i64, Slot>,
    events: VecDeque<Seen>,
    uses: BTreeMap<String, LastUse>,
    /// Hits and misses of the cache, as KES counted them last.
    cache: Option<(u64, u64)>,
}

/// Five seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    pub(super) requests: u32,
    pub(super) errors: u32,
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// Microseconds.
    times: Vec<u32>,
}

/// An event of the log, as a table shows it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Seen {
    time: String,
    who: String,
    what: String,
    code: u16,
    milliseconds: String,
}

/// The last time that a key opened something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LastUse {
    pub(super) time: String,
    pub(super) who: String,
}

impl Recorder {
    /// The last ten minutes, the oldest slot first.
    pub(super) fn slots(&self) -> Vec<Slot> {
        let (kept, now) = (self.kept(), Timestamp::now().as_second() / SLOT);
        let slot = |back: usize| {
            let number = now - i64::try_from(back).unwrap_or_default();
            kept.slots.get(&number).cloned().unwrap_or_default()
        };
        (0..SLOTS).rev().map(slot).collect()
    }

    /// The last events, the newest first.
    pub(super) fn events(&self) -> Vec<Seen> {
        self.kept().events.iter().rev().cloned().collect()
    }

    /// Who used that key last to open something.
    pub(super) fn last_use(&self, key: &str) -> Option<LastUse> {
        self.kept().uses.get(key).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, event: &AuditEvent, who: &str) {
        let mut path = event.request.path.trim_start_matches("/v1/key/").splitn(2, '/');
        let (verb, key) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
        let time = event.time.parse::<Timestamp>().unwrap_or_else(|_| Timestamp::now());
        let shown = time.strftime("%H:%M:%S").to_string();
        if COUNTED.contains(&verb) {
            let microseconds = u32::try_from(event.response.duration().as_micros()).unwrap_or(u32::MAX);
            let is_error = event.response.code >= 400;
            self.slot(Timestamp::now()).add(microseconds, is_error);
            if verb == "decrypt" && !is_error && (self.uses.len() < KEYS || self.uses.contains_key(key)) {
                self.uses.insert(key.to_owned(), LastUse { time: shown.clone(), who: who.to_owned() });
            }
        }
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        let milliseconds = format!("{:.2}", event.response.duration().as_secs_f64() * 1000.0);
        let (what, code) = (event.request.path.clone(), event.response.code);
        self.events.push_back(Seen { time: shown, who: who.to_owned(), what, code, milliseconds });
    }

    fn count_cache(&mut self, hits: u64, misses: u64) {
        if let Some((former_hits, former_misses)) = self.cache.replace((hits, misses)) {
            let slot = self.slot(Timestamp::now());
            // a KES that was started again counts from zero
            slot.hits += hits.saturating_sub(former_hits);
            slot.misses += misses.saturating_sub(former_misses);
        }
    }

    fn slot(&mut self, now: Timestamp) -> &mut Slot {
        let number = now.as_second() / SLOT;
        if self.slots.len() >= SLOTS && !self.slots.contains_key(&number) {
            self.slots.pop_first();
        }
        self.slots.entry(number).or_default()
    }
}

impl Slot {
    fn add(&mut self, microseconds: u32, is_error: bool) {
        self.requests = self.requests.saturating_add(1);
        self.errors = self.errors.saturating_add(is_error.into());
        if self.times.len() < TIMES {
            self.times.push(microseconds);
        } else if let Some(time) = self.times.get_mut(fastrand::usize(..self.requests as usize)) {
            *time = microseconds;
        }
    }

    /// Milliseconds within which this share of the requests was answered.
    pub(super) fn percentile(&self, share: usize) -> f64 {
        let mut times = self.times.clone();
        times.sort_unstable();
        let time = times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
        time.map_or(0.0, |time| f64::from(*time) / 1000.0)
    }
}

impl Interface {
    /// Begins to count, once.
    pub(super) fn record(&self) {
        if !self.0.page.recorder.begun.swap(true, Ordering::Relaxed) {
            let this = self.clone();
            tokio::spawn(async move {
                let follow = std::pin::pin!(this.follow_log());
                let ended = std::pin::pin!(this.0.interrupt.asked());
                select(follow, ended).await;
            });
        }
    }

    async fn follow_log(&self) {
        loop {
            if let Err(error) = self.follow_once().await {
                tracing::debug!(%error, "KES's log cannot be read");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn follow_once(&self) -> Result<(), Error> {
        let kept = self.0.known.kept().await?;
        let names = [
            (kept.stack().material.minio_identity()?.to_string(), "MinIO"),
            (kept.stack().material.admin_identity()?.to_string(), "kestack"),
        ];
        let endpoints = kept.stack().replicas().into_iter().map(|replica| replica.endpoint);
        let logs = endpoints.map(|endpoint| self.follow_one(kept.clients(), endpoint, &names));
        let logs = std::pin::pin!(select_all(logs.map(Box::pin)));
        let cache = std::pin::pin!(self.follow_cache(kept.clients()));
        match select(logs, cache).await {
            Either::Left(((ended, ..), _)) | Either::Right((ended, _)) => ended,
        }
    }

    async fn follow_one(
        &self,
        clients: crate::stack::Clients,
        endpoint: String,
        names: &[(String, &str)],
    ) -> Result<(), Error> {
        let mut log = clients.replicas.at(&endpoint)?.audit_log().await?;
        while let Some(event) = log.next().await? {
            let known = names.iter().find(|(identity, _)| *identity == event.request.identity);
            let who =
                known.map_or_else(|| event.request.identity.chars().take(12).collect(), |(_, name)| (*name).to_owned());
            self.0.page.recorder.kept().add(&event, &who);
        }
        Ok(())
    }

    async fn follow_cache(&self, clients: crate::stack::Clients) -> Result<(), Error> {
        let mut looks = tokio::time::interval(Duration::from_secs(SLOT.unsigned_abs()));
        loop {
            looks.tick().await;
            // KES may be down for a while: that is not a reason to begin again
            let Ok(metrics) = clients.kes.metrics().await else { continue };
            let of = |name: &str| {
                let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
                value.unwrap_or_default()
            };
            self.0.page.recorder.kept().count_cache(of("kes_cache_hit "), of("kes_cache_miss "));
        }
    }
}

#[cfg(test)]
mod tests {
    use kes_server::client::{AuditRequest, AuditResponse};

    use super::*;

    fn event(path: &str, code: u16, milliseconds: u64) -> AuditEvent {
        AuditEvent {
            time: "2026-01-02T03:04:05.678Z".into(),
            request: AuditRequest { path: path.into(), ..AuditRequest::default() },
            response: AuditResponse { code, time: milliseconds * 1_000_000 },
        }
    }

    #[test]
    fn only_work_with_keys_counts_and_memory_is_bounded() {
        let recorder = Recorder::default();
        for number in 0..1000 {
            recorder.kept().add(&event("/v1/key/decrypt/one", 200, number % 10), "MinIO");
            recorder.kept().add(&event("/v1/key/list/", 200, 1), "kestack");
        }
        recorder.kept().add(&event("/v1/key/decrypt/two", 403, 1), "MinIO");
        recorder.kept().count_cache(5, 1);
        recorder.kept().count_cache(9, 2);
        let slots = recorder.slots();
        assert_eq!(slots.len(), SLOTS);
        let sum = |of: fn(&Slot) -> u64| slots.iter().map(of).sum::<u64>();
        assert_eq!((sum(|slot| slot.requests.into()), sum(|slot| slot.errors.into())), (1001, 1));
        assert_eq!((sum(|slot| slot.hits), sum(|slot| slot.misses)), (4, 1));
        assert!(slots.iter().all(|slot| slot.times.len() <= TIMES));
        assert_eq!(recorder.events().len(), EVENTS);
        let last = recorder.last_use("one").unwrap();
        assert_eq!((last.time.as_str(), last.who.as_str()), ("03:04:05", "MinIO"));
        assert_eq!(recorder.last_use("two"), None, "it was refused");
    }

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut slot = Slot::default();
        (1..=100).for_each(|time| slot.add(time * 1000, false));
        assert!((slot.percentile(50) - 51.0).abs() < 1.1 && (slot.percentile(99) - 100.0).abs() < 1.1);
        assert!(Slot::default().percentile(99).abs() < f64::EPSILON);
    }
}
