//! `kes supervise`: a small parent that starts a server again when it ends or no longer runs, for places where nothing
//! else does: a process that is stopped cannot watch itself (docs/kubernetes.md §1.5, K17, §5.1).
//!
//! It speaks the protocol of systemd with its child: `READY=1` once it serves, `WATCHDOG=1` while its threads run. Its
//! own supervisor, if there is one, hears the same of it. As the first process of a container it also takes care of
//! children that are not its own.

use std::{
    ffi::OsString,
    io,
    os::{linux::net::SocketAddrExt as _, unix::net},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    net::UnixDatagram,
    process::{Child, Command},
    time::{Instant, sleep, sleep_until},
};

use super::{CliError, output, session::Session, time};
use crate::{
    child::{self, Restarts, Signals, Told},
    server::Supervisor,
};

/// Shortest and longest pause before a server that ended is started again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How long a server may take to end after a signal; it takes a second for its requests.
const STOP: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct SuperviseArguments {
    /// How long the server may be unresponsive before it is killed and started again
    #[arg(long, value_name = "duration", default_value = "3s", value_parser = time::positive)]
    watchdog: Duration,
    /// The command, for example: server --config server-config.yaml
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "command")]
    command: Vec<OsString>,
}

/// How one life of the server ended.
enum End {
    /// By itself.
    Exit(ExitStatus),
    /// Killed: it gave no sign of life.
    Stalled,
    /// We got a signal to end, and it has ended.
    Stopped(ExitStatus),
}

/// Ends with the server's exit code after a signal to stop, or when the server fails before it has ever served.
pub(super) async fn run(arguments: SuperviseArguments, session: &Session<'_>) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::message(format!("cannot supervise: {error}"));
    let mut signals = Signals::new().map_err(failed)?;
    let above = Supervisor::new(&session.environment.for_keystores());
    tokio::select! {
        result = keep(&arguments, &mut signals, &above) => result.unwrap_or_else(|error| Err(failed(error))),
        never = above.reassure() => match never {},
    }
}

/// One life of the server after the other.
async fn keep(
    arguments: &SuperviseArguments,
    signals: &mut Signals,
    above: &Supervisor,
) -> io::Result<Result<(), CliError>> {
    let (mut has_served, mut restarts) = (false, Restarts::new(PAUSES.0, PAUSES.1));
    loop {
        let start = Instant::now();
        let mut life = Life::start(arguments, has_served)?;
        let end = life.watch(arguments.watchdog, signals, above).await?;
        has_served |= life.is_ready;
        let why = match end {
            End::Stopped(status) => return Ok(exit(status)),
            End::Exit(status) if !has_served => return Ok(exit(status)),
            End::Exit(status) => format!("the server ended: {status}"),
            End::Stalled => format!("the server gave no sign of life for {:?} and was killed", arguments.watchdog),
        };
        output::note(&format!("kes supervise: {why}; starting it again"));
        let pause = restarts.after(start.elapsed()).unwrap_or(PAUSES.1);
        tokio::select! {
            () = sleep(pause) => {}
            () = signals.stop() => return Ok(Ok(())),
        }
    }
}

/// The server has said itself why it ended, unless it was killed.
fn exit(status: ExitStatus) -> Result<(), CliError> {
    if status.code().is_none() {
        output::note(&format!("kes supervise: the server ended: {status}"));
    }
    match child::code(status) {
        Some(0) => Ok(()),
        code => Err(CliError::Ended(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))),
    }
}

/// One life of the server.
struct Life {
    child: Child,
    socket: UnixDatagram,
    is_ready: bool,
}

impl Life {
    fn start(arguments: &SuperviseArguments, is_again: bool) -> io::Result<Self> {
        let mut id = [0; 8];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        // An abstract name needs no folder that can be written to.
        let name = format!("kes-supervise-{}", hex::encode(id));
        let socket = net::UnixDatagram::bind_addr(&net::SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        let child = Command::new(std::env::current_exe()?)
            .args(&arguments.command)
            .env("NOTIFY_SOCKET", format!("@{name}"))
            .env("WATCHDOG_USEC", arguments.watchdog.as_micros().to_string())
            .env("KES_SUPERVISED", "1")
            .env_remove("WATCHDOG_PID")
            .envs(is_again.then_some((child::STARTED_AGAIN, "1")))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, socket: UnixDatagram::from_std(socket)?, is_ready: false })
    }

    async fn watch(&mut self, limit: Duration, signals: &mut Signals, above: &Supervisor) -> io::Result<End> {
        let mut message = [0; 256];
        // a server that starts is only waited for: it may migrate, log in, or wait for its keystore
        let (mut due, mut must_reload) = (None, false);
        loop {
            // what ended before a signal could tell
            child::reap(self.child.id().as_slice());
            tokio::select! {
                status = self.child.wait() => return Ok(End::Exit(status?)),
                length = self.socket.recv(&mut message) => {
                    self.heard(message.get(..length?).unwrap_or_default(), above);
                    due = self.is_ready.then(|| Instant::now() + limit);
                    if self.is_ready && std::mem::take(&mut must_reload) {
                        self.signal(Signal::HUP);
                    }
                }
                () = at(due) => {
                    self.child.kill().await?;
                    return Ok(End::Stalled);
                }
                told = signals.next() => match told {
                    // a server that has just been started might not know the signal yet, and would end
                    Told::Reload if !self.is_ready => must_reload = true,
                    Told::Reload => self.signal(Signal::HUP),
                    Told::Stop => {
                        above.stopping();
                        return Ok(End::Stopped(child::stop(&mut self.child, STOP).await?.status));
                    }
                    Told::ChildEnded => {}
                },
            }
        }
    }

    /// What the server says of itself.
    fn heard(&mut self, said: &[u8], above: &Supervisor) {
        if said.starts_with(b"READY=1") {
            self.is_ready = true;
            above.ready();
        } else if said.starts_with(b"RELOADING=1") {
            above.reloading();
        }
    }

    /// A child that has ended is waited for elsewhere.
    fn signal(&self, signal: Signal) {
        let _: rustix::io::Result<()> = child::tell(&self.child, signal);
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// For a server that is started by `kes supervise`: it must not outlive its parent.
pub(super) fn end_with_parent() {
    // Where the system does not know that, the supervisor of the supervisor cleans up.
    let _: rustix::io::Result<()> = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
}
