//! Podman: pods by its own API (libpod), everything else by the calls it shares with Docker.
//!
//! libpod is addressed as `/v4.0.0/libpod`, which every release from 4.0 on answers in the same shape
//! (docs/containers.md §1.1). `/info` and `/version` are never asked: they cost up to half a second.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::compat::{Compat, LEAST_API};
use super::hint::refused;
use super::transport::{Answer, Socket, query};
use super::user::User;
use super::{
    ContainerSpec, Engine, EngineError, EngineInfo, ImageStore, LABEL_STACK, LogLine, Obstacle, PodSpec, PodState,
    PortMapping, Signal,
};
use crate::manifest::EngineKind;

mod answer;
mod body;
mod forwarding;
#[cfg(test)]
mod tests;

/// How long a call may take that only looks.
const LOOK: Duration = Duration::from_secs(15);
/// How long making and starting may take on a busy host.
const MAKE: Duration = Duration::from_secs(60);
/// How long stopping a complete pod may take: the longest stop timeout of its members, and then some.
const STOP: Duration = Duration::from_secs(60);
/// The network that pods join by default.
const NETWORK: &str = "podman";
/// How often removing a pod is tried: after the death of a `conmon` only the second attempt succeeds
/// (docs/containers.md §0, fact 19).
const REMOVALS: usize = 3;

/// Podman behind its socket.
#[derive(Debug)]
pub(super) struct Podman {
    info: EngineInfo,
    socket: Socket,
    compat: Compat,
    user: User,
}

impl Podman {
    pub(super) fn new(socket: Socket, version: String, rootless: bool) -> Result<Self, EngineError> {
        let address = socket.address();
        // Podman answers any version of the shared API, in the shape of its own release.
        let compat = Compat::new(socket.clone(), "podman", LEAST_API)?;
        let user = User::on(rootless);
        let info = EngineInfo { kind: EngineKind::Podman, version, rootless, owner: user.owner(), address };
        Ok(Self { info, socket, compat, user })
    }

    /// One libpod call. Any answer is fine here; `repeat` is the call as the user can repeat it.
    async fn libpod(
        &self,
        method: Method,
        path: &str,
        json: Option<&Value>,
        repeat: &str,
        deadline: Duration,
    ) -> Result<Answer, EngineError> {
        let path = format!("/v4.0.0/libpod/{path}");
        let answer = self.socket.call(method, &path, json, deadline).await;
        answer.map_err(|source| EngineError::Connection { call: repeat.to_owned(), source: Box::new(source) })
    }

    /// Asks for something; `None` if it does not exist.
    async fn look<T: DeserializeOwned>(&self, path: &str, repeat: &str) -> Result<Option<T>, EngineError> {
        let answer = self.libpod(Method::GET, path, None, repeat, LOOK).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => parse(&answer, repeat).map(Some),
            // removed between Podman's two looks for it, by a `down` that was killed: the engine goes on
            _ if failure_text(&answer).contains("no such pod") => Ok(None),
            _ => Err(refusal(&answer, repeat)),
        }
    }

    async fn containers(&self, filters: Option<Value>) -> Result<Vec<answer::Container>, EngineError> {
        let filters = filters.map(|filters| format!("&filters={}", query(&filters.to_string()))).unwrap_or_default();
        let path = format!("containers/json?all=true{filters}");
        let found: Option<Option<Vec<answer::Container>>> = self.look(&path, "podman ps --all").await?;
        Ok(found.flatten().unwrap_or_default())
    }

    async fn start_pod(&self, name: &str) -> Result<(), EngineError> {
        let repeat = format!("podman pod start {name}");
        let answer = self.libpod(Method::POST, &format!("pods/{name}/start"), None, &repeat, MAKE).await?;
        match report(&answer) {
            None => Ok(()),
            Some(message) => Err(self.name_holder(refused(repeat, answer.status.as_u16(), message).of_start()).await),
        }
    }

    /// If a port was taken by another pod, says by which: better than naming Podman's own process.
    async fn name_holder(&self, mut error: EngineError) -> EngineError {
        if let EngineError::Refused { obstacle: Obstacle::TakenPort(port), hint, .. } = &mut error
            && let Some(pod) = self.pod_publishing(*port).await
        {
            *hint = Some(format!(
                "pod '{pod}' publishes port {port}: stop it with `podman pod stop {pod}`, or choose another port in \
                 kestack.yaml (0 takes a free one)"
            ));
        }
        error
    }

    async fn pod_publishing(&self, port: u16) -> Option<String> {
        let running = json!({ "status": ["running"] });
        let containers = self.containers(Some(running)).await.ok()?;
        let holder =
            containers.into_iter().find(|container| !container.pod_name.is_empty() && container.publishes(port));
        holder.map(|container| container.pod_name)
    }

    /// Takes back what a Podman that was killed left forwarding these ports.
    async fn clear_forwarding(&self, ports: &[PortMapping]) {
        if self.info.rootless {
            return;
        }
        let Some(leftover) = forwarding::look(ports).await else { return };
        let all = self.containers(None).await;
        let is_used = |container: &answer::Container| {
            !container.is_at_rest() && leftover.ports.iter().any(|port| container.publishes(*port))
        };
        // who cannot be asked may be using them
        if all.is_ok_and(|all| !all.iter().any(is_used)) {
            leftover.remove().await;
        }
    }

    /// One attempt to stop and remove a pod. All members get the signal to end at once, then the removal waits for each
    /// within its stop timeout: that took 370 ms where a stop and a removal took 450, and a forced removal alone more
    /// (docs/containers.md §0, fact 6); where it fails, the removal that follows kills.
    async fn remove_once(&self, name: &str) -> Result<(), EngineError> {
        let stop = format!("podman pod kill --signal TERM {name}");
        match self.libpod(Method::POST, &format!("pods/{name}/kill?signal=SIGTERM"), None, &stop, STOP).await {
            Ok(stopped) if stopped.status == StatusCode::NOT_FOUND => return Ok(()),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the pod does not stop"),
        }
        let remove = format!("podman pod rm --force {name}");
        let removed = self.libpod(Method::DELETE, &format!("pods/{name}?force=true"), None, &remove, STOP).await?;
        match removed.status {
            StatusCode::OK | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(refusal(&removed, &remove)),
        }
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        let repeat = format!("podman create --pod {} --name {} {}", spec.pod, spec.name, spec.image);
        let body = body::container(spec, self.user);
        let answer = self.libpod(Method::POST, "containers/create", Some(&body), &repeat, MAKE).await?;
        if answer.status == StatusCode::CREATED { Ok(()) } else { Err(refusal(&answer, &repeat)) }
    }

    /// If a name is taken by layers alone, of a container that Podman was killed while it made, removes them: it knows no
    /// such container, so nobody else can. True if they are gone.
    async fn clear_storage(&self, error: &EngineError) -> Result<bool, EngineError> {
        let EngineError::Refused { message, .. } = error else { return Ok(false) };
        let Some(id) = answer::holder_of_name(message) else { return Ok(false) };
        let known = format!("podman container exists {id}");
        let answer = self.libpod(Method::GET, &format!("containers/{id}/exists"), None, &known, LOOK).await?;
        if answer.status != StatusCode::NOT_FOUND {
            return Ok(false);
        }
        let repeat = format!("podman rm --force {id}");
        let path = format!("containers/{id}?force=true");
        Ok(self.libpod(Method::DELETE, &path, None, &repeat, STOP).await?.status.is_success())
    }

    /// Removes a pod that publishes these ports, and all that its network left.
    async fn remove(&self, name: &str, ports: &[PortMapping]) -> Result<(), EngineError> {
        let mut removed = self.remove_once(name).await;
        for _ in 1..REMOVALS {
            if let Err(error) = &removed {
                tracing::debug!(%error, "removing the pod again");
                removed = self.remove_once(name).await;
            }
        }
        self.clear_forwarding(ports).await;
        removed
    }
}

#[async_trait]
impl Engine for Podman {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn images(&self) -> Result<&dyn ImageStore, EngineError> {
        Ok(&self.compat)
    }

    /// Rootful Podman forwards to the pod's own address, of which there is one for IPv6 only if the network has it.
    /// Rootless Podman listens itself.
    async fn check_address(&self, host: IpAddr) -> Result<(), EngineError> {
        if host.is_ipv4() || self.info.rootless {
            return Ok(());
        }
        let repeat = format!("podman network inspect {NETWORK}");
        let network: Option<answer::Network> = self.look(&format!("networks/{NETWORK}/json"), &repeat).await?;
        if network.is_none_or(|network| network.ipv6_enabled) {
            return Ok(());
        }
        Err(EngineError::NotFound(format!(
            "`host: {host}` cannot work: Podman's network '{NETWORK}' has no IPv6, and ports published there lead nowhere\n  \
             write `host: 127.0.0.1` in kestack.yaml, or choose another engine with --engine"
        )))
    }

    async fn pod(&self, name: &str) -> Result<Option<PodState>, EngineError> {
        let repeat = format!("podman pod inspect {name}");
        let Some(pod) = self.look::<answer::Pod>(&format!("pods/{name}/json"), &repeat).await? else {
            return Ok(None);
        };
        let members = self.containers(Some(json!({ "pod": [&pod.id] }))).await?;
        Ok(Some(answer::pod_state(pod, &members)))
    }

    async fn pods(&self) -> Result<Vec<PodState>, EngineError> {
        let ours = json!({ "label": [LABEL_STACK] });
        let path = format!("pods/json?filters={}", query(&ours.to_string()));
        let pods = self.look::<Option<Vec<answer::Pod>>>(&path, "podman pod ls").await?.flatten().unwrap_or_default();
        let members = self.containers(Some(ours)).await?;
        Ok(pods.into_iter().map(|pod| answer::pod_state(pod, &members)).collect())
    }

    async fn create_pod(&self, spec: &PodSpec) -> Result<(), EngineError> {
        self.clear_forwarding(&spec.ports).await;
        let repeat = format!("podman pod create --name {}", spec.name);
        let body = body::pod(spec, self.info.rootless);
        let answer = self.libpod(Method::POST, "pods/create", Some(&body), &repeat, MAKE).await?;
        if answer.status != StatusCode::CREATED {
            return Err(refusal(&answer, &repeat));
        }
        let started = self.start_pod(&spec.name).await;
        if started.is_err() {
            // A pod without a network is of no use; what stopped it from starting is the news, not this.
            if let Err(error) = self.remove(&spec.name, &spec.ports).await {
                tracing::warn!(%error, "the pod that did not start could not be removed");
            }
        }
        started
    }

    async fn remove_pod(&self, name: &str) -> Result<(), EngineError> {
        // only rootful Podman leaves forwarding behind
        let pod = if self.info.rootless { None } else { self.pod(name).await.ok().flatten() };
        self.remove(name, &pod.map(|pod| pod.ports).unwrap_or_default()).await
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        match self.create(spec).await {
            Err(error) if self.clear_storage(&error).await? => self.create(spec).await,
            created => created,
        }
    }

    async fn start_container(&self, name: &str) -> Result<(), EngineError> {
        self.compat.start_container(name).await
    }

    async fn stop_container(&self, name: &str, timeout: Duration) -> Result<(), EngineError> {
        self.compat.stop_container(name, timeout).await
    }

    async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        self.compat.remove_container(name).await
    }

    async fn signal_container(&self, name: &str, signal: Signal) -> Result<(), EngineError> {
        self.compat.signal_container(name, signal).await
    }

    async fn logs(&self, name: &str, tail: Option<u32>, follow: bool) -> Result<mpsc::Receiver<LogLine>, EngineError> {
        let repeat = format!("podman logs {name}");
        let known = self.libpod(Method::GET, &format!("containers/{name}/exists"), None, &repeat, LOOK).await?;
        if !known.status.is_success() {
            return Err(refusal(&known, &repeat));
        }
        Ok(self.compat.logs(name, tail, follow))
    }
}

fn parse<T: DeserializeOwned>(answer: &Answer, repeat: &str) -> Result<T, EngineError> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| EngineError::Answer { call: repeat.to_owned(), detail: error.to_string() })
}

/// The failures in the answer of a pod's start, `None` if it started.
fn report(answer: &Answer) -> Option<String> {
    if answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED {
        return None;
    }
    match serde_json::from_slice::<answer::PodReport>(&answer.body) {
        Ok(report) if !report.errs.is_empty() => Some(report.errs.join("; ")),
        _ => Some(failure_text(answer)),
    }
}

fn refusal(answer: &Answer, repeat: &str) -> EngineError {
    refused(repeat.to_owned(), answer.status.as_u16(), failure_text(answer))
}

/// What Podman says of a failure: its message, which ends with the stable cause in most releases.
fn failure_text(answer: &Answer) -> String {
    match serde_json::from_slice::<answer::Failure>(&answer.body) {
        Ok(failure) if failure.message.is_empty() => failure.cause,
        Ok(failure) if failure.message.contains(&failure.cause) => failure.message,
        Ok(failure) => format!("{}: {}", failure.message, failure.cause),
        Err(_) => String::from_utf8_lossy(&answer.body).trim().to_owned(),
    }
}
