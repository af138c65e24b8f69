//! Log streams: whoever subscribes gets the lines that come after.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use prometheus::IntCounter;
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc, watch,
};

/// Lines that a subscriber may be behind; one that is slower misses some.
const BACKLOG: usize = 1024;

/// The lines of one log for those who follow it.
#[derive(Debug)]
pub(crate) struct Stream {
    lines: broadcast::Sender<Bytes>,
    followers: AtomicUsize,
    written: IntCounter,
}

/// A subscription: lines to hand out until the server drains.
pub(crate) type Follow = mpsc::Receiver<Bytes>;

impl Stream {
    /// `written` counts the lines that were handed out.
    pub(super) fn new(written: IntCounter) -> Self {
        Self { lines: broadcast::Sender::new(BACKLOG), followers: AtomicUsize::new(0), written }
    }

    /// Hands a line out; it is made only if somebody follows.
    pub(super) fn publish(&self, line: impl FnOnce() -> Bytes) {
        if self.followers.load(Ordering::Relaxed) > 0 {
            // Nobody left in the meantime: the line is for nobody.
            let _: Result<usize, _> = self.lines.send(line());
        }
    }

    /// Follows the log until the receiver is dropped, the server drains, or a line comes that the follower `may` no
    /// longer see.
    pub(crate) fn follow(
        self: &Arc<Self>,
        draining: watch::Receiver<bool>,
        may: impl Fn() -> bool + Send + 'static,
    ) -> Follow {
        let (sender, follow) = mpsc::channel(1);
        self.followers.fetch_add(1, Ordering::Relaxed);
        let lines = self.lines.subscribe();
        let stream = Arc::clone(self);
        tokio::spawn(async move {
            stream.forward(lines, sender, draining, may).await;
            stream.followers.fetch_sub(1, Ordering::Relaxed);
        });
        follow
    }

    async fn forward(
        &self,
        mut lines: broadcast::Receiver<Bytes>,
        follower: mpsc::Sender<Bytes>,
        mut draining: watch::Receiver<bool>,
        may: impl Fn() -> bool,
    ) {
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                () = follower.closed() => return,
                _ = draining.wait_for(|draining| *draining) => return,
            };
            match line {
                Ok(_) if !may() => return,
                Ok(line) => {
                    if follower.send(line).await.is_err() {
                        return;
                    }
                    self.written.inc();
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn followers_get_what_comes_after_until_the_server_drains() {
        let counter = IntCounter::new("lines", "lines").unwrap();
        let stream = Arc::new(Stream::new(counter.clone()));
        stream.publish(|| panic!("nobody follows"));
        let (drain, draining) = watch::channel(false);
        let mut follow = stream.follow(draining, || true);
        stream.publish(|| Bytes::from_static(b"one\n"));
        assert_eq!(follow.recv().await.as_deref(), Some(b"one\n".as_slice()));
        drain.send(true).unwrap();
        assert_eq!(follow.recv().await, None);
        assert_eq!(counter.get(), 1);
    }

    #[tokio::test]
    async fn who_may_no_longer_follow_gets_nothing_more() {
        let stream = Arc::new(Stream::new(IntCounter::new("lines", "lines").unwrap()));
        let (_drain, draining) = watch::channel(false);
        let allowed = Arc::new(AtomicUsize::new(1));
        let now = Arc::clone(&allowed);
        let mut follow = stream.follow(draining, move || now.load(Ordering::Relaxed) > 0);
        stream.publish(|| Bytes::from_static(b"one\n"));
        assert!(follow.recv().await.is_some());
        allowed.store(0, Ordering::Relaxed);
        stream.publish(|| Bytes::from_static(b"two\n"));
        assert_eq!(follow.recv().await, None);
    }
}
