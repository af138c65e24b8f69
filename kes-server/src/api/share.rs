//! Memory for large bodies: bounded for all clients together, and for each identity, so that one whose bodies never end
//! leaves room for the others.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::auth::Identity;

/// Bytes of a unit.
const UNIT: usize = 1 << 10;

/// Units for all clients together.
const ALL: usize = 12 << 10;

/// Units for each identity.
const EACH: usize = 3 << 10;

/// Bodies of one connection that may wait for memory. They close the window of their connection step by step; if they
/// closed it, those that have memory could not go on.
const WAITING: usize = 6;

static UNITS: Semaphore = Semaphore::const_new(ALL);

/// The shares that are in use.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<BTreeMap<Option<Identity>, Weak<Semaphore>>>);

/// What a connection may use of its identity's share.
#[derive(Debug)]
pub(super) struct Share {
    units: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Memory for one body, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _each: OwnedSemaphorePermit,
    _all: SemaphorePermit<'static>,
}

impl Shares {
    /// For a connection of this identity; of a stranger if there is none. All strangers have one share.
    pub(super) fn share(&self, identity: Option<&Identity>) -> Share {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shares.get(&identity.cloned()).and_then(Weak::upgrade);
        let units = known.unwrap_or_else(|| {
            shares.retain(|_, share| share.strong_count() > 0);
            let units = Arc::new(Semaphore::new(EACH));
            shares.insert(identity.cloned(), Arc::downgrade(&units));
            units
        });
        Share { units, waiting: AtomicUsize::new(0) }
    }
}

impl Share {
    /// Memory for so many bytes, as soon as there is some; `None` if too many bodies of the connection wait for it.
    pub(super) async fn take(&self, bytes: usize) -> Option<Permit> {
        let _waiting = Waiting::begin(&self.waiting)?;
        let units = u32::try_from(bytes.div_ceil(UNIT).min(EACH)).ok()?;
        // Neither is ever closed; the time that a request has ends the wait.
        let each = Arc::clone(&self.units).acquire_many_owned(units).await.ok()?;
        Some(Permit { _each: each, _all: UNITS.acquire_many(units).await.ok()? })
    }
}

/// A body that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Option<Self> {
        let is_one_too_many = waiting.fetch_add(1, Ordering::Relaxed) >= WAITING;
        let this = Self(waiting);
        (!is_one_too_many).then_some(this)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn one_identity_leaves_room_for_the_others() {
        let shares = Shares::default();
        let (one, other) = (Identity::new("one"), Identity::new("other"));
        let (first, second) = (shares.share(Some(&one)), shares.share(Some(&one)));
        let all_of_it = first.take(EACH * UNIT).await.unwrap();
        assert!(timeout(SHORT, second.take(1)).await.is_err(), "connections of one identity share");
        assert!(timeout(SHORT, shares.share(Some(&other)).take(1)).await.unwrap().is_some());
        assert!(timeout(SHORT, shares.share(None).take(1)).await.unwrap().is_some());
        drop(all_of_it);
        assert!(second.take(1).await.is_some());
        drop((first, second));
        shares.share(Some(&other));
        assert_eq!(shares.0.lock().unwrap().len(), 1, "shares that nobody uses are forgotten");
    }

    #[tokio::test]
    async fn few_bodies_of_a_connection_wait() {
        let share = Shares::default().share(None);
        let _all_of_it = share.take(EACH * UNIT).await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(share.take(1))).collect();
        for one in &mut waiting {
            assert!(timeout(Duration::from_millis(1), one).await.is_err());
        }
        assert!(share.take(1).await.is_none());
        waiting.pop();
        assert!(timeout(SHORT, share.take(1)).await.is_err(), "now this one waits");
    }
}
