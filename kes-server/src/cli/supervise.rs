//! `kes supervise`: a small parent that starts a server anew when it ends or no longer runs, for places where nothing
//! else does: a process that is stopped cannot watch itself (kubernetes.md K17, §5.1).
//!
//! It speaks the protocol of systemd with its child: `READY=1` once it serves, `WATCHDOG=1` while its threads run.

use std::{
    ffi::OsString,
    io,
    os::{linux::net::SocketAddrExt as _, unix::net},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};
use tokio::{
    net::UnixDatagram,
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{CliError, output, time};

/// Longest pause before a server that ends soon after its start is started again.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// A server that ran this long is started again at once.
const SETTLED: Duration = Duration::from_secs(10);
/// How long a server may take to end when it is told to; it takes a second for its requests.
const STOP: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct SuperviseArguments {
    /// How long the server may give no sign of life before it is killed and started again
    #[arg(long, value_name = "duration", default_value = "3s", value_parser = time::duration)]
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
    /// We were told to end, and it has ended.
    Stopped(ExitStatus),
}

/// Ends with the server's exit code when it is told to stop, or when the server fails before it has ever served.
pub(super) async fn run(arguments: SuperviseArguments) -> Result<(), CliError> {
    let failed = |error: io::Error| CliError::message(format!("cannot supervise: {error}"));
    let (mut has_served, mut pause) = (false, Duration::from_millis(100));
    let mut signals = Signals::new().map_err(failed)?;
    loop {
        let start = Instant::now();
        let mut life = Life::start(&arguments).map_err(failed)?;
        let end = life.watch(arguments.watchdog, &mut signals).await.map_err(failed)?;
        has_served |= life.is_ready;
        let why = match end {
            End::Stopped(status) => return exit(status),
            End::Exit(status) if !has_served => return exit(status),
            End::Exit(status) => format!("the server ended: {status}"),
            End::Stalled => format!("the server gave no sign of life for {:?} and was killed", arguments.watchdog),
        };
        pause = if start.elapsed() > SETTLED { Duration::from_millis(100) } else { (pause * 2).min(MAX_PAUSE) };
        output::note(&format!("kes supervise: {why}; starting it again"));
        tokio::select! {
            () = sleep(pause) => {}
            () = signals.stop() => return Ok(()),
        }
    }
}

fn exit(status: ExitStatus) -> Result<(), CliError> {
    if status.success() { Ok(()) } else { Err(CliError::message(format!("the server ended: {status}"))) }
}

/// What we are told.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hang_up.recv() => Told::Reload,
        }
    }

    /// Waits until we are told to end.
    async fn stop(&mut self) {
        while self.next().await != Told::Stop {}
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Stop,
    Reload,
}

/// One life of the server.
struct Life {
    child: Child,
    socket: UnixDatagram,
    is_ready: bool,
}

impl Life {
    fn start(arguments: &SuperviseArguments) -> io::Result<Self> {
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
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, socket: UnixDatagram::from_std(socket)?, is_ready: false })
    }

    async fn watch(&mut self, limit: Duration, signals: &mut Signals) -> io::Result<End> {
        let mut message = [0; 256];
        // a server that starts is only waited for: it may migrate, log in, or wait for its keystore
        let mut due = None;
        loop {
            tokio::select! {
                status = self.child.wait() => return Ok(End::Exit(status?)),
                length = self.socket.recv(&mut message) => {
                    let said = message.get(..length?).unwrap_or_default();
                    self.is_ready |= said.starts_with(b"READY=1");
                    due = self.is_ready.then(|| Instant::now() + limit);
                }
                () = at(due) => {
                    self.child.kill().await?;
                    return Ok(End::Stalled);
                }
                told = signals.next() => match told {
                    Told::Reload => self.signal(Signal::HUP),
                    Told::Stop => return self.stop().await.map(End::Stopped),
                },
            }
        }
    }

    async fn stop(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM);
        if let Ok(status) = timeout(STOP, self.child.wait()).await {
            return status;
        }
        self.child.kill().await?;
        self.child.wait().await
    }

    /// A child that has ended is waited for elsewhere.
    fn signal(&self, signal: Signal) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(id) = id {
            let _: rustix::io::Result<()> = rustix::process::kill_process(id, signal);
        }
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
