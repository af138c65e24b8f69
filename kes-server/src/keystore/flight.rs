//! Many who want the same at the same time: one after the other, and nobody waits for those who want something else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Turn = Arc<tokio::sync::Mutex<()>>;

/// What is being read or created now, by name.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<String, Turn>>);

/// A place among those who want a name. It is given up by being dropped, also when a client leaves while it waits.
#[derive(Debug)]
pub(super) struct Flight<'a> {
    flights: &'a Flights,
    name: &'a str,
    turn: Turn,
}

impl Flights {
    /// A place among those who want this name.
    pub(super) fn board<'a>(&'a self, name: &'a str) -> Flight<'a> {
        let turn = self.turns().entry(name.to_owned()).or_default().clone();
        Flight { flights: self, name, turn }
    }

    /// True if nobody wants anything.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.turns().is_empty()
    }

    /// Nothing that holds the lock can panic halfway.
    fn turns(&self) -> MutexGuard<'_, HashMap<String, Turn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight<'_> {
    /// Waits until it is our turn; whoever had it before may have brought or made what we want.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut turns = self.flights.turns();
        // the map's and ours: nobody else waits
        if Arc::strong_count(&self.turn) <= 2 {
            turns.remove(self.name);
        }
    }
}
