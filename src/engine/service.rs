//! A `podman system service` of our own, for as long as kestack runs: for hosts where no socket is set up.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::configuration;
use super::host::Host;
use super::transport::{self, Socket};
use crate::host::ending;
use crate::host::error::HostError;
use crate::host::scratch::Scratch;
use crate::host::volatile;

/// Start of the names of the service's folders.
const FOLDER: &str = "podman-";
/// The name of its socket.
const SOCKET: &str = "podman.sock";
/// How long the service may take until it answers; some 50 ms on an idle host.
const START: Duration = Duration::from_secs(20);
/// How often the socket is tried meanwhile.
const TRY: Duration = Duration::from_millis(5);
/// How long the service may take to answer what it works on when it is to end: the start of a container on a busy host.
const ANSWERS: Duration = Duration::from_secs(30);
/// How long it may take to end then.
const END: Duration = Duration::from_secs(5);
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
    Folder(#[from] HostError),
    /// It ended at once.
    #[error("`podman system service` ended immediately ({status}): {output}")]
    Ended {
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of its output.
        output: String,
    },
    /// It runs but does not open its socket.
    #[error("`podman system service` did not open its socket within {} s", START.as_secs())]
    Silent,
}

/// A running service. Dropping it begins its end; containers are not touched by that.
#[derive(Debug)]
pub(super) struct Service {
    process: Option<Process>,
    keep_alive: JoinHandle<()>,
    path: PathBuf,
    /// Whose requests the service works on.
    socket: Option<Socket>,
}

/// The process of a service.
#[derive(Debug)]
struct Process {
    child: Child,
    /// Holds socket, configuration and output.
    _folder: Scratch,
}

impl Service {
    /// Starts the service with `podman` and returns once its socket takes connections.
    pub(super) async fn start(podman: &Path, host: &Host, env: &Env<'_>) -> Result<Self, ServiceError> {
        // not in TMPDIR: the path of a socket has 107 bytes at most, and that folder may be anybody's
        let place = volatile::folder()?;
        let folder = Scratch::new_in(&place, FOLDER)?;
        let socket = folder.path().join(SOCKET);
        let output = folder.path().join("output");
        let mut command = Command::new(podman);
        command.args(["system", "service", "--time", IDLE_SECONDS]).arg(format!("unix://{}", socket.display()));
        if let Some(text) = configuration::adapted(&configuration::sources(host.root, env), host) {
            let path = folder.path().join("containers.conf");
            fs::write(&path, text)?;
            command.env("CONTAINERS_CONF", path);
        }
        // an empty one, too, makes Podman a client of another one
        for remote in ["CONTAINER_HOST", "CONTAINER_CONNECTION", "DOCKER_HOST"] {
            command.env_remove(remote);
        }
        // A group of its own: the terminal's interrupt is for us, and the service must outlive it to clean up.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&output)?).process_group(0);
        let mut child = command.spawn()?;
        let opened = timeout(START, opened(&mut child, &socket, &output)).await.unwrap_or(Err(ServiceError::Silent));
        let keep_alive = tokio::spawn(keep_alive(socket.clone()));
        let process = Some(Process { child, _folder: folder });
        let service = Self { process, keep_alive, path: socket, socket: None };
        opened.map(|()| service)
    }

    /// Path of its socket.
    pub(super) fn socket(&self) -> &Path {
        &self.path
    }

    /// The service ends once it has answered the requests of this socket.
    pub(super) fn answers(mut self, socket: Socket) -> Self {
        self.socket = Some(socket);
        self
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.keep_alive.abort();
        if let Some(process) = self.process.take() {
            ending::begin(process.end(self.socket.take()));
        }
    }
}

impl Drop for Process {
    /// Also of an end that nobody could wait for.
    fn drop(&mut self) {
        self.signal(Signal::TERM);
    }
}

impl Process {
    /// Ends the service after its last answer, by force if it must be.
    async fn end(mut self, socket: Option<Socket>) {
        if let Some(socket) = socket
            && timeout(ANSWERS, socket.answered()).await.is_err()
        {
            tracing::debug!("the podman service does not answer a request; it is ended all the same");
        }
        self.signal(Signal::TERM);
        if timeout(END, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _: Result<_, tokio::time::error::Elapsed> = timeout(END, self.child.wait()).await;
        }
    }

    /// The complete group gets the signal, which is only the service: rootless Podman runs it in a second process.
    /// `conmon` and the programs behind rootless ports lead groups of their own and live on.
    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(Err(error)) = pid.map(|pid| kill_process_group(pid, signal)) {
            tracing::debug!(%error, "the podman service is gone already");
        }
    }
}

/// True of the socket of such a service.
pub(super) fn is_own(socket: &Path) -> bool {
    let Some(folder) = socket.parent().filter(|_| socket.ends_with(SOCKET)) else { return false };
    let is_named = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FOLDER));
    is_named && volatile::folder().is_ok_and(|place| folder.parent() == Some(place.as_path()))
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
    let socket = Socket::new(socket);
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
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it printed nothing").to_owned()
}
