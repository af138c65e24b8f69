//! What is on the drive, for pages: one walk of the drive at a time, however many people look.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::error::Error;
use crate::interface::Interface;
use crate::operate::inventory::{self, Report};
use crate::operate::session::Options;

/// How long a walk's result is shown.
const FRESH: Duration = Duration::from_secs(2);

/// The last walk.
#[derive(Default)]
pub(super) struct Walk {
    last: Mutex<Option<Taken>>,
    /// How often a page has changed something.
    changes: AtomicU64,
}

struct Taken {
    report: Arc<Report>,
    changes: u64,
    ended: Instant,
}

impl Walk {
    /// Has the next page look again.
    pub(super) fn forget(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    async fn take<W: Future<Output = Result<Report, Error>>>(
        &self,
        walk: impl FnOnce() -> W,
    ) -> Result<Arc<Report>, Error> {
        let mut last = self.last.lock().await;
        let changes = self.changes.load(Ordering::SeqCst);
        if let Some(taken) = last.as_ref().filter(|taken| taken.changes == changes && taken.ended.elapsed() < FRESH) {
            return Ok(Arc::clone(&taken.report));
        }
        let report = Arc::new(walk().await?);
        *last = Some(Taken { report: Arc::clone(&report), changes, ended: Instant::now() });
        Ok(report)
    }
}

impl Interface {
    /// What is on the drive, two seconds ago or now.
    ///
    /// # Errors
    /// What keeps the drive from being read.
    pub(super) async fn on_drive(&self, options: Options) -> Result<Arc<Report>, Error> {
        let this = self.clone();
        // a walk cannot be ended: whoever hangs up still has the others wait for it
        let task = tokio::spawn(async move { this.0.page.walk.take(|| inventory::take(&options)).await });
        task.await.unwrap_or_else(|error| Err(Error::file("read", "the drive")(std::io::Error::other(error))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::data::drive::Inventory;

    #[tokio::test]
    async fn many_readers_share_a_walk_until_a_page_changes_something() {
        let (walk, walks, at_once) = (Walk::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let look = || {
            walk.take(async || {
                assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                tokio::task::yield_now().await;
                at_once.fetch_sub(1, Ordering::SeqCst);
                walks.fetch_add(1, Ordering::SeqCst);
                Ok(Report { name: "a".into(), inventory: Inventory::default(), unused_keys: vec![] })
            })
        };
        let all = futures_util::future::join_all((0..20).map(|_| look())).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(walks.load(Ordering::SeqCst), 1);
        walk.forget();
        look().await.unwrap();
        assert_eq!(walks.load(Ordering::SeqCst), 2);
    }
}
