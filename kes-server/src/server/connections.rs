//! Limits the number of connections and their memory, and decides which one goes when that is too much:
//! strangers first, whatever they do, then those that have not finished their handshake, then the one that has been idle
//! for longest. Whoever opens thousands of connections keeps nobody out.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{error::Elapsed, timeout},
};

use self::open::{Open, is_outsider};
use super::{activity::Activity, holding::Holding};
use crate::{auth::Identity, memory};

mod open;

/// Enough for every client, few enough to stay within the memory of a small host.
const MOST: u64 = 10_000;

/// Files that are not connections of clients: keys, logs, connections to the keystore; and connections that were asked
/// to go and have not gone yet.
const OTHER_FILES: u64 = 256;

/// Most connections that were asked to go and have not gone yet.
const LEAVING: usize = 128;

/// Most connections that are asked to go at a time, so that a flood does not make each newcomer look at all of them.
const BATCH: usize = 32;

/// How often somebody who waits for a place looks whether there is one.
const LOOK: Duration = Duration::from_millis(20);

/// Bytes that all connections together may make the server hold, in addition to large bodies and to the part that each
/// has of its own. When they hold more, the server reads from none of them and begins no request until enough of them
/// have gone.
const MEMORY: usize = 10 << 20;

/// When the connections hold less than this again, there may be free memory that the system should have.
const MUCH: usize = MEMORY / 16;

/// Bytes that one connection may make the server hold in more than one answer. One that is larger counts as so many: a
/// long list of keys must not look like an attack.
pub(super) const MEMORY_OF_ONE: usize = 4 << 20;

/// An answer may wait for its client for one round, and at most for two.
const ROUND: Duration = Duration::from_secs(10);

/// The connections there are.
#[derive(Debug, Clone)]
pub(super) struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    open: Mutex<Open>,
    /// Somebody waits for a place.
    is_wanted: AtomicBool,
    /// One ended, or is idle while somebody waits for a place.
    freed: Notify,
    /// Bytes that the connections hold, without the part that each has of its own.
    held: AtomicUsize,
    /// They hold too much.
    full: Notify,
    /// They do not any more.
    room: Notify,
    /// They no longer hold much, or a connection has ended, in this round.
    is_freed: AtomicBool,
    round: AtomicUsize,
}

/// A connection, which counts until this is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    connections: Connections,
    number: u64,
    pub(super) activity: Arc<Activity>,
}

impl Connections {
    /// As many as a process that may open so many files should have.
    pub(super) fn within(files: u64) -> Self {
        let limit = MOST.min(files.saturating_sub(OTHER_FILES)).max(1);
        Self::new(usize::try_from(limit).unwrap_or(usize::MAX))
    }

    fn new(limit: usize) -> Self {
        Self(Arc::new(Inner {
            limit,
            open: Mutex::default(),
            is_wanted: AtomicBool::new(false),
            freed: Notify::new(),
            held: AtomicUsize::new(0),
            full: Notify::new(),
            room: Notify::new(),
            is_freed: AtomicBool::new(false),
            round: AtomicUsize::new(0),
        }))
    }

    /// Counts one more. If there are too many, others are asked to go; if all of them are at work for clients that are
    /// known, or in a handshake that has just begun, waits until one is not.
    pub(super) async fn admit(&self) -> Admitted {
        if let Some(admitted) = self.try_admit() {
            return admitted;
        }
        loop {
            let mut freed = pin!(self.0.freed.notified());
            freed.as_mut().enable();
            self.0.is_wanted.store(true, Ordering::SeqCst);
            if let Some(admitted) = self.try_admit() {
                self.0.is_wanted.store(false, Ordering::SeqCst);
                return admitted;
            }
            // or others have had their time
            let _: Result<(), Elapsed> = timeout(LOOK, freed).await;
        }
    }

    fn try_admit(&self) -> Option<Admitted> {
        let limit = self.0.limit;
        let mut open = self.open();
        if open.all.len() >= limit + LEAVING {
            return None;
        }
        let are_many = open.outsiders >= limit.div_ceil(2);
        if are_many || open.all.len() - open.leaving >= limit {
            let batch = (limit / 64).clamp(1, BATCH);
            let has_room = open.make_room(batch, !are_many) || !are_many && open.evict_the_idlest();
            has_room.then_some(())?;
        }
        let (number, activity) = (open.next, Activity::new(self.clone()));
        open.next += 1;
        open.outsiders += 1;
        open.all.insert(number, Arc::clone(&activity));
        Some(Admitted { connections: self.clone(), number, activity })
    }

    /// A connection may have become idle.
    pub(super) fn idle_again(&self) {
        if self.0.is_wanted.load(Ordering::SeqCst) {
            self.0.freed.notify_waiters();
        }
    }

    /// Decides of all connections who is a stranger now.
    pub(super) fn judge(&self, knows: impl Fn(&Identity) -> bool) {
        let mut open = self.open();
        open.all.values().for_each(|activity| activity.judge(&knows));
        open.outsiders = open.all.values().filter(|activity| is_outsider(activity) && !activity.is_evicted()).count();
    }

    /// Counts bytes that a connection makes the server hold. If it is too much, it goes, or others do.
    pub(super) fn hold(&self, activity: &Activity, bytes: usize) {
        let (held, more) = activity.holding().add(bytes);
        if held > MEMORY_OF_ONE && held > bytes + Holding::REQUEST {
            self.open().evict(activity);
        }
        if more > 0 && self.0.held.fetch_add(more, Ordering::Relaxed) + more > MEMORY {
            self.0.full.notify_one();
        }
    }

    /// Counts bytes that are no longer held.
    pub(super) fn release(&self, holding: &Holding, bytes: usize) {
        let less = holding.subtract(bytes);
        if less == 0 {
            return;
        }
        let before = self.0.held.fetch_sub(less, Ordering::Relaxed);
        let crosses = |limit: usize| before > limit && before - less <= limit;
        if crosses(MEMORY) {
            self.0.room.notify_waiters();
        }
        if crosses(MUCH) {
            self.0.is_freed.store(true, Ordering::Relaxed);
        }
    }

    /// Whether all connections together hold too much.
    pub(super) fn are_full(&self) -> bool {
        self.0.held.load(Ordering::Relaxed) > MEMORY
    }

    /// Waits until they do not.
    pub(super) async fn room(self) {
        while self.are_full() {
            // a notification that came before this one waited is lost
            let _: Result<(), Elapsed> = timeout(LOOK, self.0.room.notified()).await;
        }
    }

    /// Ends connections whenever all together hold too much, as long as it is polled.
    pub(super) async fn keep_room(&self) {
        loop {
            self.0.full.notified().await;
            while self.are_full() {
                self.open().relieve(self.round());
                // those that were asked to go need a moment
                let _: Result<(), Elapsed> = timeout(LOOK, self.0.room.notified()).await;
            }
        }
    }

    /// Which round this is.
    pub(super) fn round(&self) -> usize {
        self.0.round.load(Ordering::Relaxed)
    }

    /// Ends the connections whose clients do not take their answers, and gives memory back that was freed, as long as
    /// it is polled.
    pub(super) async fn end_stalled(&self) {
        loop {
            tokio::time::sleep(ROUND).await;
            self.next_round();
            if self.0.is_freed.swap(false, Ordering::Relaxed) {
                memory::give_back();
            }
        }
    }

    fn next_round(&self) {
        let round = self.0.round.fetch_add(1, Ordering::Relaxed) + 1;
        let mut open = self.open();
        let stalled = open.all.values().filter(|activity| activity.holding().is_stalled(round));
        let stalled: Vec<_> = stalled.cloned().collect();
        for activity in &stalled {
            open.evict(activity);
        }
    }

    /// Waits until there are none.
    pub(super) async fn idle(&self) {
        loop {
            let freed = self.0.freed.notified();
            if self.open().all.is_empty() {
                return;
            }
            freed.await;
        }
    }

    /// Nothing that holds the lock can panic halfway.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// After the handshake: the client showed this identity.
    pub(super) fn identify(&self, identity: Option<&Identity>, knows: impl Fn(&Identity) -> bool) {
        // within the lock: a reload that comes meanwhile decides either before, or of this one too
        let mut open = self.connections.open();
        self.activity.identify(identity, knows);
        if !is_outsider(&self.activity) && !self.activity.is_evicted() {
            open.outsiders -= 1;
        }
        drop(open);
        self.connections.idle_again();
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.all.remove(&self.number);
        if self.activity.is_evicted() {
            open.leaving -= 1;
        } else if is_outsider(&self.activity) {
            open.outsiders -= 1;
        }
        drop(open);
        self.connections.0.is_freed.store(true, Ordering::Relaxed);
        self.connections.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
