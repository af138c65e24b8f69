//! Log streams: whoever subscribes gets the lines that come after.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use prometheus::IntCounter;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

/// Bytes of lines that are kept for those who have not taken them yet. A subscriber that is further behind misses the
/// oldest lines.
const BACKLOG: usize = 1 << 20;

/// Bytes that a line takes in addition to its text.
const OVERHEAD: usize = 96;

/// The lines of one log for those who follow it.
#[derive(Debug)]
pub(crate) struct Stream {
    backlog: Mutex<Backlog>,
    /// The number of the line that comes next.
    news: watch::Sender<u64>,
    followers: AtomicUsize,
    written: IntCounter,
}

/// The last lines.
#[derive(Debug, Default)]
struct Backlog {
    lines: VecDeque<Bytes>,
    bytes: usize,
    /// The number of the line that comes next.
    next: u64,
}

/// A subscription: lines to hand out until the server drains.
pub(crate) type Follow = mpsc::Receiver<Bytes>;

impl Backlog {
    fn push(&mut self, line: Bytes) {
        self.bytes += line.len() + OVERHEAD;
        self.lines.push_back(line);
        self.next += 1;
        while self.bytes > BACKLOG {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.len() + OVERHEAD;
        }
    }

    /// The oldest line from this number on that is still here, and the number after it.
    fn oldest(&self, from: u64) -> Option<(Bytes, u64)> {
        let first = self.next.saturating_sub(self.lines.len() as u64);
        let number = from.max(first);
        let line = self.lines.get(usize::try_from(number - first).ok()?)?;
        Some((line.clone(), number + 1))
    }
}

impl Stream {
    /// `written` counts the lines that were handed out.
    pub(super) fn new(written: IntCounter) -> Self {
        Self { backlog: Mutex::default(), news: watch::Sender::new(0), followers: AtomicUsize::new(0), written }
    }

    /// Whether there is anyone to hand lines to.
    pub(super) fn is_followed(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0
    }

    /// Hands a line out; it is made only if somebody follows.
    pub(super) fn publish(&self, line: impl FnOnce() -> Bytes) {
        if self.is_followed() {
            let line = line();
            let mut backlog = self.backlog();
            backlog.push(line);
            self.news.send_replace(backlog.next);
        }
    }

    /// Follows the log until the receiver is dropped, the server drains, the time is over, or a line comes that the
    /// follower `may` no longer see.
    pub(crate) fn follow(
        self: &Arc<Self>,
        draining: watch::Receiver<bool>,
        limit: Option<Duration>,
        may: impl Fn() -> bool + Send + 'static,
    ) -> Follow {
        let (sender, follow) = mpsc::channel(1);
        let follower = Follower::new(self, draining);
        let limit = limit.unwrap_or(Duration::MAX);
        tokio::spawn(async move { timeout(limit, follower.forward(sender, may)).await });
        follow
    }

    /// Nothing that holds the lock can panic halfway.
    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever follows a log, until this is dropped.
struct Follower {
    stream: Arc<Stream>,
    next: u64,
    news: watch::Receiver<u64>,
    draining: watch::Receiver<bool>,
}

impl Follower {
    fn new(stream: &Arc<Stream>, draining: watch::Receiver<bool>) -> Self {
        let backlog = stream.backlog();
        stream.followers.fetch_add(1, Ordering::Relaxed);
        Self { stream: Arc::clone(stream), next: backlog.next, news: stream.news.subscribe(), draining }
    }

    async fn forward(mut self, reader: mpsc::Sender<Bytes>, may: impl Fn() -> bool) {
        while let Some(line) = self.line(&reader).await {
            if !may() || reader.send(line).await.is_err() {
                return;
            }
            self.stream.written.inc();
        }
    }

    /// The line that comes next; `None` if nobody waits for it any more.
    async fn line(&mut self, reader: &mpsc::Sender<Bytes>) -> Option<Bytes> {
        loop {
            self.news.mark_unchanged();
            let found = self.stream.backlog().oldest(self.next);
            if let Some((line, next)) = found {
                self.next = next;
                return Some(line);
            }
            tokio::select! {
                news = self.news.changed() => news.ok()?,
                () = reader.closed() => return None,
                _ = self.draining.wait_for(|draining| *draining) => return None,
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut backlog = self.stream.backlog();
        if self.stream.followers.fetch_sub(1, Ordering::Relaxed) == 1 {
            *backlog = Backlog { next: backlog.next, ..Backlog::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Arc<Stream> {
        Arc::new(Stream::new(IntCounter::new("lines", "lines").unwrap()))
    }

    #[tokio::test]
    async fn followers_get_what_comes_after_until_the_server_drains() {
        let stream = stream();
        stream.publish(|| panic!("nobody follows"));
        let (drain, draining) = watch::channel(false);
        let mut follow = stream.follow(draining, None, || true);
        for line in ["one\n", "two\n"] {
            stream.publish(|| Bytes::from_static(line.as_bytes()));
        }
        assert_eq!(follow.recv().await.as_deref(), Some(b"one\n".as_slice()));
        assert_eq!(follow.recv().await.as_deref(), Some(b"two\n".as_slice()));
        drain.send(true).unwrap();
        assert_eq!(follow.recv().await, None);
        assert_eq!(stream.written.get(), 2);
    }

    #[tokio::test]
    async fn who_may_no_longer_follow_gets_nothing_more() {
        let stream = stream();
        let (_drain, draining) = watch::channel(false);
        let allowed = Arc::new(AtomicUsize::new(1));
        let now = Arc::clone(&allowed);
        let mut follow = stream.follow(draining, None, move || now.load(Ordering::Relaxed) > 0);
        stream.publish(|| Bytes::from_static(b"one\n"));
        assert!(follow.recv().await.is_some());
        allowed.store(0, Ordering::Relaxed);
        stream.publish(|| Bytes::from_static(b"two\n"));
        assert_eq!(follow.recv().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_its_time_is_over() {
        let stream = stream();
        let (_drain, draining) = watch::channel(false);
        let mut follow = stream.follow(draining, Some(Duration::from_secs(60)), || true);
        stream.publish(|| Bytes::from_static(b"one\n"));
        assert!(follow.recv().await.is_some());
        assert_eq!(timeout(Duration::from_secs(61), follow.recv()).await, Ok(None));
    }

    #[tokio::test]
    async fn a_slow_follower_costs_a_bounded_number_of_bytes_and_misses_the_oldest_lines() {
        let stream = stream();
        let (_drain, draining) = watch::channel(false);
        let mut follow = stream.follow(draining, None, || true);
        let line = |number: usize| Bytes::from(format!("{number:4}{}", "x".repeat(130_000)));
        for number in 0..1_000 {
            stream.publish(|| line(number));
            let held: usize = stream.backlog().lines.iter().map(Bytes::len).sum();
            assert!(held <= BACKLOG, "{held} bytes after line {number}");
        }
        let mut got = Vec::new();
        while got.last() != Some(&line(999)) {
            got.push(follow.recv().await.unwrap());
        }
        assert!(got.len() < 20 && got.is_sorted(), "{} lines", got.len());
        drop(follow);
        while stream.is_followed() {
            tokio::task::yield_now().await;
        }
        assert_eq!(stream.backlog().lines.len(), 0, "nothing is kept for nobody");
    }
}
