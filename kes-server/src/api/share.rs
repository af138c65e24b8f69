//! Memory for large bodies and for listings of keys: bounded for all clients together, and for each identity, so that
//! one whose bodies never end leaves room for the others. Neither waits for the other: a listing takes as long as the
//! keystore.

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

/// Units for all clients together, and for each identity.
const BODIES: (usize, usize) = (12 << 10, 3 << 10);
const LISTINGS: (usize, usize) = (8 << 10, 2 << 10);

/// Bodies of one connection that may wait for memory. They close the window of their connection step by step; if they
/// closed it, those that have memory could not go on.
const WAITING: usize = 6;

static ALL_BODIES: Semaphore = Semaphore::const_new(BODIES.0);
static ALL_LISTINGS: Semaphore = Semaphore::const_new(LISTINGS.0);

/// The shares that are in use.
#[derive(Debug, Default)]
pub(super) struct Shares(Mutex<BTreeMap<Option<Identity>, Weak<Units>>>);

/// Memory of one identity.
#[derive(Debug)]
struct Units {
    bodies: Arc<Semaphore>,
    listings: Arc<Semaphore>,
}

/// What a connection may use of its identity's share.
#[derive(Debug)]
pub(super) struct Share {
    units: Arc<Units>,
    waiting: AtomicUsize,
}

/// Memory for one body or listing, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    each: OwnedSemaphorePermit,
    all: SemaphorePermit<'static>,
}

impl Shares {
    /// For a connection of this identity; of a stranger if there is none. All strangers have one share.
    pub(super) fn share(&self, identity: Option<&Identity>) -> Share {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = shares.get(&identity.cloned()).and_then(Weak::upgrade);
        let units = known.unwrap_or_else(|| {
            shares.retain(|_, share| share.strong_count() > 0);
            let semaphore = |units| Arc::new(Semaphore::new(units));
            let units = Arc::new(Units { bodies: semaphore(BODIES.1), listings: semaphore(LISTINGS.1) });
            shares.insert(identity.cloned(), Arc::downgrade(&units));
            units
        });
        Share { units, waiting: AtomicUsize::new(0) }
    }
}

impl Share {
    /// Memory for so many bytes of a body, as soon as there is some; `None` if too many bodies of the connection wait
    /// for it.
    pub(super) async fn body(&self, bytes: usize) -> Option<Permit> {
        let _waiting = Waiting::begin(&self.waiting)?;
        Permit::acquire(&self.units.bodies, &ALL_BODIES, units(bytes, BODIES.1)).await
    }

    /// Memory for a listing that will need so many bytes, as soon as there is some. One that may need any number has
    /// a quarter of its identity's share.
    pub(super) async fn listing(&self, bytes: Option<usize>) -> Option<Permit> {
        let units = bytes.map_or(LISTINGS.1 / 4, |bytes| units(bytes, LISTINGS.1));
        Permit::acquire(&self.units.listings, &ALL_LISTINGS, units).await
    }
}

fn units(bytes: usize, most: usize) -> usize {
    bytes.div_ceil(UNIT).min(most)
}

impl Permit {
    async fn acquire(each: &Arc<Semaphore>, all: &'static Semaphore, units: usize) -> Option<Self> {
        let units = u32::try_from(units).ok()?;
        // Neither is ever closed; the time that a request has ends the wait.
        let each = Arc::clone(each).acquire_many_owned(units).await.ok()?;
        Some(Self { each, all: all.acquire_many(units).await.ok()? })
    }

    /// Gives back all but the memory for so many bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let spare = self.each.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        drop((self.each.split(spare), self.all.split(spare)));
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
        let all_of_it = first.body(BODIES.1 * UNIT).await.unwrap();
        assert!(timeout(SHORT, second.body(1)).await.is_err(), "connections of one identity share");
        assert!(timeout(SHORT, shares.share(Some(&other)).body(1)).await.unwrap().is_some());
        assert!(timeout(SHORT, shares.share(None).body(1)).await.unwrap().is_some());
        drop(all_of_it);
        assert!(second.body(1).await.is_some());
        drop((first, second));
        shares.share(Some(&other));
        assert_eq!(shares.0.lock().unwrap().len(), 1, "shares that nobody uses are forgotten");
    }

    #[tokio::test]
    async fn few_bodies_of_a_connection_wait() {
        let share = Shares::default().share(None);
        let _all_of_it = share.body(BODIES.1 * UNIT).await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING).map(|_| Box::pin(share.body(1))).collect();
        for one in &mut waiting {
            assert!(timeout(Duration::from_millis(1), one).await.is_err());
        }
        assert!(share.body(1).await.is_none());
        waiting.pop();
        assert!(timeout(SHORT, share.body(1)).await.is_err(), "now this one waits");
    }

    #[tokio::test]
    async fn listings_wait_for_each_other_and_not_for_bodies() {
        let share = Shares::default().share(None);
        let _bodies = share.body(BODIES.1 * UNIT).await.unwrap();
        let mut large = share.listing(Some(usize::MAX)).await.unwrap();
        assert!(timeout(SHORT, share.listing(Some(1))).await.is_err());
        large.shrink(LISTINGS.1 * UNIT / 2);
        let _unknown = [share.listing(None).await.unwrap(), share.listing(None).await.unwrap()];
        assert!(timeout(SHORT, share.listing(None)).await.is_err());
        drop(large);
        assert!(share.listing(Some(LISTINGS.1 * UNIT / 2)).await.is_some());
    }
}
