//! A server whose threads no longer run is worse than none: its clients wait forever, and nothing restarts it
//! (docs/kubernetes.md §1.5, K17). Each worker says every second that it runs; a thread of its own ends the process
//! when one is silent for too long, and tells the supervisor that all is well while none is. A worker that only waits
//! for a processor, on a machine with too much to do, is not silent: to end it would make things worse.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    process,
    sync::{
        Arc, OnceLock,
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

/// When a worker last ran.
#[derive(Debug, Clone)]
pub(super) struct Beat(Arc<Pulse>);

#[derive(Debug)]
struct Pulse {
    began: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
    /// Milliseconds for which the thread had waited for a processor by then.
    waited: AtomicU64,
    /// The kernel's account of the thread (proc(5), `schedstat`).
    account: OnceLock<File>,
}

impl Beat {
    pub(super) fn new() -> Self {
        Self::since(Instant::now())
    }

    fn since(began: Instant) -> Self {
        let [last, waited] = [AtomicU64::new(0), AtomicU64::new(0)];
        Self(Arc::new(Pulse { began, last, waited, account: OnceLock::new() }))
    }

    /// Says every second that the runtime of the caller runs, forever. The runtime has one thread.
    pub(super) async fn keep(self) {
        if let Ok(account) = File::open("/proc/thread-self/schedstat") {
            // a beat is kept by one thread
            let _: Result<(), File> = self.0.account.set(account);
        }
        let mut ticks = tokio::time::interval(BEAT);
        loop {
            ticks.tick().await;
            self.now();
        }
    }

    fn now(&self) {
        // in this order: between the two, a thread that waited for long must not look silent
        self.0.last.store(millis(self.0.began.elapsed()), Ordering::Relaxed);
        self.0.waited.store(self.0.waited(), Ordering::Release);
    }

    fn silent_for(&self) -> Duration {
        let waited = self.0.waited().saturating_sub(self.0.waited.load(Ordering::Acquire));
        let last = self.0.last.load(Ordering::Relaxed);
        self.0.began.elapsed().saturating_sub(Duration::from_millis(last.saturating_add(waited)))
    }
}

impl Pulse {
    /// Milliseconds for which the thread has waited for a processor so far; 0 if the kernel does not count them.
    fn waited(&self) -> u64 {
        let mut bytes = [0; 96];
        let length = self.account.get().and_then(|account| account.read_at(&mut bytes, 0).ok()).unwrap_or(0);
        let text = bytes.get(..length).and_then(|read| std::str::from_utf8(read).ok()).unwrap_or_default();
        text.split(' ').nth(1).and_then(|nanoseconds| nanoseconds.parse::<u64>().ok()).unwrap_or(0) / 1_000_000
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
    use std::io::Write as _;

    use super::*;
    use crate::keystore::Environment;

    #[test]
    fn a_silent_worker_is_noticed_and_one_that_runs_is_not() {
        let (end, ended) = mpsc::channel();
        let beat = Beat::since(Instant::now().checked_sub(PATIENCE * 2).unwrap());
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

    #[test]
    fn a_worker_that_waits_for_a_processor_is_not_silent() {
        let beat = Beat::since(Instant::now().checked_sub(PATIENCE * 2).unwrap());
        assert!(beat.silent_for() > PATIENCE);
        let mut account = tempfile::tempfile().unwrap();
        writeln!(account, "1000 {} 3", (PATIENCE * 3 / 2).as_nanos()).unwrap();
        beat.0.account.set(account).unwrap();
        assert!(beat.silent_for() < PATIENCE, "{:?}", beat.silent_for());
    }
}
