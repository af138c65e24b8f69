//! Calls that change something: each holds the lock that the command line's verb holds, learns that its caller hung up, and
//! ends then only after it gave back what it changed for a while.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Interface;
use super::reach::Reach;
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::host::lock::Hold;
use crate::operate::session::{Intent, Opened};

/// How long a call waits for the stack's lock, unless its caller says so.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest that a caller may say.
const LONGEST: u64 = 20 * 60;

/// How long the caller waits while somebody else works on the stack: `Prefer: wait=SECONDS` (RFC 7240).
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience(pub(super) Duration);

impl<S: Sync> FromRequestParts<S> for Patience {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let preferences = parts.headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
        let mut preferences = preferences.flat_map(|value| value.split(',')).map(str::trim);
        let wait = preferences.find_map(|one| one.strip_prefix("wait=")?.parse::<u64>().ok());
        Ok(Self(wait.map_or(PATIENCE, |seconds| Duration::from_secs(seconds.min(LONGEST)))))
    }
}

impl Interface {
    /// Does the work until it is done. It learns by its interrupt that the caller hung up or the program ends, and is waited
    /// for then, so that it can give back what it changed.
    ///
    /// # Errors
    /// Those of the work.
    pub(super) async fn run<T, W>(&self, work: impl FnOnce(Interrupt) -> W) -> Result<T, Error>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (caller, interrupt) = Interrupt::of_caller();
        let (work, busy) = (work(interrupt), self.0.busy.begin());
        let task = tokio::spawn(async move {
            let _busy = busy;
            work.await
        });
        let ended = async {
            self.0.interrupt.asked().await;
            drop(caller);
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            done = task => done.unwrap_or_else(|error| {
                Err(Error::file("finish", "the request")(std::io::Error::other(error)))
            }),
            never = ended => match never {},
        }
    }

    /// Does the work on a running stack, under its lock. A caller who hangs up ends the wait for the lock; work that has
    /// begun is bounded and goes to its end, because half of it may be a MinIO that is stopped or a bucket that does not encrypt.
    ///
    /// # Errors
    /// [`Error::Busy`] if somebody else holds the lock for longer than the caller waits; else those of the work.
    pub(super) async fn change<T, W>(
        &self,
        hold: Hold,
        patience: Patience,
        work: impl FnOnce(Reach) -> W + Send + 'static,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let this = self.clone();
        self.run(move |interrupt| async move {
            let (_opened, reach) = this.held(hold, patience, &interrupt).await?;
            work(reach).await
        })
        .await
    }

    /// The running stack, under its lock. A caller who hangs up ends the wait for both.
    ///
    /// # Errors
    /// Those of [`Self::open`]; [`Error::NotRunning`].
    pub(super) async fn held(
        &self,
        hold: Hold,
        patience: Patience,
        interrupt: &Interrupt,
    ) -> Result<(Opened, Reach), Error> {
        let opened = interrupt.ends(self.open(hold, patience)).await?;
        let reach = interrupt.ends(self.0.known.running()).await?;
        Ok((opened, reach))
    }

    /// Takes the stack's lock.
    ///
    /// # Errors
    /// [`Error::Busy`] if somebody else holds it for longer.
    pub(super) async fn open(&self, hold: Hold, Patience(patience): Patience) -> Result<Opened, Error> {
        let options = self.0.known.options().await?;
        Opened::within(options, Intent::Write(hold), Some(patience)).await
    }
}
