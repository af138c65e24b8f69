//! Whether a connection is still good for something (kes-api §1.8): when it was last busy, and how long it has been
//! sending the head of a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// How long a connection may be open without a request.
const IDLE: Duration = Duration::from_secs(90);

/// How long the head of a request may take over HTTP/1.
const HEAD: Duration = Duration::from_secs(5);

const NEVER: u64 = u64::MAX;

/// Requests that a connection may have answered before others come first.
const TURN: u32 = 8;

/// Times of a connection, in milliseconds since it began.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Requests that are being served.
    running: AtomicU32,
    idle_since: AtomicU64,
    /// When the head of a request began to arrive. Only watched over HTTP/1: there, what arrives between requests
    /// can be nothing else.
    head_since: AtomicU64,
    watches_heads: AtomicBool,
    /// Requests since the connection last had nothing to read.
    requests_in_turn: AtomicU32,
    is_evicted: AtomicBool,
    eviction: Notify,
}

/// A request that is being served, until it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Activity {
    /// Of a connection that was just accepted.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            running: AtomicU32::new(0),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(NEVER),
            watches_heads: AtomicBool::new(false),
            requests_in_turn: AtomicU32::new(0),
            is_evicted: AtomicBool::new(false),
            eviction: Notify::new(),
        })
    }

    /// After the handshake: requests may come.
    pub(super) fn begin(&self, watches_heads: bool) {
        self.watches_heads.store(watches_heads, Ordering::Relaxed);
        self.idle_since.store(self.now(), Ordering::Relaxed);
        self.received();
    }

    /// How long nothing has been served; `None` while something is, and once the connection was told to go.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        if self.running.load(Ordering::Relaxed) > 0 || self.is_evicted.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.began.elapsed().saturating_sub(Duration::from_millis(self.idle_since.load(Ordering::Relaxed))))
    }

    /// Tells the connection to go at once.
    pub(super) fn evict(&self) {
        self.is_evicted.store(true, Ordering::Relaxed);
        self.eviction.notify_one();
    }

    /// Waits until the connection is told to go.
    pub(super) async fn evicted(&self) {
        self.eviction.notified().await;
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

    pub(super) fn request(self: &Arc<Self>) -> Busy {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(NEVER, Ordering::Relaxed);
        Busy(Arc::clone(self))
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

    /// Something arrived.
    pub(super) fn received(&self) {
        if self.watches_heads.load(Ordering::Relaxed) && self.running.load(Ordering::Relaxed) == 0 {
            let since = &self.head_since;
            let _: Result<u64, u64> = since.compare_exchange(NEVER, self.now(), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(NEVER)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.now(), Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Relaxed);
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
        let http1 = Activity::new();
        http1.begin(true);
        assert!(about(http1.time_left(), HEAD), "the first request must come soon");
        drop(http1.request());
        assert!(about(http1.time_left(), HEAD) || about(http1.time_left(), IDLE));
        http1.received();
        assert!(about(http1.time_left(), HEAD), "a head is arriving");
        let http2 = Activity::new();
        http2.begin(false);
        http2.received();
        assert!(about(http2.time_left(), IDLE));
        let busy = http2.request();
        assert_eq!(http2.time_left(), IDLE);
        drop(busy);
    }
}
