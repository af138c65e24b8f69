//! The signals that `kes supervise` gets.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that mean something to it.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    child: Signal,
}

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// End, with the server.
    Stop,
    /// The server is to read its configuration again.
    Reload,
    /// Some child has ended, not necessarily the server.
    ChildEnded,
}

impl Signals {
    /// Takes the handlers.
    ///
    /// # Errors
    /// If the system does not give them.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            child: signal(SignalKind::child())?,
        })
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Reload,
            _ = self.child.recv() => Told::ChildEnded,
        }
    }

    /// Waits for a signal to end.
    pub(super) async fn stop(&mut self) {
        while self.next().await != Told::Stop {}
    }
}
