//! Places for connections. Whoever has not shown the secret yet has few of them, and the oldest of these goes when a further
//! one comes: no crowd of strangers keeps others out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Most connections at a time; further ones wait.
pub(super) const ALL: usize = 512;
/// Those of them whose callers have shown no secret.
const STRANGERS: usize = 128;

/// The connections of strangers, the oldest first; each has its own way to learn that it has to go.
#[derive(Default)]
pub(super) struct Places(Mutex<VecDeque<Arc<Notify>>>);

/// The place of one connection.
#[derive(Clone)]
pub(super) struct Place {
    places: Arc<Places>,
    goes: Arc<Notify>,
}

impl Places {
    /// The place of a new connection, which is a stranger's.
    pub(super) fn take(self: &Arc<Self>) -> Place {
        let goes = Arc::new(Notify::new());
        let mut strangers = self.strangers();
        if strangers.len() >= STRANGERS
            && let Some(oldest) = strangers.pop_front()
        {
            oldest.notify_one();
        }
        strangers.push_back(Arc::clone(&goes));
        Place { places: Arc::clone(self), goes }
    }

    fn strangers(&self) -> MutexGuard<'_, VecDeque<Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Takes it off the list: its caller has shown the secret, or it has ended.
    pub(super) fn no_stranger(&self) {
        self.places.strangers().retain(|stranger| !Arc::ptr_eq(stranger, &self.goes));
    }

    /// Waits until it has to go.
    pub(super) async fn lost(&self) {
        self.goes.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn the_oldest_stranger_goes_and_whoever_is_known_stays() {
        let places = Arc::new(Places::default());
        let first: Vec<_> = (0..STRANGERS).map(|_| places.take()).collect();
        let lost = |place: &Place| place.lost().now_or_never().is_some();
        assert!(!first.iter().any(lost));
        first[0].no_stranger();
        let second: Vec<_> = (0..3).map(|_| places.take()).collect();
        assert_eq!([0, 1, 2, 3].map(|place| lost(&first[place])), [false, true, true, false]);
        first.iter().chain(&second).for_each(Place::no_stranger);
        assert!(places.strangers().is_empty());
    }
}
