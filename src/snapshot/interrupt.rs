//! A signal that is remembered instead of ending the program: what was stopped is started again first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use crate::error::Error;

/// Whether somebody asked to end; by `Ctrl-C` or SIGTERM.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Watches for signals from now on. They do not end the program any more.
    ///
    /// # Errors
    /// If the system does not let us wait for signals.
    pub fn watch() -> Result<Self, Error> {
        let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
        let seen = Self::default();
        let flag = seen.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            flag.0.store(true, Ordering::Relaxed);
        });
        Ok(seen)
    }

    /// As if a signal had come.
    #[cfg(test)]
    pub(super) fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Fails once a signal came.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}
