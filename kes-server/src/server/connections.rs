//! Limits the number of connections and their memory, and decides which one goes when that is too much:
//! strangers first, whatever they do, then those that have not finished their handshake, then the one that has been idle
//! for longest. Whoever opens thousands of connections keeps nobody out.

use std::{
    collections::HashMap,
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

use super::{
    activity::{Activity, Rank, Standing},
    holding::Holding,
};
use crate::{auth::Identity, memory};

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

#[derive(Debug, Default)]
struct Open {
    next: u64,
    all: HashMap<u64, Arc<Activity>>,
    /// Those that were asked to go and have not gone yet.
    leaving: usize,
    /// Those that are not known and were not told to go: at most half of all. Each more takes the place of one of them,
    /// as soon as that has had the time for its handshake.
    outsiders: usize,
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

impl Open {
    /// Tells up to so many connections to go, of those that deserve no place; false if there are none.
    fn make_room(&mut self, batch: usize, are_few: bool) -> bool {
        let mut ranked = self.ranked();
        ranked.retain(|(rank, _)| Activity::is_expendable(*rank, are_few));
        if batch < ranked.len() {
            ranked.select_nth_unstable_by_key(batch, |(rank, _)| *rank);
            ranked.truncate(batch);
        }
        for (_, activity) in &ranked {
            self.evict(activity);
        }
        !ranked.is_empty()
    }

    /// Tells the connection of a known client to go that has been idle for longest; false if all are at work.
    fn evict_the_idlest(&mut self) -> bool {
        let known = self.ranked().into_iter().filter(|((standing, _), _)| *standing == Standing::Known);
        let idlest = known.min_by_key(|(rank, _)| *rank);
        idlest.map(|(_, activity)| self.evict(&activity)).is_some()
    }

    fn ranked(&self) -> Vec<(Rank, Arc<Activity>)> {
        self.all.values().filter_map(|activity| Some((activity.rank()?, Arc::clone(activity)))).collect()
    }

    /// Tells connections to go until what the others hold is well within bounds: first strangers, then clients that
    /// are slow to take their answers, then those that have most. Those that hold little stay, above all handshakes:
    /// their end would give nothing back.
    fn relieve(&mut self, round: usize) {
        let staying = self.all.values().filter(|activity| !activity.is_evicted());
        let holders = staying.map(|activity| (activity.holding().shared(), Arc::clone(activity)));
        let mut staying: Vec<_> = holders.filter(|(held, _)| *held > 0).collect();
        let mut held: usize = staying.iter().map(|(held, _)| held).sum();
        if held <= MEMORY {
            return;
        }
        staying
            .sort_by_cached_key(|(held, activity)| (is_outsider(activity), activity.holding().is_slow(round), *held));
        while held > MEMORY / 4 * 3 {
            let Some((bytes, activity)) = staying.pop() else { return };
            self.evict(&activity);
            held -= bytes;
        }
    }

    fn evict(&mut self, activity: &Activity) {
        if activity.evict() {
            self.leaving += 1;
            self.outsiders -= usize::from(is_outsider(activity));
        }
    }
}

fn is_outsider(activity: &Activity) -> bool {
    activity.standing() != Standing::Known
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
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(5);

    fn known(admitted: Admitted) -> Admitted {
        admitted.identify(Some(&Identity::new("client")), |_| true);
        admitted
    }

    async fn is_evicted(admitted: &Admitted) -> bool {
        timeout(SHORT, admitted.activity.evicted()).await.is_ok()
    }

    #[tokio::test]
    async fn the_longest_idle_goes_first() {
        let connections = Connections::new(2);
        let (first, second) = (known(connections.admit().await), known(connections.admit().await));
        std::thread::sleep(Duration::from_millis(5));
        drop(first.activity.request(0));
        let third = connections.admit().await;
        second.activity.evicted().await;
        assert!(!is_evicted(&first).await, "the first was busy more recently");
        drop((first, second, third));
        timeout(LONG, connections.idle()).await.unwrap();
    }

    #[tokio::test]
    async fn strangers_go_first_whatever_they_do() {
        let connections = Connections::new(4);
        let idle = known(connections.admit().await);
        let handshake = connections.admit().await;
        let busy = connections.admit().await;
        busy.identify(Some(&Identity::new("stranger")), |_| false);
        let request = busy.activity.request(0);
        let one = connections.admit().await;
        assert!(is_evicted(&busy).await && !is_evicted(&handshake).await);
        handshake.activity.spoke();
        let other = connections.admit().await;
        assert!(is_evicted(&one).await && !is_evicted(&handshake).await, "it has said nothing for too long");
        other.activity.spoke();
        let another = timeout(LONG, connections.admit()).await.unwrap();
        assert!(is_evicted(&handshake).await && !is_evicted(&other).await, "it has had its time");
        assert!(!is_evicted(&idle).await && !is_evicted(&another).await);
        drop(request);
    }

    #[tokio::test]
    async fn half_of_the_places_are_for_those_who_are_known() {
        let connections = Connections::new(8);
        let others: Vec<_> = [connections.admit().await, connections.admit().await, connections.admit().await].into();
        for other in &others {
            other.identify(None, |_| true);
        }
        let client = known(connections.admit().await);
        let more = [connections.admit().await, connections.admit().await];
        assert!(is_evicted(&others[0]).await && !is_evicted(&others[1]).await, "four of eight are not known");
        assert!(!is_evicted(&client).await);
        drop((others, more));
        let open = connections.open();
        assert_eq!((open.outsiders, open.leaving), (0, 0));
    }

    #[tokio::test]
    async fn those_at_work_are_waited_for_until_they_are_idle() {
        let connections = Connections::new(1);
        let only = known(connections.admit().await);
        let busy = only.activity.request(0);
        assert!(timeout(SHORT, connections.admit()).await.is_err());
        let (admitted, ()) = tokio::join!(timeout(LONG, connections.admit()), async { drop(busy) });
        admitted.unwrap();
        assert!(is_evicted(&only).await, "it did not end, it was idle");
    }

    #[tokio::test]
    async fn who_waits_for_its_client_is_not_waited_for() {
        let connections = Connections::new(1);
        let only = known(connections.admit().await);
        let _request = only.activity.request(0);
        let (admitted, ()) = tokio::join!(timeout(LONG, connections.admit()), async { only.activity.waits() });
        admitted.unwrap();
    }

    #[tokio::test]
    async fn a_reload_decides_again_who_is_known() {
        let connections = Connections::new(4);
        let former = known(connections.admit().await);
        let current = connections.admit().await;
        current.identify(Some(&Identity::new("current")), |_| false);
        connections.judge(|identity| identity.as_str() == "current");
        let more = [known(connections.admit().await), connections.admit().await, connections.admit().await];
        assert!(is_evicted(&former).await && !is_evicted(&current).await);
        drop(more);
    }

    #[tokio::test]
    async fn answers_that_are_not_taken_end_their_connection() {
        let connections = Connections::new(4);
        let (slow, quick) = (known(connections.admit().await), known(connections.admit().await));
        let mut waiting = slow.activity.request(0);
        waiting.is_answered(100);
        for _ in 0..2 {
            let mut taken = quick.activity.request(0);
            taken.is_answered(100);
            assert!(!is_evicted(&slow).await);
            connections.next_round();
            drop(taken);
        }
        assert!(is_evicted(&slow).await && !is_evicted(&quick).await);
    }

    #[tokio::test]
    async fn one_connection_holds_no_more_than_a_few_megabytes() {
        let connections = Connections::new(4);
        let (single, several) = (known(connections.admit().await), known(connections.admit().await));
        let mut large = single.activity.request(0);
        large.is_answered(MEMORY * 2);
        assert!(!is_evicted(&single).await, "one large answer is fine");
        let many: Vec<_> = (0..9).map(|_| several.activity.request(MEMORY_OF_ONE / 8)).collect();
        assert!(is_evicted(&several).await);
        drop((large, many));
    }

    #[tokio::test]
    async fn when_all_hold_too_much_the_slow_and_the_greedy_go() {
        let connections = Connections::new(64);
        let mut all = Vec::new();
        for _ in 0..8 {
            all.push(known(connections.admit().await));
        }
        let mut slow = all[0].activity.request(0);
        slow.is_answered(64 << 10);
        connections.next_round();
        let requests: Vec<_> =
            all.iter().enumerate().map(|(number, one)| one.activity.request(MEMORY / 7 + number * 4096)).collect();
        connections.open().relieve(connections.round());
        assert!(is_evicted(&all[0]).await, "it is slow");
        assert!(is_evicted(&all[7]).await, "it has most");
        assert!(!is_evicted(&all[1]).await && !is_evicted(&all[2]).await);
        drop((requests, slow, all));
        assert_eq!(connections.0.held.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn nothing_begins_until_those_that_hold_too_much_are_gone() {
        let connections = Connections::new(64);
        let keeper = connections.clone();
        let keeping = tokio::spawn(async move { keeper.keep_room().await });
        let (mut greedy, other) = (Vec::new(), known(connections.admit().await));
        for _ in 0..4 {
            greedy.push(known(connections.admit().await));
        }
        let requests: Vec<_> = greedy.iter().map(|one| one.activity.request(MEMORY / 3)).collect();
        assert!(other.activity.are_full());
        assert!(timeout(SHORT, other.activity.room()).await.is_err(), "their memory is still in use");
        let evicted = greedy.iter().filter(|one| one.activity.is_evicted()).count();
        assert!((1..4).contains(&evicted) && !other.activity.is_evicted(), "{evicted} were asked to go");
        let (waited, ()) = tokio::join!(timeout(LONG, other.activity.room()), async { drop(requests) });
        waited.unwrap();
        keeping.abort();
    }

    #[tokio::test]
    async fn a_handshake_does_not_pay_for_what_others_hold() {
        let connections = Connections::new(64);
        let mut greedy = Vec::new();
        for _ in 0..4 {
            greedy.push(known(connections.admit().await));
        }
        let (silent, newcomer) = (connections.admit().await, connections.admit().await);
        newcomer.activity.spoke();
        let small = known(connections.admit().await);
        let mut quick = small.activity.request(0);
        quick.is_answered(100);
        connections.next_round();
        let requests: Vec<_> = greedy.iter().map(|one| one.activity.request(MEMORY / 3)).collect();
        connections.open().relieve(connections.round());
        let mut evicted = 0;
        for one in &greedy {
            evicted += usize::from(is_evicted(one).await);
        }
        assert!((1..4).contains(&evicted), "{evicted} of those that hold too much are gone");
        assert!(!is_evicted(&silent).await && !is_evicted(&newcomer).await, "they hold nothing");
        assert!(!is_evicted(&small).await, "it holds little, and a round ended while its answer was on its way");
        drop((requests, quick));
    }

    #[test]
    fn few_files_mean_few_connections() {
        assert_eq!(Connections::within(1024).0.limit, 768);
        assert_eq!(Connections::within(1 << 20).0.limit, 10_000);
        assert_eq!(Connections::within(10).0.limit, 1);
    }
}
