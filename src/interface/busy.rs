//! How many calls run: the program waits for them before it ends.

use tokio::sync::watch;

/// The count of calls that run.
pub(super) struct Busy(watch::Sender<usize>);

/// One of them.
pub(super) struct Running(watch::Sender<usize>);

impl Default for Busy {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl Busy {
    /// Counts a call until the answer is dropped.
    pub(super) fn begin(&self) -> Running {
        self.0.send_modify(|count| *count = count.saturating_add(1));
        Running(self.0.clone())
    }

    /// Waits until none runs.
    pub(super) async fn done(&self) {
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
