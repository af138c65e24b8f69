//! The two servers as the rest of kestack knows servers: an engine that has exactly them, and starts and stops none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::process::Child;
use tokio::sync::mpsc;

use crate::engine::process::Identity;
use crate::engine::{
    ContainerSpec, ContainerState, Engine, EngineError, EngineInfo, ImageStore, LABEL_ROLE, LABEL_STACK, LogLine,
    Obstacle, PodSpec, PodState, Signal,
};

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Kes,
    Minio,
}

/// Their processes, as long as these live.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<Mutex<Processes>>);

#[derive(Debug, Default)]
struct Processes {
    kes: Option<Identity>,
    minio: Option<Identity>,
}

impl Running {
    fn processes(&self) -> MutexGuard<'_, Processes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server that was started, for the first time or again.
    pub(super) fn started(&self, role: Role, child: &Child) {
        let identity = child.id().and_then(|pid| Identity::of(pid.cast_signed()));
        let mut processes = self.processes();
        match role {
            Role::Kes => processes.kes = identity,
            Role::Minio => processes.minio = identity,
        }
    }

    fn of(&self, role: Role) -> Option<Identity> {
        let processes = self.processes();
        let identity = match role {
            Role::Kes => &processes.kes,
            Role::Minio => &processes.minio,
        };
        identity.clone().filter(Identity::alive)
    }
}

/// The servers of a stack in the foreground.
#[derive(Debug)]
pub(super) struct Foreground {
    pub(super) info: EngineInfo,
    pub(super) running: Running,
    /// Names of KES's server and of MinIO's.
    pub(super) kes: String,
    pub(super) minio: String,
}

impl Foreground {
    fn state(&self, role: Role) -> ContainerState {
        let (name, word) = match role {
            Role::Kes => (&self.kes, "kes"),
            Role::Minio => (&self.minio, "minio"),
        };
        let process = self.running.of(role);
        ContainerState {
            name: name.clone(),
            labels: BTreeMap::from([(LABEL_ROLE.to_owned(), word.to_owned())]),
            status: if process.is_some() { "running" } else { "exited" }.to_owned(),
            running: process.is_some(),
            exit_code: None,
            image: String::new(),
            pid: process.map(|process| process.pid),
        }
    }

    fn role(&self, name: &str, call: &str) -> Result<Role, EngineError> {
        match name {
            name if name == self.kes => Ok(Role::Kes),
            name if name == self.minio => Ok(Role::Minio),
            _ => Err(refusal(call, format!("'{name}' is not one of the two servers"))),
        }
    }
}

#[async_trait]
impl Engine for Foreground {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn images(&self) -> Result<&dyn ImageStore, EngineError> {
        Err(fixed("use images"))
    }

    async fn image(&self, _: &str) -> Result<Option<String>, EngineError> {
        Ok(None)
    }

    async fn pod(&self, name: &str) -> Result<Option<PodState>, EngineError> {
        let labels = BTreeMap::from([(LABEL_STACK.to_owned(), name.to_owned())]);
        let containers = [Role::Kes, Role::Minio].map(|role| self.state(role)).into();
        Ok(Some(PodState { name: name.to_owned(), labels, running: true, ports: vec![], containers }))
    }

    async fn pods(&self) -> Result<Vec<PodState>, EngineError> {
        Ok(vec![])
    }

    async fn create_pod(&self, spec: &PodSpec) -> Result<(), EngineError> {
        Err(fixed(&format!("make pod {}", spec.name)))
    }

    async fn remove_pod(&self, name: &str) -> Result<(), EngineError> {
        Err(fixed(&format!("remove {name}")))
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        Err(fixed(&format!("make {}", spec.name)))
    }

    async fn start_container(&self, name: &str) -> Result<(), EngineError> {
        Err(fixed(&format!("start {name}")))
    }

    async fn stop_container(&self, name: &str, _: Duration) -> Result<(), EngineError> {
        Err(fixed(&format!("stop {name}")))
    }

    async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        Err(fixed(&format!("remove {name}")))
    }

    async fn signal_container(&self, name: &str, signal: Signal) -> Result<(), EngineError> {
        let call = format!("signal {name}");
        let process = self.running.of(self.role(name, &call)?);
        let process = process.ok_or_else(|| refusal(&call, format!("'{name}' does not run just now")))?;
        process.signal(signal.into()).map_err(|source| EngineError::Connection { call, source: Box::new(source) })
    }

    async fn logs(&self, name: &str, _: Option<u32>, _: bool) -> Result<mpsc::Receiver<LogLine>, EngineError> {
        Err(fixed(&format!("logs {name}")))
    }
}

/// What only the end of the program does.
fn fixed(call: &str) -> EngineError {
    refusal(call, "the servers of a stack in the foreground start and stop with it".to_owned())
}

fn refusal(call: &str, message: String) -> EngineError {
    let hint = Some("bring a stack up with `kestack up` for that".to_owned());
    EngineError::Refused { call: call.to_owned(), obstacle: Obstacle::Other, message, hint }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::EngineKind;

    #[tokio::test]
    async fn a_signal_reaches_the_server_that_runs_now() {
        let running = Running::default();
        let info = EngineInfo {
            kind: EngineKind::Process,
            version: String::new(),
            rootless: true,
            owner: None,
            address: String::new(),
        };
        let engine = Foreground { info, running: running.clone(), kes: "a-kes".into(), minio: "a-minio".into() };
        assert!(engine.signal_container("a-kes", Signal::Hup).await.is_err(), "it does not run yet");
        let mut child = tokio::process::Command::new("sleep").arg("100").kill_on_drop(true).spawn().unwrap();
        running.started(Role::Kes, &child);
        let pod = engine.pod("a").await.unwrap().unwrap();
        let states: Vec<_> = pod.containers.iter().map(|one| (one.name.as_str(), one.running, one.pid)).collect();
        let pid = child.id().map(u32::cast_signed);
        assert_eq!(states, [("a-kes", true, pid), ("a-minio", false, None)]);
        assert!(engine.signal_container("b-kes", Signal::Hup).await.is_err());
        engine.signal_container("a-kes", Signal::Hup).await.unwrap();
        assert!(!child.wait().await.unwrap().success());
        assert!(engine.signal_container("a-kes", Signal::Hup).await.is_err(), "it is gone");
        assert!(engine.stop_container("a-kes", Duration::ZERO).await.is_err());
    }
}
