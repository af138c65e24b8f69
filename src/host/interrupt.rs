//! The one place where signals end a verb: `main` watches for them and hands an [`Interrupt`] down. What a verb changed
//! for a while is given back before the program ends.

use std::fmt;
use std::io::{self, Read};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::error::HostError;

/// The signal that asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP: the terminal went away.
    HangUp,
    /// SIGINT: `Ctrl-C`.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Cause {
    /// The exit code that a shell gives to a program which this signal ended: 128 and the number of the signal.
    pub fn exit_code(self) -> u8 {
        128 + self.number()
    }

    fn number(self) -> u8 {
        match self {
            Self::HangUp => 1,
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }

    fn kind(self) -> SignalKind {
        SignalKind::from_raw(i32::from(self.number()))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HangUp => "SIGHUP",
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Whether a signal asked to end. The default is never asked, as in a library whose program has its own handlers.
#[derive(Debug, Clone)]
pub struct Interrupt {
    asked: watch::Receiver<Option<Cause>>,
    /// Whether SIGHUP asks to end, too.
    ends_on_hang_up: bool,
}

impl Interrupt {
    /// Watches for SIGINT, SIGTERM and SIGHUP from now on: they do not end the program any more. A signal that was
    /// ignored when the program started stays ignored, as under `nohup`.
    ///
    /// # Errors
    /// [`HostError::Signals`] if the system does not let us wait for signals.
    pub fn watch() -> Result<Self, HostError> {
        let ignored = ignored();
        let listen = |cause: Cause| {
            let is_ignored = ignored & 1 << (cause.number() - 1) != 0;
            (!is_ignored).then(|| signal(cause.kind())).transpose().map_err(HostError::Signals)
        };
        let (mut hang_up, mut interrupt, mut terminate) =
            (listen(Cause::HangUp)?, listen(Cause::Interrupt)?, listen(Cause::Terminate)?);
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let cause = tokio::select! {
                    () = received(&mut hang_up) => Cause::HangUp,
                    () = received(&mut interrupt) => Cause::Interrupt,
                    () = received(&mut terminate) => Cause::Terminate,
                    () = sender.closed() => return,
                };
                // whoever asks later must still get the first one that counts for him
                sender.send_if_modified(|known| {
                    let is_news = matches!(known, None | Some(Cause::HangUp));
                    *known = if is_news { Some(cause) } else { *known };
                    is_news
                });
            }
        });
        Ok(Self::of(receiver))
    }

    fn of(asked: watch::Receiver<Option<Cause>>) -> Self {
        Self { asked, ends_on_hang_up: true }
    }

    /// The same for work to which SIGHUP says something else.
    pub(crate) fn but_hang_up(&self) -> Self {
        Self { ends_on_hang_up: false, ..self.clone() }
    }

    fn counts(&self, cause: Option<Cause>) -> Option<Cause> {
        cause.filter(|cause| self.ends_on_hang_up || *cause != Cause::HangUp)
    }

    /// Fails once a signal came.
    ///
    /// # Errors
    /// [`HostError::Interrupted`].
    pub fn check(&self) -> Result<(), HostError> {
        match self.counts(*self.asked.borrow()) {
            Some(cause) => Err(HostError::Interrupted(cause)),
            None => Ok(()),
        }
    }

    /// Does the work until it is done or a signal comes, which drops it. The caller gives back what the work changed.
    ///
    /// # Errors
    /// Those of the work; [`HostError::Interrupted`] after a signal.
    pub async fn ends<T, E: From<HostError>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        tokio::select! {
            biased;
            cause = self.asked() => Err(HostError::Interrupted(cause).into()),
            result = work => result,
        }
    }

    /// Waits for a signal.
    pub async fn asked(&self) -> Cause {
        let mut receiver = self.asked.clone();
        let asked = receiver.wait_for(|cause| self.counts(*cause).is_some()).await.ok().and_then(|cause| *cause);
        match asked {
            Some(cause) => cause,
            // the sender is gone: nobody asks any more
            None => std::future::pending().await,
        }
    }

    /// Reading through it fails once a signal came: for work on a thread, which nobody can drop.
    pub(crate) fn reads<R: Read>(&self, inner: R) -> Stoppable<'_, R> {
        Stoppable { inner, interrupt: self }
    }

    /// One that asks to end when its [`Caller`] is dropped.
    pub(crate) fn of_caller() -> (Caller, Self) {
        let (sender, receiver) = watch::channel(None);
        (Caller(sender), Self::of(receiver))
    }

    /// As if a signal had come.
    #[cfg(test)]
    pub(crate) fn asking(cause: Cause) -> Self {
        Self::of(watch::channel(Some(cause)).1)
    }
}

/// Reads until a signal comes.
#[derive(Debug)]
pub(crate) struct Stoppable<'a, R> {
    inner: R,
    interrupt: &'a Interrupt,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.interrupt.check().map_err(io::Error::other)?;
        self.inner.read(bytes)
    }
}

/// Whoever waits for a piece of work. Dropped, it asks the work to end: a caller who hung up.
#[derive(Debug)]
pub(crate) struct Caller(watch::Sender<Option<Cause>>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.send_replace(Some(Cause::HangUp));
    }
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::of(watch::channel(None).1)
    }
}

async fn received(signal: &mut Option<Signal>) {
    if let Some(signal) = signal
        && signal.recv().await.is_some()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// The signals that the program was started to ignore, as a mask: `SigIgn` in proc(5). None if the system does not say.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_ends_with_the_signal_and_its_exit_code() {
        for (cause, code) in [(Cause::HangUp, 129), (Cause::Interrupt, 130), (Cause::Terminate, 143)] {
            let interrupt = Interrupt::asking(cause);
            let error = interrupt.ends(std::future::pending::<Result<(), HostError>>()).await.unwrap_err();
            let is_the_cause = |error: &HostError| matches!(error, HostError::Interrupted(found) if *found == cause);
            assert!(is_the_cause(&error) && is_the_cause(&interrupt.check().unwrap_err()), "{error}");
            assert_eq!(cause.exit_code(), code);
        }
    }

    #[tokio::test]
    async fn a_hang_up_counts_only_where_it_ends_the_work() {
        let interrupt = Interrupt::asking(Cause::HangUp);
        interrupt.but_hang_up().check().unwrap();
        let deaf = interrupt.but_hang_up();
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), deaf.asked()).await.is_err());
        assert!(Interrupt::asking(Cause::Terminate).but_hang_up().check().is_err());
    }

    #[tokio::test]
    async fn the_default_is_never_asked() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.ends(async { Ok::<_, HostError>(7) }).await.unwrap(), 7);
        interrupt.check().unwrap();
        let wait = tokio::time::timeout(std::time::Duration::from_millis(20), interrupt.asked()).await;
        assert!(wait.is_err());
    }
}
