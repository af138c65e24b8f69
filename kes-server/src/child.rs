//! Children of a process that supervises servers: `kes supervise`, and kestack's own.

use std::{fs, io, os::unix::process::ExitStatusExt as _, process::ExitStatus, time::Duration};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::{
    process::Child,
    signal::unix::{self, SignalKind, signal},
    time::timeout,
};

/// Environment variable of a server that ran before and that its supervisor starts again. KES then makes no keys: those
/// that its configuration lists were made by its first start. One that is gone was lost, and a new key of its name could
/// not open what the lost one sealed.
pub const STARTED_AGAIN: &str = "KES_STARTED_AGAIN";

/// A server that ran this long had started well: its end begins a new row of restarts.
const SETTLED: Duration = Duration::from_secs(10);

/// Decides when a server that ended is started again: each time it waits twice as long.
#[derive(Debug, Clone)]
pub struct Restarts {
    first: Duration,
    longest: Duration,
    limit: u32,
    made: u32,
}

/// Signals that a supervisor acts on.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
    child: unix::Signal,
}

/// What a signal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// End, with the server.
    Stop,
    /// The server is to read its configuration again.
    Reload,
    /// Some child has ended, not necessarily the server.
    ChildEnded,
}

/// How a server ended after a request to end.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// Its status.
    pub status: ExitStatus,
    /// True if it did not end in time.
    pub was_killed: bool,
}

impl Restarts {
    /// Waits between `first` and `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, limit: u32::MAX, made: 0 }
    }

    /// Gives up after so many restarts in a row.
    #[must_use]
    pub fn at_most(self, limit: u32) -> Self {
        Self { limit, ..self }
    }

    /// How long to wait before the server, which ran that long, is started again; `None` to give up.
    pub fn after(&mut self, ran: Duration) -> Option<Duration> {
        if ran >= SETTLED {
            self.made = 0;
        }
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(self.made));
        let wait = (self.made < self.limit).then(|| doubled.min(self.longest));
        self.made = self.made.saturating_add(1);
        wait
    }
}

impl Signals {
    /// Takes the handlers.
    ///
    /// # Errors
    /// If the system does not give them.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            child: signal(SignalKind::child())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Reload,
            _ = self.child.recv() => Told::ChildEnded,
        }
    }

    /// Waits for a signal to end.
    pub async fn stop(&mut self) {
        while self.next().await != Told::Stop {}
    }
}

/// Tells a child to end, and kills it if it does not within `grace`.
///
/// # Errors
/// If its end cannot be waited for.
pub async fn stop(child: &mut Child, grace: Duration) -> io::Result<Stopped> {
    // One that has ended needs no signal; one that is frozen hears the first after the second.
    let _: rustix::io::Result<()> = tell(child, Signal::TERM);
    let _: rustix::io::Result<()> = tell(child, Signal::CONT);
    if let Ok(status) = timeout(grace, child.wait()).await {
        return Ok(Stopped { status: status?, was_killed: false });
    }
    child.start_kill()?;
    Ok(Stopped { status: child.wait().await?, was_killed: true })
}

/// Sends a signal to a child; one whose end was waited for gets none. Our child cannot be mistaken: its number is kept until
/// then.
///
/// # Errors
/// That of kill(2).
pub fn tell(child: &Child, signal: Signal) -> rustix::io::Result<()> {
    child.id().and_then(|id| Pid::from_raw(id.cast_signed())).map_or(Ok(()), |pid| kill_process(pid, signal))
}

/// The exit code as a shell gives it: 128 and the number of the signal if one ended the child.
pub fn code(status: ExitStatus) -> Option<i32> {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal))
}

/// Forgets all children that have ended, but those that are `known`, whose end is waited for elsewhere: the first process
/// of a container gets all whose parents have ended, and whoever does not ask how they ended keeps them forever. `waitpid`
/// for any child would take the known ones away.
pub fn reap(known: &[u32]) {
    for child in children().into_iter().filter(|child| !known.contains(child)) {
        // One that still runs is left alone; one that is no longer there needs nothing.
        let _: rustix::io::Result<_> = waitpid(Pid::from_raw(child.cast_signed()), WaitOptions::NOHANG);
    }
}

/// All children of this process; none where the system does not tell.
fn children() -> Vec<u32> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_wait_longer_each_time_and_give_up() {
        let [first, longest] = [50, 300].map(Duration::from_millis);
        let mut restarts = Restarts::new(first, longest).at_most(5);
        let waits: Vec<_> = (0..7).map_while(|_| restarts.after(Duration::ZERO)).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 300, 300]);
        assert_eq!(restarts.after(SETTLED), Some(first), "a good run is forgiven all before it");
        let mut patient = Restarts::new(first, longest);
        assert!((0..100).all(|_| patient.after(Duration::ZERO).is_some_and(|wait| wait <= longest)));
    }
}
