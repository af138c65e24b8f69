//! Container engines: what a stack needs of one, and nothing more.
//!
//! [`Engine`] is the complete interface: one pod, its containers, and an [`ImageStore`] where it has one. Every call is one or a few requests to the
//! engine's API socket (docs/architecture.md §3.6); nothing here waits for a program to become ready, that is
//! [`crate::resource::probe`]'s work.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::manifest::EngineKind;

mod compat;
mod configuration;
pub mod discover;
mod docker;
mod error;
#[cfg(test)]
mod fake;
mod hint;
pub(crate) mod host;
pub mod image;
mod images;
mod listener;
mod podman;
pub mod process;
mod remote;
mod service;
mod transport;
pub mod units;
mod user;

pub use error::{EngineError, Obstacle};
pub use images::{ImageDescription, ImageStore};
pub(crate) use service::Env;

/// Label on pods, containers and images: the name of the stack they belong to.
pub const LABEL_STACK: &str = "io.kestack.stack";
/// Label: digest of the wanted state the thing was made from (see [`crate::host::digest`]).
pub const LABEL_DIGEST: &str = "io.kestack.digest";
/// Label on containers: `kes` or `minio`.
pub const LABEL_ROLE: &str = "io.kestack.role";
/// Label on pods: when the stack may be removed (RFC 3339), if somebody asked for that.
pub const LABEL_EXPIRES: &str = "io.kestack.expires";
/// Label on pods: folder of the stack, so that whoever lists or removes it finds its files.
pub const LABEL_FOLDER: &str = "io.kestack.folder";
/// Label on pods: the random number that the stack's folder has, too.
pub const LABEL_ID: &str = "io.kestack.id";
/// Label: version of kestack that made the thing.
pub const LABEL_VERSION: &str = "io.kestack.version";

/// The place of an engine that needs no name.
pub(crate) const USUAL: &str = "usual";

/// Which engine answers, and how.
#[derive(Debug, Clone)]
pub struct EngineInfo {
    /// Which one; never [`EngineKind::Auto`].
    pub kind: EngineKind,
    /// The engine's own version, for example `4.3.1`.
    pub version: String,
    /// True if the engine runs without root.
    pub rootless: bool,
    /// Uid and gid that a stack's files must be given to, so that its containers can read them; `None` if they stay
    /// the caller's, whom the containers' processes then are, as seen from the host.
    pub owner: Option<u32>,
    /// Its address, for example `unix:///run/podman/podman.sock`.
    pub address: String,
}

impl EngineInfo {
    /// True if servers run in containers; else they are processes of this host, with its paths and ports.
    pub fn has_containers(&self) -> bool {
        !matches!(self.kind, EngineKind::Process | EngineKind::Systemd)
    }

    /// Which of several engines of its kind it is: [`USUAL`] for the one that kestack finds by itself, else its address.
    /// Processes are everywhere the same.
    pub fn place(&self) -> String {
        let socket = self.address.strip_prefix("unix://").map(Path::new);
        let is_usual = socket.map_or(!self.has_containers(), discover::is_usual);
        if is_usual { USUAL.to_owned() } else { self.address.clone() }
    }

    /// True if the engine is behind TCP: its processes and ports are those of another machine, or of a container.
    pub fn is_elsewhere(&self) -> bool {
        self.address.starts_with("tcp://")
    }

    /// The call by which a user removes a pod without kestack's help, where there is one.
    pub fn removal_of(&self, pod: &str) -> String {
        match self.kind {
            EngineKind::Docker => format!("docker rm --force {pod}-infra"),
            EngineKind::Process => format!("kestack down --name {pod} --engine process"),
            _ => format!("podman pod rm --force {pod}"),
        }
    }
}

/// A pod: a shared network namespace with published ports.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct PodSpec {
    /// Name of the pod, equal to the stack's.
    pub name: String,
    /// Labels, inherited by the infra container.
    pub labels: BTreeMap<String, String>,
    /// Ports published on the host.
    pub ports: Vec<PortMapping>,
}

/// One published TCP port.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PortMapping {
    /// Host address to bind, normally `127.0.0.1`.
    pub host_ip: IpAddr,
    /// Port on the host.
    pub host_port: u16,
    /// Port inside the pod.
    pub container_port: u16,
}

/// A container inside a pod. Always uid and gid 1000, read-only root, `no-new-privileges`, all capabilities
/// dropped but those named (docs/architecture.md §3.9).
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct ContainerSpec {
    /// Name of the container.
    pub name: String,
    /// Name of the pod to join.
    pub pod: String,
    /// Image ID or reference; must be present.
    pub image: String,
    /// Arguments after the image's entry point.
    pub command: Vec<String>,
    /// Environment, never secrets.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Bind mounts.
    pub mounts: Vec<Mount>,
    /// Capabilities to keep, for example `IPC_LOCK`.
    pub capabilities: Vec<String>,
    /// Seconds between SIGTERM and SIGKILL at a stop.
    pub stop_timeout: u32,
}

/// A bind mount of a host file or folder.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    /// Absolute path on the host; must exist.
    pub source: PathBuf,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Mounted read-only.
    pub read_only: bool,
}

/// The state of a pod, as the engine reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodState {
    /// Name of the pod.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// True if its network namespace is up: the infra container runs.
    pub running: bool,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// Its members, without the infra container.
    pub containers: Vec<ContainerState>,
}

impl PodState {
    /// When the stack may be removed, if somebody asked for that.
    pub fn expires(&self) -> Option<Timestamp> {
        self.labels.get(LABEL_EXPIRES)?.parse().ok()
    }
}

/// The state of a container, as the engine reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerState {
    /// Name of the container.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The engine's word: `created`, `running`, `exited`, …
    pub status: String,
    /// True if its process runs.
    pub running: bool,
    /// Exit code of the last run, if it ended.
    pub exit_code: Option<i64>,
    /// Image ID it was made from.
    pub image: String,
    /// Its main process as this host knows it, if it runs.
    pub pid: Option<i32>,
}

/// One line a container wrote.
#[derive(Debug, Clone)]
pub struct LogLine {
    /// True if it came from standard error.
    pub stderr: bool,
    /// The line without its newline.
    pub text: String,
}

/// A signal for the main process of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Reload the configuration.
    Hup,
    /// Die at once.
    Kill,
    /// Stop (freeze) the process.
    Stop,
    /// Continue a stopped process.
    Cont,
}

impl From<Signal> for rustix::process::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Hup => Self::HUP,
            Signal::Kill => Self::KILL,
            Signal::Stop => Self::STOP,
            Signal::Cont => Self::CONT,
        }
    }
}

/// A container engine. Every method is idempotent: what is already so is success, what is absent is not an error
/// to remove.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync {
    /// Which engine this is.
    fn info(&self) -> &EngineInfo;

    /// Its images.
    ///
    /// # Errors
    /// [`EngineError::Refused`] by an engine that runs programs of this host.
    fn images(&self) -> Result<&dyn ImageStore, EngineError>;

    /// The ID of what containers are made from (64 hex digits), `None` if it is not there.
    async fn image(&self, reference: &str) -> Result<Option<String>, EngineError> {
        Ok(self.images()?.describe(reference).await?.map(|image| image.id))
    }

    /// Makes sure that ports of a pod can be published on that address.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if they would lead nowhere.
    async fn check_address(&self, _: IpAddr) -> Result<(), EngineError> {
        Ok(())
    }

    /// Makes sure that containers can have a folder of this host mounted.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if its path is one that the engine does not take.
    fn check_mount(&self, _: &Path) -> Result<(), EngineError> {
        Ok(())
    }

    /// Makes sure that containers see the same folder as this process.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if they would see another one, or none.
    async fn check_shared(&self, _: &Path) -> Result<(), EngineError> {
        Ok(())
    }

    /// The pod of that name.
    async fn pod(&self, name: &str) -> Result<Option<PodState>, EngineError>;

    /// All pods that kestack made, of any stack.
    async fn pods(&self) -> Result<Vec<PodState>, EngineError>;

    /// Creates the pod and starts its infra container: afterwards its network and ports exist.
    async fn create_pod(&self, spec: &PodSpec) -> Result<(), EngineError>;

    /// Stops and removes the pod with all members; a bounded loop that ends when nothing is left.
    async fn remove_pod(&self, name: &str) -> Result<(), EngineError>;

    /// Creates a container; does not start it.
    async fn create_container(&self, spec: &ContainerSpec) -> Result<(), EngineError>;

    /// Starts a created or stopped container.
    async fn start_container(&self, name: &str) -> Result<(), EngineError>;

    /// Stops a container gracefully within `timeout`, then kills it.
    async fn stop_container(&self, name: &str, timeout: Duration) -> Result<(), EngineError>;

    /// Removes a container, running or not.
    async fn remove_container(&self, name: &str) -> Result<(), EngineError>;

    /// Sends a signal to the main process of a running container.
    async fn signal_container(&self, name: &str, signal: Signal) -> Result<(), EngineError>;

    /// Lines of a container's log: the last `tail` (all if `None`), then, with `follow`, those to come.
    async fn logs(&self, name: &str, tail: Option<u32>, follow: bool) -> Result<mpsc::Receiver<LogLine>, EngineError>;
}
