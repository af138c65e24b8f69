//! Work that must end before the program leaves: programs of our own that must not stop in the middle. Dropping one
//! starts its end here; `main` waits for all of them.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

static ENDING: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Begins an end, which must be bounded in time. Without a runtime nobody is left who could wait: the end is dropped,
/// and with it what it holds.
pub(crate) fn begin(end: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        ENDING.lock().unwrap_or_else(PoisonError::into_inner).push(runtime.spawn(end));
    }
}

/// Waits until everything has ended whose end was begun.
pub async fn ended() {
    let ending = std::mem::take(&mut *ENDING.lock().unwrap_or_else(PoisonError::into_inner));
    for end in ending {
        if let Err(error) = end.await {
            tracing::debug!(%error, "an end was cut off");
        }
    }
}
