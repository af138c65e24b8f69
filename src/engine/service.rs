//! A `podman system service` of our own, for as long as kestack runs: for hosts where no socket is set up.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::configuration;
use super::host::Host;
use super::transport;
use crate::volatile;

/// Start of the names of the service's folders.
const FOLDER: &str = "podman-";
/// How long the service may take until it answers; some 50 ms on an idle host.
const START: Duration = Duration::from_secs(20);
/// How often the socket is tried meanwhile.
const TRY: Duration = Duration::from_millis(5);
/// Seconds after the last request that an orphaned service ends itself.
const IDLE_SECONDS: &str = "60";
/// How often the service is kept from doing so while we live.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The environment, by name of the variable.
pub(crate) type Env<'a> = dyn Fn(&str) -> Option<String> + Send + Sync + 'a;

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServiceError {
    /// Its folder or the program could not be used.
    #[error("`podman system service` cannot be started: {0}")]
    Io(#[from] io::Error),
    /// There is no folder for its socket.
    #[error("`podman system service` cannot be started: {0}")]
    Folder(Box<crate::Error>),
    /// It ended at once.
    #[error("`podman system service` ended at once ({status}): {output}")]
    Ended {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it said.
        output: String,
    },
    /// It runs but does not open its socket.
    #[error("`podman system service` did not open its socket within {} s", START.as_secs())]
    Silent,
}

/// A running service. Dropping it ends the service; containers are not touched by that.
#[derive(Debug)]
pub(super) struct Service {
    child: Child,
    keep_alive: tokio::task::JoinHandle<()>,
    socket: PathBuf,
    /// Holds socket, configuration and output; mode 0700, removed at the end.
    _folder: TempDir,
    /// Locked as long as we live: tells the next kestack whether the folder was abandoned.
    _held: File,
}

impl Service {
    /// Starts the service with `podman` and returns once its socket takes connections.
    pub(super) async fn start(podman: &Path, host: &Host, env: &Env<'_>) -> Result<Self, ServiceError> {
        // not in TMPDIR: the path of a socket has 107 bytes at most, and that folder may be anybody's
        let place = volatile::folder().map_err(|error| ServiceError::Folder(Box::new(error)))?;
        clear_abandoned(&place);
        let folder = tempfile::Builder::new().prefix(FOLDER).tempdir_in(place)?;
        let held = File::open(folder.path())?;
        flock(&held, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from)?;
        let socket = folder.path().join("podman.sock");
        let output = folder.path().join("output");
        let mut command = Command::new(podman);
        command.args(["system", "service", "--time", IDLE_SECONDS]).arg(format!("unix://{}", socket.display()));
        if let Some(text) = configuration::adapted(&configuration::sources(host.root, env), host) {
            let path = folder.path().join("containers.conf");
            fs::write(&path, text)?;
            command.env("CONTAINERS_CONF", path);
        }
        // A group of its own: the terminal's interrupt is for us, and the service must outlive it to clean up.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&output)?).process_group(0);
        let mut child = command.spawn()?;
        let opened = timeout(START, opened(&mut child, &socket, &output)).await.unwrap_or(Err(ServiceError::Silent));
        let keep_alive = tokio::spawn(keep_alive(socket.clone()));
        let service = Self { child, keep_alive, socket, _folder: folder, _held: held };
        opened.map(|()| service)
    }

    /// Path of its socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.keep_alive.abort();
        // The whole group, which is only the service: rootless Podman runs it in a second process. `conmon` and the
        // programs behind rootless ports lead groups of their own and live on.
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(Err(error)) = pid.map(|pid| kill_process_group(pid, Signal::TERM)) {
            tracing::debug!(%error, "the podman service is gone already");
        }
    }
}

/// Removes the folders of kestacks that were killed. Their services end by themselves.
fn clear_abandoned(place: &Path) {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(FOLDER)) {
        let old = entry.metadata().and_then(|meta| meta.modified()).is_ok_and(|made| {
            // not one that another kestack made a moment ago and has yet to lock
            made.elapsed().is_ok_and(|age| age > Duration::from_secs(5))
        });
        let free = || {
            let folder = File::open(entry.path()).ok()?;
            flock(&folder, FlockOperation::NonBlockingLockExclusive).ok()
        };
        if old && free().is_some() {
            let removed = fs::remove_dir_all(entry.path());
            tracing::debug!(folder = %entry.path().display(), ?removed, "removed what a killed kestack left");
        }
    }
}

/// Returns when the socket takes connections, or the service ended.
async fn opened(child: &mut Child, socket: &Path, output: &Path) -> Result<(), ServiceError> {
    let mut tries = interval(TRY);
    tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tries.tick().await;
        if let Some(status) = child.try_wait()? {
            return Err(ServiceError::Ended { status, output: last_line(output) });
        }
        if transport::connect(socket).await.is_ok() {
            return Ok(());
        }
    }
}

/// Podman counts connections that only wait as idle: without a request now and then the service would end under
/// a long wait for MinIO.
async fn keep_alive(socket: PathBuf) {
    let socket = transport::Socket::new(socket);
    let mut pings = interval(KEEP_ALIVE);
    loop {
        pings.tick().await;
        if let Err(error) = socket.call(hyper::Method::GET, "/_ping", None, KEEP_ALIVE).await {
            tracing::debug!(%error, "the podman service does not answer");
        }
    }
}

fn last_line(output: &Path) -> String {
    let text = fs::read(output).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").to_owned()
}
