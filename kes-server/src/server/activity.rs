//! The activity of a connection: when it was last at work, how long it has been sending the head of a request, who is
//! at its other end, and what it makes the server hold.

use std::{
    cmp::Reverse,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    connections::{Connections, MEMORY_OF_ONE},
    holding::Holding,
};
use crate::auth::Identity;

/// How long a connection may be open without a request.
const IDLE: Duration = Duration::from_secs(90);

/// How long the first byte, a handshake, and a body may take if somebody else wants the place.
const FIRST_BYTE: Duration = Duration::from_millis(100);
const HANDSHAKE: Duration = Duration::from_millis(300);
const UNHURRIED: Duration = Duration::from_secs(1);
const BODY: Duration = Duration::from_secs(1);

/// How long the head of a request may take over HTTP/1.
const HEAD: Duration = Duration::from_secs(5);

const NEVER: u64 = u64::MAX;

/// Requests that a connection may have answered before others come first.
const TURN: u32 = 8;

/// How much a connection deserves its place; the least goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// The configuration does not know its identity, or it has none.
    Stranger,
    /// It is known, and has let all of its requests wait for their bodies for some time.
    Waiting,
    /// It was accepted and has not sent a byte.
    Silent,
    /// Its handshake is under way.
    Newcomer,
    /// The admin, or an identity with a policy.
    Known,
}

/// A place in the order in which connections give way. Of those with the same standing, the one goes that has had its
/// place, or has been idle, for longest.
pub(super) type Rank = (Standing, Reverse<Duration>);

/// Times of a connection, in milliseconds since it began.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    connections: Connections,
    standing: AtomicU8,
    /// Set when the handshake has ended, if the client showed one certificate.
    identity: OnceLock<Identity>,
    /// Requests that are being served.
    running: AtomicU32,
    /// Those of them that wait for bytes of their client.
    waiting: AtomicU32,
    /// When an answer was ready for the last time, or the first request came after that.
    idle_since: AtomicU64,
    /// When the head of a request began to arrive. Only watched over HTTP/1: there, what arrives between requests
    /// can be nothing else.
    head_since: AtomicU64,
    watches_heads: AtomicBool,
    /// Requests since the connection last had nothing to read.
    requests_in_turn: AtomicU32,
    holding: Holding,
    is_evicted: AtomicBool,
    eviction: Notify,
    promotion: Notify,
}

/// A request: first it is served, then its answer waits to be sent. Until it is dropped, what the server holds for it
/// counts.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    /// Bytes that count.
    held: usize,
    /// When the answer was ready, in rounds of the server; `None` while the request is being served.
    answered: Option<usize>,
}

impl Activity {
    /// Of a connection that was just accepted.
    pub(super) fn new(connections: Connections) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            connections,
            standing: AtomicU8::new(Standing::Silent as u8),
            identity: OnceLock::new(),
            running: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NEVER),
            watches_heads: AtomicBool::new(false),
            requests_in_turn: AtomicU32::new(0),
            holding: Holding::default(),
            is_evicted: AtomicBool::new(false),
            eviction: Notify::new(),
            promotion: Notify::new(),
        })
    }

    /// The client has begun its handshake.
    pub(super) fn spoke(&self) {
        self.set_standing(Standing::Newcomer);
    }

    /// After the handshake: requests may come.
    pub(super) fn begin(&self, watches_heads: bool) {
        self.watches_heads.store(watches_heads, Ordering::Relaxed);
        self.idle_since.store(self.now(), Ordering::Relaxed);
        self.received();
    }

    /// Who showed which certificate.
    pub(super) fn identify(&self, identity: Option<&Identity>, knows: impl Fn(&Identity) -> bool) {
        if let Some(identity) = identity {
            // There is one handshake.
            let _: Result<(), Identity> = self.identity.set(identity.clone());
        }
        // nobody who is known now was a stranger before
        self.set_standing(Standing::Known);
        self.judge(knows);
    }

    /// Decides once more who is a stranger. Nothing changes before the end of the handshake.
    pub(super) fn judge(&self, knows: impl Fn(&Identity) -> bool) {
        let former = self.standing();
        if matches!(former, Standing::Stranger | Standing::Known) {
            let is_known = self.identity.get().is_some_and(knows);
            self.set_standing(if is_known { Standing::Known } else { Standing::Stranger });
            if is_known && former == Standing::Stranger {
                self.promotion.notify_one();
            }
        }
    }

    /// Waits until the client, a stranger so far, is known. The connection has a stranger's limits.
    pub(super) async fn promoted(&self) {
        self.promotion.notified().await;
    }

    /// What this connection deserves now.
    pub(super) fn standing(&self) -> Standing {
        let standing = self.standing.load(Ordering::Relaxed);
        let lesser = [Standing::Stranger, Standing::Silent, Standing::Newcomer];
        lesser.into_iter().find(|one| *one as u8 == standing).unwrap_or(Standing::Known)
    }

    fn set_standing(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Relaxed);
    }

    /// In which order connections give way: the least first. `None` for one that is at work for somebody who is known,
    /// and for one that was asked to go.
    pub(super) fn rank(&self) -> Option<Rank> {
        if self.is_evicted() {
            return None;
        }
        let standing = self.standing();
        if standing != Standing::Known {
            return Some((standing, Reverse(self.began.elapsed())));
        }
        let idle = self.idle_for()?;
        let is_waiting = self.running.load(Ordering::Relaxed) > 0 && idle > BODY;
        Some((if is_waiting { Standing::Waiting } else { standing }, Reverse(idle)))
    }

    /// Whether a connection of this rank goes for any other that comes. A handshake has its time: if each that comes
    /// ended one that is under way, none would end well. It has more of it while `are_few` have yet to show who they are:
    /// then the machine is slow, and nobody attacks it.
    pub(super) fn is_expendable((standing, Reverse(time)): Rank, are_few: bool) -> bool {
        match standing {
            Standing::Stranger | Standing::Waiting => true,
            Standing::Silent => time > if are_few { UNHURRIED } else { FIRST_BYTE },
            Standing::Newcomer => time > if are_few { UNHURRIED } else { HANDSHAKE },
            Standing::Known => false,
        }
    }

    /// How long nothing has been done for the client; `None` while something is. A request that waits for bytes of its
    /// client keeps nobody at work.
    fn idle_for(&self) -> Option<Duration> {
        if self.running.load(Ordering::SeqCst) > self.waiting.load(Ordering::SeqCst) {
            return None;
        }
        Some(self.began.elapsed().saturating_sub(Duration::from_millis(self.idle_since.load(Ordering::Relaxed))))
    }

    /// Asks the connection to go at once; false if it was asked before.
    pub(super) fn evict(&self) -> bool {
        let is_first = !self.is_evicted.swap(true, Ordering::Relaxed);
        if is_first {
            self.eviction.notify_one();
        }
        is_first
    }

    /// Whether the connection was asked to go.
    pub(super) fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Relaxed)
    }

    /// Waits until the connection is asked to go.
    pub(super) async fn evicted(&self) {
        self.eviction.notified().await;
    }

    /// What the server holds for the connection.
    pub(super) fn holding(&self) -> &Holding {
        &self.holding
    }

    /// Whether all connections together hold too much.
    pub(super) fn are_full(&self) -> bool {
        self.connections.are_full()
    }

    /// Waits until they do not.
    pub(super) fn room(&self) -> impl Future<Output = ()> + Send + use<> {
        self.connections.clone().room()
    }

    /// Whether it is time for other connections. A client that sends requests faster than they are answered would
    /// otherwise never give way.
    pub(super) fn has_had_its_turn(&self) -> bool {
        let is_over = self.requests_in_turn.fetch_add(1, Ordering::Relaxed) >= TURN;
        if is_over {
            self.requests_in_turn.store(0, Ordering::Relaxed);
        }
        is_over
    }

    /// A request with so many bytes in its head.
    pub(super) fn request(self: &Arc<Self>, head: usize) -> InFlight {
        if self.running.fetch_add(1, Ordering::SeqCst) == 0 {
            self.idle_since.store(self.now(), Ordering::Relaxed);
        }
        self.head_since.store(NEVER, Ordering::Relaxed);
        let mut request = InFlight { activity: Arc::clone(self), held: 0, answered: None };
        request.hold(Holding::REQUEST + head);
        request
    }

    /// One of the requests waits for its client.
    pub(super) fn waits(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.connections.idle_again();
    }

    /// It does not any more.
    pub(super) fn goes_on(&self) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Something arrived.
    pub(super) fn received(&self) {
        if self.watches_heads.load(Ordering::Relaxed) && self.running.load(Ordering::Relaxed) == 0 {
            let since = &self.head_since;
            let _: Result<u64, u64> = since.compare_exchange(NEVER, self.now(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// There is nothing to read: the turn of the connection is over by itself.
    pub(super) fn is_read_empty(&self) {
        self.requests_in_turn.store(0, Ordering::Relaxed);
    }

    /// Time left until the connection has been idle, or busy with the head of a request, for too long.
    pub(super) fn time_left(&self) -> Duration {
        if self.running.load(Ordering::Relaxed) > 0 {
            return if self.watches_heads.load(Ordering::Relaxed) { HEAD } else { IDLE };
        }
        let left = |since: &AtomicU64, limit: Duration| match since.load(Ordering::Relaxed) {
            NEVER => Duration::MAX,
            since => (Duration::from_millis(since) + limit).saturating_sub(self.began.elapsed()),
        };
        left(&self.idle_since, IDLE).min(left(&self.head_since, HEAD))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(NEVER)
    }

    fn is_served(&self) {
        self.idle_since.store(self.now(), Ordering::Relaxed);
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.connections.idle_again();
    }
}

impl InFlight {
    /// The answer of so many bytes is ready: from now on only the client is waited for.
    pub(super) fn is_answered(&mut self, bytes: usize) {
        self.hold(bytes.min(MEMORY_OF_ONE));
        self.answered = Some(self.activity.connections.round());
        self.activity.holding.answer_begins(self.answered);
        self.activity.is_served();
    }

    fn hold(&mut self, bytes: usize) {
        self.held += bytes;
        self.activity.connections.hold(&self.activity, bytes);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        match self.answered {
            Some(_) => self.activity.holding.answer_ends(self.answered),
            None => self.activity.is_served(),
        }
        self.activity.connections.release(&self.activity.holding, self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(left: Duration, limit: Duration) -> bool {
        left <= limit && left + Duration::from_secs(1) > limit
    }

    #[test]
    fn heads_are_short_and_idleness_is_longer() {
        let connections = Connections::within(1024);
        let http1 = Activity::new(connections.clone());
        http1.begin(true);
        assert!(about(http1.time_left(), HEAD), "the first request must come soon");
        drop(http1.request(0));
        assert!(about(http1.time_left(), HEAD) || about(http1.time_left(), IDLE));
        http1.received();
        assert!(about(http1.time_left(), HEAD), "a head is arriving");
        let http2 = Activity::new(connections);
        http2.begin(false);
        http2.received();
        assert!(about(http2.time_left(), IDLE));
        let busy = http2.request(0);
        assert_eq!(http2.time_left(), IDLE);
        drop(busy);
    }

    #[test]
    fn who_is_known_is_decided_by_the_configuration_in_force() {
        let activity = Activity::new(Connections::within(1024));
        activity.judge(|_| true);
        assert_eq!(activity.standing(), Standing::Silent, "there was no handshake");
        activity.identify(Some(&Identity::new("client")), |identity| identity.as_str() == "client");
        assert_eq!(activity.standing(), Standing::Known);
        activity.judge(|_| false);
        assert_eq!(activity.standing(), Standing::Stranger);
    }

    #[test]
    fn who_waits_for_its_client_is_idle() {
        let activity = Activity::new(Connections::within(1024));
        activity.identify(Some(&Identity::new("client")), |_| true);
        let request = activity.request(0);
        assert_eq!(activity.rank(), None);
        activity.waits();
        assert!(activity.rank().is_some());
        activity.goes_on();
        assert_eq!(activity.rank(), None);
        drop(request);
        assert!(activity.rank().is_some());
    }
}
