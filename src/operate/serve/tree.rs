//! The two servers while they run: KES is started again whenever it ends, MinIO's end is the end.

use std::io::{IsTerminal as _, stdin};
use std::process::ExitStatus;
use std::time::Duration;

use kes_server::child::Restarts;
use rustix::process::Signal;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::child;
use super::plan::Plan;
use super::voice::Voice;
use crate::data::guard::Guarded;
use crate::error::Error;

/// Shortest and longest wait before KES is started again.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How often KES may end before the port is open.
const TRIES: u32 = 5;
/// Time of KES to end: it keeps nothing that it must write.
const KES: Duration = Duration::from_millis(300);

/// The servers of one stack.
#[derive(Debug, Default)]
pub(super) struct Tree {
    kes: Kes,
    minio: Option<Child>,
    voice: Option<Voice>,
    /// True once clients may come.
    pub(super) is_open: bool,
}

#[derive(Debug)]
struct Kes {
    child: Option<Child>,
    begun: Instant,
    /// When it is started again.
    due: Option<Instant>,
    restarts: Restarts,
    ended: u32,
}

impl Default for Kes {
    fn default() -> Self {
        let restarts = Restarts::new(WAITS.0, WAITS.1);
        Self { child: None, begun: Instant::now(), due: None, restarts, ended: 0 }
    }
}

impl Tree {
    /// Starts both servers and sets them up; returns when the port may open.
    pub(super) async fn bring_up(&mut self, plan: &Plan) -> Result<(), Error> {
        let done = tokio::time::timeout_at(plan.deadline + WAITS.0, self.start(plan)).await;
        let done = done.unwrap_or_else(|_| Err(late(plan, "the stack", "it is still being set up")));
        if done.is_err()
            && let Some(voice) = &mut self.voice
        {
            // it may say why
            voice.release().await;
        }
        match done {
            Err(Error::NotReady { what, last, .. }) => Err(late(plan, &what, &last)),
            done => done,
        }
    }

    async fn start(&mut self, plan: &Plan) -> Result<(), Error> {
        let mut is_early = plan.kes_is_quick();
        if is_early {
            self.start_minio(plan)?;
        }
        tokio::select! {
            ready = plan.kes_answers() => ready?,
            failed = self.kes.keep(plan, true) => return Err(failed),
        }
        if !is_early {
            Guarded::check_all(&plan.stack.all_guarded(), plan.context.kes.as_ref()).await?;
            self.start_minio(plan)?;
        }
        let mut set_up = std::pin::pin!(plan.set_up());
        loop {
            let ended = tokio::select! {
                done = &mut set_up => return done,
                failed = self.kes.keep(plan, true) => return Err(failed),
                ended = wait(&mut self.minio) => ended,
            };
            // it gives up if it asks KES too early
            if !std::mem::take(&mut is_early) {
                return Err(ended_with(ended));
            }
            self.start_minio(plan)?;
        }
    }

    fn start_minio(&mut self, plan: &Plan) -> Result<(), Error> {
        let (minio, voice) = plan.start_minio()?;
        (self.minio, self.voice) = (Some(minio), Some(voice));
        Ok(())
    }

    /// Lets MinIO's words out.
    pub(super) async fn speak(&mut self) {
        if let Some(voice) = &mut self.voice {
            voice.release().await;
        }
    }

    /// Looks after both servers until MinIO ends.
    pub(super) async fn watch(&mut self, plan: &Plan) -> Result<(), Error> {
        let mut children = signal(SignalKind::child()).map_err(Error::Signals)?;
        let mut hang_ups = signal(SignalKind::hangup()).map_err(Error::Signals)?;
        let had_terminal = stdin().is_terminal();
        let is_first = std::process::id() == 1;
        let mut copies = std::pin::pin!(plan.copies.keep());
        loop {
            tokio::select! {
                () = &mut copies => {}
                ended = wait(&mut self.minio) => {
                    return if ended.success() { Ok(()) } else { Err(ended_with(ended)) };
                }
                failed = self.kes.keep(plan, false) => return Err(failed),
                _ = hang_ups.recv() => {
                    if had_terminal && !stdin().is_terminal() {
                        return Ok(());
                    }
                    if plan.has_tls {
                        self.hang_up();
                    }
                }
                _ = children.recv() => if is_first {
                    let known = [&self.kes.child, &self.minio].map(|child| child.as_ref().and_then(Child::id));
                    kes_server::child::reap(&known.into_iter().flatten().collect::<Vec<_>>());
                },
            }
        }
    }

    /// Passes SIGHUP on to MinIO, which then reads its certificates again. One without certificates would end.
    fn hang_up(&self) {
        if let Some(minio) = &self.minio {
            let passed = kes_server::child::tell(minio, Signal::HUP);
            tracing::debug!(?passed, "SIGHUP is for MinIO");
        }
    }

    /// Ends MinIO, then KES.
    pub(super) async fn end(&mut self, grace: Duration) {
        for (server, grace) in [(&mut self.minio, grace), (&mut self.kes.child, KES)] {
            if let Some(server) = server {
                let stopped = kes_server::child::stop(server, grace).await;
                tracing::debug!(?stopped, "a server got the signal to end");
            }
        }
    }
}

impl Kes {
    /// Keeps it running. Returns only if that fails; before the port is open that includes an end which repeats itself.
    async fn keep(&mut self, plan: &Plan, gives_up: bool) -> Error {
        loop {
            if let Some(due) = self.due {
                tokio::time::sleep_until(due).await;
                self.due = None;
            }
            if self.child.is_none() {
                // the data is of no use without them, and whoever serves it must know
                if !gives_up && let Err(error) = plan.require_keys().await {
                    return error;
                }
                match plan.start_kes(self.ended > 0 && !gives_up) {
                    Ok(child) => (self.child, self.begun) = (Some(child), Instant::now()),
                    Err(error) => return error,
                }
            }
            let ended = wait(&mut self.child).await;
            self.child = None;
            if gives_up && self.ended + 1 >= TRIES {
                return Error::Served {
                    what: format!("KES ended {TRIES} times ({ended})"),
                    hint: "its last lines are above, after `kes:`".into(),
                    code: 4,
                };
            }
            self.again(ended);
        }
    }

    fn again(&mut self, ended: ExitStatus) {
        let wait = self.restarts.after(self.begun.elapsed()).unwrap_or(WAITS.1);
        self.ended += 1;
        self.due = Some(Instant::now() + wait);
        tracing::warn!("KES ended ({ended}) and is started again");
    }
}

/// Waits for the end of a server; of none forever.
async fn wait(child: &mut Option<Child>) -> ExitStatus {
    if let Some(child) = child
        && let Ok(status) = child.wait().await
    {
        return status;
    }
    std::future::pending().await
}

fn ended_with(status: ExitStatus) -> Error {
    Error::Served {
        what: format!("MinIO ended ({status})"),
        hint: "its last lines are above".into(),
        code: child::code(status).max(1),
    }
}

fn late(plan: &Plan, what: &str, last: &str) -> Error {
    Error::Served {
        what: format!("{what} was not ready after {:.0} s: {last}", plan.settings.timeout.as_secs_f64()),
        hint: "KESTACK_SETUP_TIMEOUT allows more time, such as `2m`; the output of the servers is above".into(),
        code: 4,
    }
}
