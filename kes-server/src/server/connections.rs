//! How many connections there may be, and which one goes when there are too many: the one that has been idle for
//! longest. Whoever opens thousands and does nothing with them keeps nobody out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::activity::Activity;

/// Enough for every client, few enough to stay within the memory of a small host.
const MOST: u64 = 10_000;

/// Files that are not connections of clients: keys, logs, connections to the keystore; and connections that were told
/// to go and have not gone yet.
const OTHER_FILES: u64 = 256;

/// Most connections that were told to go and have not gone yet.
const LEAVING: usize = 128;

/// The connections there are.
#[derive(Debug, Clone)]
pub(super) struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    open: Mutex<Open>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    all: HashMap<u64, Arc<Activity>>,
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
        Self(Arc::new(Inner { limit, open: Mutex::default(), ended: Notify::new() }))
    }

    /// Counts one more. If there are too many, the one that has been idle for longest is told to go; if all of them
    /// are at work, waits until one ends.
    pub(super) async fn admit(&self) -> Admitted {
        loop {
            let ended = self.0.ended.notified();
            if let Some(admitted) = self.try_admit() {
                return admitted;
            }
            ended.await;
        }
    }

    fn try_admit(&self) -> Option<Admitted> {
        let mut open = self.open();
        if open.all.len() >= self.0.limit {
            if open.all.len() >= self.0.limit + LEAVING {
                return None;
            }
            let idle = open.all.values().filter_map(|activity| Some((activity.idle_for()?, activity)));
            idle.max_by_key(|(time, _)| *time)?.1.evict();
        }
        let (number, activity) = (open.next, Activity::new());
        open.next += 1;
        open.all.insert(number, Arc::clone(&activity));
        Some(Admitted { connections: self.clone(), number, activity })
    }

    /// Waits until there are none.
    pub(super) async fn idle(&self) {
        loop {
            let ended = self.0.ended.notified();
            if self.open().all.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Nothing that holds the lock can panic halfway.
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.open().all.remove(&self.number);
        self.connections.0.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_longest_idle_goes_first() {
        let connections = Connections::new(2);
        let (first, second) = (connections.admit().await, connections.admit().await);
        std::thread::sleep(Duration::from_millis(5));
        drop(first.activity.request());
        let third = connections.admit().await;
        second.activity.evicted().await;
        let wait = tokio::time::timeout(Duration::from_millis(50), first.activity.evicted()).await;
        assert!(wait.is_err(), "the first was busy more recently");
        drop((first, second, third));
        tokio::time::timeout(Duration::from_secs(5), connections.idle()).await.unwrap();
    }

    #[tokio::test]
    async fn those_at_work_are_waited_for() {
        let connections = Connections::new(1);
        let only = connections.admit().await;
        let busy = only.activity.request();
        let wait = tokio::time::timeout(Duration::from_millis(50), connections.admit()).await;
        assert!(wait.is_err());
        drop(busy);
        drop(only);
        tokio::time::timeout(Duration::from_secs(5), connections.admit()).await.unwrap();
    }

    #[test]
    fn few_files_mean_few_connections() {
        assert_eq!(Connections::within(1024).0.limit, 768);
        assert_eq!(Connections::within(1 << 20).0.limit, 10_000);
        assert_eq!(Connections::within(10).0.limit, 1);
    }
}
