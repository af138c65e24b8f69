//! Whether a connection is still good for something (kes-api §1.8): when it was last busy, and how long it has been
//! sending the head of a request.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a connection may be open without a request.
const IDLE: Duration = Duration::from_secs(90);

/// How long the head of a request may take over HTTP/1.
const HEAD: Duration = Duration::from_secs(5);

const NEVER: u64 = u64::MAX;

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
    watches_heads: bool,
}

/// A request that is being served, until it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Activity {
    pub(super) fn new(watches_heads: bool) -> Arc<Self> {
        let head_since = AtomicU64::new(if watches_heads { 0 } else { NEVER });
        let (running, idle_since) = (AtomicU32::new(0), AtomicU64::new(0));
        Arc::new(Self { began: Instant::now(), running, idle_since, head_since, watches_heads })
    }

    pub(super) fn request(self: &Arc<Self>) -> Busy {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(NEVER, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Time left until the connection has been idle, or busy with the head of a request, for too long.
    pub(super) fn time_left(&self) -> Duration {
        if self.running.load(Ordering::Relaxed) > 0 {
            return if self.watches_heads { HEAD } else { IDLE };
        }
        let left = |since: &AtomicU64, limit: Duration| match since.load(Ordering::Relaxed) {
            NEVER => Duration::MAX,
            since => (Duration::from_millis(since) + limit).saturating_sub(self.began.elapsed()),
        };
        left(&self.idle_since, IDLE).min(left(&self.head_since, HEAD))
    }

    fn received(&self) {
        if self.watches_heads && self.running.load(Ordering::Relaxed) == 0 {
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

/// A byte stream that tells when something arrives.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.received();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
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
        let http1 = Activity::new(true);
        assert!(about(http1.time_left(), HEAD), "the first request must come soon");
        drop(http1.request());
        assert!(about(http1.time_left(), HEAD) || about(http1.time_left(), IDLE));
        http1.received();
        assert!(about(http1.time_left(), HEAD), "a head is arriving");
        let http2 = Activity::new(false);
        http2.received();
        assert!(about(http2.time_left(), IDLE));
        let busy = http2.request();
        assert_eq!(http2.time_left(), IDLE);
        drop(busy);
    }
}
