//! Docker: a pod is an infra container whose network and published ports its members join (docs/containers.md §2).
//!
//! Infra and members carry the pod's name as a label, so that whatever a killed kestack left behind is found. The
//! infra container runs a program of our own that only waits ([`crate::engine::image::pause`]). It is the first to start and the last
//! to go; a pod whose infra does not run is made again, because its members would stay in a dead network.

use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bollard::ClientVersion;
use futures_util::future::join_all;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::interval;

use super::compat::{Compat, failure_text};
use super::hint::refused;
use super::transport::{Answer, Socket, query};
use super::user::User;
use super::{
    ContainerSpec, Engine, EngineError, EngineInfo, ImageStore, LABEL_STACK, LogLine, Obstacle, PodSpec, PodState,
    Signal,
};
use crate::engine::image;
use crate::host::disk::UNFINISHED;
use crate::manifest::EngineKind;

mod answer;
mod body;
mod forgotten;
#[cfg(test)]
mod tests;

use answer::Container;

/// Label on the containers of a pod: its name.
const LABEL_POD: &str = "io.kestack.pod";
/// What [`super::LABEL_ROLE`] says of the container that holds the network.
const INFRA: &str = "infra";
/// How long a call may take that only looks.
const LOOK: Duration = Duration::from_secs(15);
/// How long making may take on a busy host.
const MAKE: Duration = Duration::from_secs(60);
/// How long stopping or removing a container may take: its stop timeout, and then some.
const STOP: Duration = Duration::from_secs(60);
/// How often removing a pod is tried: a container may be in the middle of a start, or of being removed already.
const REMOVALS: usize = 3;
/// Name of the container that shows whether Docker sees a folder.
const PROBE: &str = "kestack-probe";
/// How often making a container is tried while a container of its name comes into being or goes.
const TRY: Duration = Duration::from_millis(20);

/// Docker behind its socket.
#[derive(Debug)]
pub(super) struct Docker {
    info: EngineInfo,
    socket: Socket,
    api: ClientVersion,
    compat: Compat,
    user: User,
    /// True if it may have other files than this process.
    is_apart: bool,
}

impl Docker {
    /// `api` is the version of the API to speak; `user` is who the containers' processes run as.
    pub(super) fn new(socket: Socket, version: String, api: ClientVersion, user: User) -> Result<Self, EngineError> {
        let address = socket.address();
        let compat = Compat::new(socket.clone(), "docker", api)?;
        let info =
            EngineInfo { kind: EngineKind::Docker, version, rootless: user.is_mapped(), owner: user.owner(), address };
        let is_apart = info.is_elsewhere();
        Ok(Self { info, socket, api, compat, user, is_apart })
    }

    /// The same of a daemon outside of the container that this process is in, if it is.
    pub(super) fn outside(self, is_outside: bool) -> Self {
        Self { is_apart: self.is_apart || is_outside, ..self }
    }

    /// One call. Any answer is fine here; `repeat` is the call as the user can repeat it.
    async fn call(
        &self,
        method: Method,
        path: &str,
        json: Option<&Value>,
        repeat: &str,
        deadline: Duration,
    ) -> Result<Answer, EngineError> {
        let path = format!("/v{}/{path}", self.api);
        let answer = self.socket.call(method, &path, json, deadline).await;
        answer.map_err(|source| EngineError::Connection { call: repeat.to_owned(), source: Box::new(source) })
    }

    /// Asks for something; `None` if it does not exist.
    async fn look<T: DeserializeOwned>(&self, path: &str, repeat: &str) -> Result<Option<T>, EngineError> {
        let answer = self.call(Method::GET, path, None, repeat, LOOK).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => serde_json::from_slice(&answer.body)
                .map(Some)
                .map_err(|error| EngineError::Answer { call: repeat.to_owned(), detail: error.to_string() }),
            _ => Err(refusal(&answer, repeat)),
        }
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>, EngineError> {
        self.look(&format!("containers/{container}/json"), &format!("docker inspect {container}")).await
    }

    /// All containers that pass the filter, whatever their state. The list says neither exit codes nor the ports of a
    /// container that does not run, so each is asked for; one that goes meanwhile is not there.
    async fn containers(&self, filter: &Value) -> Result<Vec<Container>, EngineError> {
        let path = format!("containers/json?all=true&filters={}", query(&filter.to_string()));
        let listed: Vec<answer::Listed> = self.look(&path, "docker ps --all").await?.unwrap_or_default();
        let found = join_all(listed.iter().map(|listed| self.inspect(&listed.id))).await;
        found.into_iter().filter_map(Result::transpose).collect()
    }

    async fn members(&self, pod: &str) -> Result<Vec<Container>, EngineError> {
        let mut found = self.containers(&json!({ "label": [format!("{LABEL_POD}={pod}")] })).await?;
        found.retain(Container::is_member);
        Ok(found)
    }

    /// Creates a container of `pod`; tries again as long as what is in the way can be cleared.
    async fn create(&self, name: &str, pod: &str, body: &Value, repeat: &str) -> Result<(), EngineError> {
        let path = format!("containers/create?name={}", query(name));
        let start = Instant::now();
        let mut tries = interval(TRY);
        loop {
            tries.tick().await;
            let answer = self.call(Method::POST, &path, Some(body), repeat, MAKE).await?;
            let cleared = match answer.status {
                StatusCode::CREATED => return Ok(()),
                StatusCode::CONFLICT => self.clear_leftover(name, pod).await?,
                StatusCode::NOT_FOUND => self.bring_pause(body).await?,
                _ => false,
            };
            if !cleared || start.elapsed() > MAKE {
                return Err(refusal(&answer, repeat));
            }
        }
    }

    /// Removes a container of this pod that was created and never started: a request goes on after the kestack that
    /// made it was killed (docs/containers.md §0, fact 18), and may come to its end only now. Until it does, the name
    /// is taken and nobody has it. True if there is nobody now.
    async fn clear_leftover(&self, name: &str, pod: &str) -> Result<bool, EngineError> {
        match self.inspect(name).await? {
            None => Ok(true),
            Some(holder) if holder.is_of(pod) && holder.is_unused() => self.discard(&holder).await.map(|()| true),
            Some(_) => Ok(false),
        }
    }

    /// Loads the image of infra containers if that is the one that `body` misses. True if it did.
    async fn bring_pause(&self, body: &Value) -> Result<bool, EngineError> {
        let Some(archive) = image::pause().filter(|archive| body["Image"] == archive.reference()) else {
            return Ok(false);
        };
        if self.compat.describe(archive.reference()).await?.is_some() {
            return Ok(false);
        }
        self.compat.load(archive).await?;
        Ok(true)
    }

    /// If a port was taken by another container, says by which: better than naming Docker's own process.
    async fn name_holder(&self, mut error: EngineError) -> EngineError {
        let EngineError::Refused { obstacle: Obstacle::TakenPort(port), message, hint, .. } = &mut error else {
            return error;
        };
        *hint = match self.publishing(*port).await {
            Some(holder) => Some(format!(
                "{what} publishes port {port}: stop it with `docker stop {name}`, or choose another port in \
                 kestack.yaml (0 takes a free one)",
                what = holder.title(),
                name = holder.name(),
            )),
            None if message.contains("port is already allocated") => Some(format!(
                "Docker keeps port {port} for a container that no longer exists: restart it \
                 (`sudo systemctl restart docker`), or choose another port in kestack.yaml (0 takes a free one)"
            )),
            None => hint.take(),
        };
        error
    }

    async fn publishing(&self, port: u16) -> Option<Container> {
        let filter = json!({ "publish": [port.to_string()], "status": ["running"] });
        self.containers(&filter).await.ok()?.into_iter().next()
    }

    /// One attempt to stop and remove all that carries the pod's name. Members end side by side, each within its own
    /// stop timeout and while the network still exists. True if there was nothing.
    async fn remove_once(&self, pod: &str) -> Result<bool, EngineError> {
        let (infra, members): (Vec<_>, Vec<_>) = self.members(pod).await?.into_iter().partition(Container::is_infra);
        if infra.is_empty() && members.is_empty() {
            return Ok(true);
        }
        let stops = join_all(members.iter().map(|member| self.stop(member))).await;
        for error in stops.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "a container does not stop");
        }
        let removals = members.iter().chain(&infra).map(|container| self.discard(container));
        join_all(removals).await.into_iter().collect::<Result<Vec<()>, _>>().map(|_| false)
    }

    /// Removes a container with its processes, also if Docker does not know that it has any.
    async fn discard(&self, container: &Container) -> Result<(), EngineError> {
        if !container.running() && !self.info.is_elsewhere() {
            forgotten::end(&container.id, container.name()).await?;
        }
        self.remove(&container.id).await
    }

    /// Removes a container, running or not. If somebody else is at it, returns when that is done.
    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        match self.compat.remove_container(container).await {
            Err(EngineError::Refused { obstacle: Obstacle::Conflict, call, .. }) => {
                let path = format!("containers/{container}/wait?condition=removed");
                self.call(Method::POST, &path, None, &call, STOP).await.map(drop)
            }
            other => other,
        }
    }

    /// What this machine can know of a pod.
    fn as_seen_here(&self, mut pod: PodState) -> PodState {
        if self.info.is_elsewhere() {
            pod.containers.iter_mut().for_each(|container| container.pid = None);
        }
        pod
    }

    /// Stops a container within the time that it was created with.
    async fn stop(&self, container: &Container) -> Result<(), EngineError> {
        let repeat = format!("docker stop {}", container.name());
        let answer = self.call(Method::POST, &format!("containers/{}/stop", container.id), None, &repeat, STOP).await?;
        let stopped = answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED;
        if stopped || answer.status == StatusCode::NOT_FOUND { Ok(()) } else { Err(refusal(&answer, &repeat)) }
    }
}

#[async_trait]
impl Engine for Docker {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn images(&self) -> Result<&dyn ImageStore, EngineError> {
        Ok(&self.compat)
    }

    /// Docker separates the parts of a mount by colons, and has no way to write one.
    fn check_mount(&self, folder: &Path) -> Result<(), EngineError> {
        if !folder.to_string_lossy().contains(':') {
            return Ok(());
        }
        Err(EngineError::NotFound(format!(
            "Docker cannot mount '{}': its path has a colon\n  choose another folder with --dir, KESTACK_DIR or `dir:` in \
             kestack.yaml",
            folder.display()
        )))
    }

    /// A container is made, and never started, with a folder that has just got a random name: Docker refuses it if it does not
    /// see that folder.
    async fn check_shared(&self, folder: &Path) -> Result<(), EngineError> {
        let Some(image) = image::pause().filter(|_| self.is_apart) else { return Ok(()) };
        let nearest = folder.ancestors().find(|above| above.is_dir()).unwrap_or(folder);
        let probe = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(nearest);
        let probe = probe
            .map_err(|error| EngineError::NotFound(format!("cannot write to '{}': {error}", nearest.display())))?;
        let body = body::probe(image.reference(), probe.path(), PROBE);
        let made = self.create(PROBE, PROBE, &body, &format!("docker create --name {PROBE}")).await;
        match made {
            Ok(()) => self.remove(PROBE).await,
            Err(error) if error.obstacle() == Some(Obstacle::UnsharedFolder) => {
                Err(EngineError::NotFound(not_shared(&self.info.address, nearest)))
            }
            Err(error) => Err(error),
        }
    }

    /// A container that would be the pod's infra by name, but is not ours, is a pod that kestack did not make.
    async fn pod(&self, name: &str) -> Result<Option<PodState>, EngineError> {
        let mut members = self.members(name).await?;
        if members.is_empty() {
            members.extend(self.inspect(&infra_name(name)).await?);
        }
        Ok(answer::pod_state(name, &members).map(|pod| self.as_seen_here(pod)))
    }

    async fn pods(&self) -> Result<Vec<PodState>, EngineError> {
        let mut ours = self.containers(&json!({ "label": [LABEL_STACK, LABEL_POD] })).await?;
        ours.retain(Container::is_member);
        Ok(answer::pod_states(ours).into_iter().map(|pod| self.as_seen_here(pod)).collect())
    }

    async fn create_pod(&self, spec: &PodSpec) -> Result<(), EngineError> {
        let infra = infra_name(&spec.name);
        let Some(image) = image::pause() else {
            return Err(EngineError::NotFound(format!(
                "pods on Docker are not supported on this machine's processor, {}\n  use Podman: `--engine podman`",
                std::env::consts::ARCH
            )));
        };
        let repeat = format!("docker create --name {infra} {}", image.reference());
        self.create(&infra, &spec.name, &body::infra(spec, image.reference()), &repeat).await?;
        let Err(error) = self.compat.start_container(&infra).await else { return Ok(()) };
        let error = self.name_holder(error).await;
        // A pod without a network is of no use; what stopped it from starting is the news, not this.
        if let Err(error) = self.remove_pod(&spec.name).await {
            tracing::warn!(%error, "the pod that did not start could not be removed");
        }
        Err(error)
    }

    async fn remove_pod(&self, name: &str) -> Result<(), EngineError> {
        for _ in 1..REMOVALS {
            match self.remove_once(name).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => tracing::debug!(%error, "removing the pod again"),
            }
        }
        self.remove_once(name).await.map(drop)
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        let network = format!("container:{}", infra_name(&spec.pod));
        let repeat = format!("docker create --network {network} --name {} {}", spec.name, spec.image);
        let body = body::member(spec, &network, self.user).map_err(|path| EngineError::Answer {
            call: repeat.clone(),
            detail: format!("Docker cannot mount '{}': its path has a colon", path.display()),
        })?;
        self.create(&spec.name, &spec.pod, &body, &repeat).await
    }

    async fn start_container(&self, name: &str) -> Result<(), EngineError> {
        self.compat.start_container(name).await
    }

    async fn stop_container(&self, name: &str, timeout: Duration) -> Result<(), EngineError> {
        self.compat.stop_container(name, timeout).await
    }

    async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        self.remove(name).await
    }

    async fn signal_container(&self, name: &str, signal: Signal) -> Result<(), EngineError> {
        self.compat.signal_container(name, signal).await
    }

    async fn logs(&self, name: &str, tail: Option<u32>, follow: bool) -> Result<mpsc::Receiver<LogLine>, EngineError> {
        let repeat = format!("docker logs {name}");
        let known = self.call(Method::GET, &format!("containers/{name}/json"), None, &repeat, LOOK).await?;
        if !known.status.is_success() {
            return Err(refusal(&known, &repeat));
        }
        Ok(self.compat.logs(name, tail, follow))
    }
}

/// Name of the container that holds a pod's network.
fn infra_name(pod: &str) -> String {
    format!("{pod}-{INFRA}")
}

fn not_shared(docker: &str, folder: &Path) -> String {
    format!(
        "the Docker at {docker} does not see '{}'\n  kestack and its containers work on the same files: choose a folder that \
         this Docker sees under the same path with --dir or KESTACK_DIR (in a job of GitLab's CI one below \
         $CI_PROJECT_DIR), or do without: --engine process",
        folder.display()
    )
}

fn refusal(answer: &Answer, repeat: &str) -> EngineError {
    refused(repeat.to_owned(), answer.status.as_u16(), failure_text(answer))
}
