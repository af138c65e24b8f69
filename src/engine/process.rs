//! No containers: the servers are processes of this host (docs/architecture.md §3.10).
//!
//! A pod is a folder, `<stack>/run`, with a record of its ports and labels. A member is a folder in it, with the
//! record of its wanted state. Each server has a supervisor, which is kestack itself, detached: it outlives the
//! command that started it, and whatever command comes next finds it by its records. An image is a program on this
//! host, referred to by its path and the digest of its content ([`crate::engine::image::program_reference`]).

use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::hint::port_hint;
use super::{
    ContainerSpec, Engine, EngineError, EngineInfo, ImageStore, LABEL_STACK, LogLine, Obstacle, PodSpec, PodState,
    PortMapping, Signal,
};
use crate::host::digest::sha256;
use crate::host::disk::is_absent;
use crate::host::ownership::not_own;
use crate::manifest::EngineKind;

mod bases;
pub(super) mod identity;
mod log;
mod member;
mod serve;
mod supervisor;
mod tail;

pub use bases::bases;
pub(crate) use identity::Identity;
pub(crate) use member::end;
use member::{Lock, Member, create_private, read, remove_tree, write};
pub(crate) use supervisor::own_program;
use tail::{Tail, send};

/// The hidden verb by which kestack becomes a server that ends with its parent.
pub(crate) const CHILD: &str = "process-child";
/// The hidden verb that a supervisor is started with.
const SUPERVISE: &str = "process-supervise";
/// What a supervisor says of a server that was started.
const STARTED: &str = "started";
/// What to do about something that is in the way.
const REMOVE: &str = "remove it with `kestack down`, or choose another name with --name";
/// How long a supervisor may take to start its server.
const START: Duration = Duration::from_secs(20);

/// The processes of all stacks below one folder.
#[derive(Debug)]
pub struct Processes {
    info: EngineInfo,
    base: PathBuf,
    kestack: PathBuf,
}

impl Processes {
    /// The engine for stacks below `base`; `kestack` is the program that supervises.
    pub fn new(base: PathBuf, kestack: PathBuf) -> Self {
        let info = EngineInfo {
            kind: EngineKind::Process,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rootless: !rustix::process::geteuid().is_root(),
            // files that another engine's containers had
            owner: Some(rustix::process::geteuid().as_raw()),
            address: base.display().to_string(),
        };
        Self { info, base, kestack }
    }

    fn run(&self, pod: &str) -> PathBuf {
        self.base.join(pod).join("run")
    }

    /// The member of that name, of whichever stack.
    fn member(&self, name: &str) -> Result<Option<Member>, EngineError> {
        let pods = self.stacks()?;
        let found = pods.into_iter().map(|pod| pod.join("run").join(name)).find(|folder| folder.is_dir());
        Ok(found.map(Member::at))
    }

    /// The folders of the caller's stacks. What a stranger wrote below the same folder names processes to be ended, and
    /// folders to be removed.
    fn stacks(&self) -> Result<Vec<PathBuf>, EngineError> {
        let mut folders = folders(&self.base).map_err(failed("read", &self.base))?;
        folders.retain(|folder| std::fs::metadata(folder).is_ok_and(|found| not_own(&found).is_none()));
        Ok(folders)
    }

    fn known(&self, name: &str, call: &str) -> Result<Member, EngineError> {
        self.member(name)?.ok_or_else(|| {
            refusal(call, Obstacle::Other, format!("'{name}' does not exist"), "bring the stack up with `kestack up`")
        })
    }

    async fn spawn_supervisor(&self, member: &Member, lock: Lock) -> io::Result<String> {
        let mut command = Command::new(&self.kestack);
        command.arg(SUPERVISE).arg(member.folder()).env_clear().current_dir("/");
        command.stdin(Stdio::from(lock)).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().ok_or(ErrorKind::BrokenPipe)?;
        let mut line = String::new();
        let read = timeout(START, BufReader::new(stdout).read_line(&mut line)).await;
        if read.is_err() {
            child.start_kill()?;
        }
        read.map_err(|_| io::Error::new(ErrorKind::TimedOut, "the supervisor does not answer"))??;
        Ok(line.trim_end().to_owned())
    }
}

/// True if the stack in this folder runs, or ran, as processes.
pub fn is_there(stack: &Path) -> bool {
    stack.join("run").is_dir()
}

/// Looks after the member in this folder until it gets a signal to end; `kestack` runs this detached.
///
/// # Errors
/// Those of its first start, and of its files.
pub async fn supervise(folder: PathBuf) -> Result<(), EngineError> {
    supervisor::supervise(folder.clone()).await.map_err(failed("supervise", &folder))
}

/// Becomes the server of the member in this folder, whose supervisor is `parent`.
///
/// # Errors
/// Always: it returns only if that fails.
pub fn serve(folder: &Path, parent: i32) -> Result<(), EngineError> {
    Err(failed("serve", folder)(serve::serve(folder.to_owned(), parent)))
}

/// Becomes a server that ends with the process `parent`, which started this one.
///
/// # Errors
/// Always: it returns only if that fails.
pub fn become_child(parent: i32, program: &Path, arguments: &[std::ffi::OsString]) -> Result<(), EngineError> {
    Err(failed("run", program)(serve::become_child(parent, program, arguments)))
}

#[async_trait]
impl Engine for Processes {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn images(&self) -> Result<&dyn ImageStore, EngineError> {
        Err(no_images())
    }

    async fn image(&self, reference: &str) -> Result<Option<String>, EngineError> {
        let program = crate::engine::image::program_of(reference);
        Ok(super::host::is_executable(program).then(|| image_id(reference)))
    }

    async fn pod(&self, name: &str) -> Result<Option<PodState>, EngineError> {
        let run = self.run(name);
        if !run.is_dir() {
            return Ok(None);
        }
        state(name, &run).map(Some).map_err(failed("read", &run))
    }

    async fn pods(&self) -> Result<Vec<PodState>, EngineError> {
        let folders = self.stacks()?;
        let runs = folders.into_iter().map(|folder| folder.join("run")).filter(|run| run.is_dir());
        let states = runs.map(|run| {
            let name = run.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
            state(&name, &run).map_err(failed("read", &run))
        });
        states.collect()
    }

    async fn create_pod(&self, spec: &PodSpec) -> Result<(), EngineError> {
        let (run, call) = (self.run(&spec.name), format!("make pod {}", spec.name));
        if run.exists() {
            return Err(refusal(&call, Obstacle::Conflict, format!("stack '{}' already exists", spec.name), REMOVE));
        }
        if let Some((port, error)) = spec.ports.iter().find_map(taken) {
            let message = format!("cannot listen on {}:{}: {error}", port.host_ip, port.host_port);
            return Err(refusal(&call, Obstacle::TakenPort(port.host_port), message, &port_hint(port.host_port)));
        }
        create_private(&run).and_then(|()| write(&run.join("pod.json"), spec)).map_err(failed("write", &run))
    }

    async fn remove_pod(&self, name: &str) -> Result<(), EngineError> {
        let run = self.run(name);
        let members = members(&run).map_err(failed("read", &run))?;
        let ended = join_all(members.iter().map(async |member| member.end(grace(member)).await)).await;
        let ended: io::Result<Vec<Lock>> = ended.into_iter().collect();
        ended.and_then(|_locks| remove_tree(&run)).map_err(failed("end", &run))
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        let (run, call) = (self.run(&spec.pod), format!("make {} in {}", spec.name, spec.pod));
        if !run.is_dir() {
            return Err(refusal(
                &call,
                Obstacle::Other,
                format!("stack '{}' is not up", spec.pod),
                "bring the stack up with `kestack up`",
            ));
        }
        if self.image(&spec.image).await?.is_none() {
            let message = format!("there is no program '{}'", crate::engine::image::program_of(&spec.image).display());
            let hint = "it was moved or removed; run the command again, and kestack looks for it";
            return Err(refusal(&call, Obstacle::MissingImage, message, hint));
        }
        let member = Member::at(run.join(&spec.name));
        match member.spec().map_err(failed("read", member.folder()))? {
            Some(_) => Err(refusal(&call, Obstacle::Conflict, format!("'{}' already exists", spec.name), REMOVE)),
            None => member.create(spec).map_err(failed("write", member.folder())),
        }
    }

    async fn start_container(&self, name: &str) -> Result<(), EngineError> {
        let call = format!("start {name}");
        let member = self.known(name, &call)?;
        let started = async {
            let Some(lock) = member.lock_for_start(grace(&member)).await? else { return Ok(STARTED.to_owned()) };
            self.spawn_supervisor(&member, lock).await
        };
        match started.await.map_err(failed("start", member.folder()))? {
            word if word == STARTED => Ok(()),
            why => Err(EngineError::Answer { call, detail: why }),
        }
    }

    async fn stop_container(&self, name: &str, timeout: Duration) -> Result<(), EngineError> {
        let Some(member) = self.member(name)? else { return Ok(()) };
        member.end(timeout).await.map(drop).map_err(failed("stop", member.folder()))
    }

    async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        let Some(member) = self.member(name)? else { return Ok(()) };
        let removed = async { member.remove(&member.end(grace(&member)).await?) };
        removed.await.map_err(failed("remove", member.folder()))
    }

    async fn signal_container(&self, name: &str, signal: Signal) -> Result<(), EngineError> {
        let call = format!("signal {name}");
        let member = self.known(name, &call)?;
        let server = member.server().map_err(failed("read", member.folder()))?;
        match server.filter(Identity::alive) {
            Some(server) => server.signal(signal.into()).map_err(failed("signal", member.folder())),
            None => {
                Err(refusal(&call, Obstacle::Other, format!("'{name}' does not run"), "start it with `kestack up`"))
            }
        }
    }

    async fn logs(&self, name: &str, tail: Option<u32>, follow: bool) -> Result<mpsc::Receiver<LogLine>, EngineError> {
        let member = self.known(name, &format!("logs {name}"))?;
        let (sender, lines) = mpsc::channel(64);
        let mut log = match Tail::open(&member.log()) {
            // never started: it has said nothing
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(lines),
            other => other.map_err(failed("read", &member.log()))?,
        };
        let so_far = log.last(tail).map_err(failed("read", &member.log()))?;
        tokio::spawn(async move {
            if send(so_far, &sender).await && follow {
                log.follow(sender, move || !member.supervised()).await;
            }
        });
        Ok(lines)
    }
}

/// What is known of the pod in this folder. Without a complete record it was never ready: it is ours, and not usable.
fn state(name: &str, run: &Path) -> io::Result<PodState> {
    let spec: Option<PodSpec> = read(&run.join("pod.json"))?;
    let members = members(run)?;
    let (mut containers, mut lives) = (Vec::new(), members.is_empty());
    for member in &members {
        containers.extend(member.state()?);
        lives |= member.lives()?;
    }
    // there is no network that could be gone, but after a reboot nothing of a pod is left
    let running = spec.is_some() && lives;
    let (labels, ports) = match spec {
        Some(spec) => (spec.labels, spec.ports),
        None => ([(LABEL_STACK.to_owned(), name.to_owned())].into(), vec![]),
    };
    Ok(PodState { name: name.to_owned(), labels, running, ports, containers })
}

fn members(run: &Path) -> io::Result<Vec<Member>> {
    Ok(folders(run)?.into_iter().map(Member::at).collect())
}

/// The folders in a folder; none if it is absent.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if is_absent(&error) => return Ok(vec![]),
        other => other?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// How long a member's server may take to end.
fn grace(member: &Member) -> Duration {
    let spec = member.spec().ok().flatten();
    Duration::from_secs(spec.map_or(10, |spec| spec.stop_timeout).into())
}

/// The port and why it is not available.
fn taken(port: &PortMapping) -> Option<(&PortMapping, io::Error)> {
    TcpListener::bind((port.host_ip, port.host_port)).err().map(|error| (port, error))
}

/// The ID of an image: 64 hex digits, as engines have it, of a path and the digest of what is there.
fn image_id(reference: &str) -> String {
    sha256(reference.as_bytes())
}

fn no_images() -> EngineError {
    let message = "the process engine runs programs of this host and has no images".to_owned();
    refusal("use images", Obstacle::Other, message, "name programs: `kes.binary` and `minio.binary` in kestack.yaml")
}

/// A refusal in the terms that all engines use.
fn refusal(call: &str, obstacle: Obstacle, message: String, hint: &str) -> EngineError {
    EngineError::Refused { call: call.to_owned(), obstacle, message, hint: Some(hint.to_owned()) }
}

fn failed(action: &str, path: &Path) -> impl FnOnce(io::Error) -> EngineError + use<> {
    let call = format!("{action} '{}'", path.display());
    move |error| EngineError::Connection { call, source: Box::new(error) }
}
