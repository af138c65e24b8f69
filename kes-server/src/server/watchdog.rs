//! A server whose threads no longer run is worse than none: its clients wait forever, and nothing restarts it
//! (docs/kubernetes.md §1.5, K17). Each worker says every second that it runs; a thread of its own ends the process
//! when one is silent for too long, and tells the supervisor that all is well while none is.

use std::{
    io, process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::supervisor::Supervisor;
use crate::{config::Level, log::Log, process::keep_memory_private};

/// How often a worker says that it runs, and how often that is looked at.
const BEAT: Duration = Duration::from_secs(1);

/// How long a worker may be silent. Far beyond any request: those wait, they do not compute.
const PATIENCE: Duration = Duration::from_secs(10);

/// When a worker last ran, in milliseconds since the server began.
#[derive(Debug, Clone)]
pub(super) struct Beat {
    began: Instant,
    last: Arc<AtomicU64>,
}

impl Beat {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), last: Arc::default() }
    }

    /// Says every second that the runtime of the caller runs, forever.
    pub(super) async fn keep(self) {
        let mut ticks = tokio::time::interval(BEAT);
        loop {
            ticks.tick().await;
            self.now();
        }
    }

    fn now(&self) {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    fn silent_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Watchdog {
    _end: mpsc::Sender<()>,
}

impl Watchdog {
    /// Watches these workers.
    pub(super) fn start(beats: Vec<Beat>, supervisor: Supervisor, log: &Arc<Log>) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let log = Arc::clone(log);
        let stalled = move |silent: Duration| {
            let text = format!("watchdog: a worker has not run for {} s: the process ends", silent.as_secs());
            // perhaps nobody reads the log: a thread of its own tries to write to it for a moment
            let (log, (told, telling)) = (Arc::clone(&log), mpsc::channel::<()>());
            let teller = thread::Builder::new().spawn(move || {
                log.error(Level::ERROR, &text);
                drop(told);
            });
            // Without the thread nothing is written, and the wait is over at once.
            drop(teller);
            let _: Result<(), RecvTimeoutError> = telling.recv_timeout(BEAT);
            // a core dump of a key server would hold its keys
            keep_memory_private();
            process::abort();
        };
        thread::Builder::new()
            .name("kes-watchdog".into())
            .spawn(move || watch(&beats, &supervisor, &ended, stalled))?;
        Ok(Self { _end: end })
    }
}

fn watch(beats: &[Beat], supervisor: &Supervisor, ended: &mpsc::Receiver<()>, stalled: impl Fn(Duration)) {
    // a supervisor wants to hear twice within its time
    let interval = supervisor.watchdog().map_or(BEAT, |expected| (expected / 3).min(BEAT));
    let mut last = Instant::now();
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(interval) {
        // the complete process did not run: stopped, or the machine slept; the workers get their time again
        if last.elapsed() > interval + PATIENCE / 2 {
            beats.iter().for_each(Beat::now);
        }
        last = Instant::now();
        match beats.iter().map(Beat::silent_for).max() {
            Some(silent) if silent > PATIENCE => stalled(silent),
            _ => supervisor.alive(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;
    use crate::keystore::Environment;

    #[test]
    fn a_silent_worker_is_noticed_and_one_that_runs_is_not() {
        let (end, ended) = mpsc::channel();
        let beat = Beat { began: Instant::now().checked_sub(PATIENCE * 2).unwrap(), last: Arc::default() };
        let (noticed, notices) = mpsc::channel();
        let watched = beat.clone();
        let thread = thread::spawn(move || {
            let nobody = Supervisor::new(&Environment::empty());
            watch(std::slice::from_ref(&watched), &nobody, &ended, |silent| {
                noticed.send(silent).unwrap();
                watched.now();
            });
        });
        assert!(notices.recv_timeout(Duration::from_secs(30)).unwrap() > PATIENCE);
        beat.now();
        assert_eq!(notices.recv_timeout(BEAT * 2), Err(RecvTimeoutError::Timeout));
        drop(end);
        thread.join().unwrap();
    }
}
