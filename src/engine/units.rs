//! An exported stack whose servers are units of systemd. Only systemd decides how they run: nothing is created or
//! removed here. Starting, stopping and signals go through `systemctl`, which knows the main process of each unit.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{
    ContainerSpec, ContainerState, Engine, EngineError, EngineInfo, ImageStore, LABEL_ROLE, LABEL_STACK, LogLine,
    Obstacle, PodSpec, PodState, Signal,
};
use crate::host::disk::is_absent;
use crate::manifest::EngineKind;

/// The engine's name.
pub const KIND: &str = "systemd";
/// Where an export says what runs it, below the stack's folder.
pub(crate) const RECORD: &str = "config/exported.json";
/// How long `systemctl` may take beyond what the unit's own times are.
const DEADLINE: Duration = Duration::from_secs(90);

/// The note in an exported folder that names the tool which runs it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exported {
    /// The orchestrator: `compose`, `kube`, `quadlet`, `systemd`.
    pub target: String,
    /// With systemd, the unit of each server, by the name that its container has elsewhere.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<String, String>,
}

/// The units of one stack.
#[derive(Debug)]
pub struct Units {
    info: EngineInfo,
    units: BTreeMap<String, String>,
}

/// The units of the stack in this folder; `None` if systemd does not run it.
///
/// # Errors
/// [`EngineError::Connection`] if what the export says cannot be read.
fn recorded(stack: &Path) -> Result<Option<BTreeMap<String, String>>, EngineError> {
    let path = stack.join(RECORD);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if is_absent(&error) => return Ok(None),
        text => text.map_err(failed(&format!("read '{}'", path.display())))?,
    };
    let exported: Exported = serde_json::from_str(&text).map_err(|error| EngineError::Answer {
        call: format!("read '{}'", path.display()),
        detail: format!("{error}; export the stack again"),
    })?;
    Ok((exported.target == KIND).then_some(exported.units))
}

/// True if systemd runs the stack in this folder.
pub fn is_there(stack: &Path) -> bool {
    matches!(recorded(stack), Ok(Some(_)))
}

impl Units {
    /// The units of the stack in this folder; `None` if systemd does not run it.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] if this machine has no systemd.
    pub fn of(stack: &Path) -> Result<Option<Self>, EngineError> {
        let Some(units) = recorded(stack)? else { return Ok(None) };
        let said = std::process::Command::new("systemctl").arg("--version").output().map_err(|error| {
            EngineError::NotFound(format!(
                "the stack in '{}' was exported for systemd, but `systemctl` does not run here: {error}\n  work on it \
                 on the machine whose units run it",
                stack.display()
            ))
        })?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let info = EngineInfo {
            kind: EngineKind::Systemd,
            version: said.split_whitespace().nth(1).unwrap_or("unknown").to_owned(),
            rootless: !rustix::process::geteuid().is_root(),
            owner: None,
            address: stack.display().to_string(),
        };
        Ok(Some(Self { info, units }))
    }

    fn unit(&self, name: &str) -> Result<&str, EngineError> {
        let unit = self.units.get(name).map(String::as_str);
        unit.ok_or_else(|| refused(&format!("systemctl status {name}"), format!("no unit is '{name}'"), AGAIN))
    }

    async fn systemctl(&self, arguments: &[&str]) -> Result<String, EngineError> {
        let call = format!("systemctl {}", arguments.join(" "));
        let mut command = Command::new("systemctl");
        let run = command.args(arguments).kill_on_drop(true).output();
        let output = timeout(DEADLINE, run).await.map_err(|elapsed| connection(&call, elapsed))?;
        let Output { status, stdout, stderr } = output.map_err(failed(&call))?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).trim().to_owned());
        }
        Err(refused(&call, String::from_utf8_lossy(&stderr).trim().to_owned(), "it may need root: try with `sudo`"))
    }
}

impl Units {
    async fn state(&self, container: &str, unit: &str) -> Result<ContainerState, EngineError> {
        let said = self.systemctl(&["show", "--property=ActiveState,SubState,ExecMainStatus,MainPID", unit]).await?;
        Ok(state(container, &said))
    }
}

/// A unit as a container, by what `systemctl show` says of it.
fn state(container: &str, said: &str) -> ContainerState {
    let property = |name: &str| {
        let lines = said.lines().filter_map(|line| line.split_once('='));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value).next_back().unwrap_or_default()
    };
    let running = property("ActiveState") == "active";
    let role = if container.ends_with("-minio-server") { "minio" } else { "kes" };
    ContainerState {
        name: container.to_owned(),
        labels: BTreeMap::from([(LABEL_ROLE.to_owned(), role.to_owned())]),
        status: format!("{} ({})", property("ActiveState"), property("SubState")),
        running,
        exit_code: property("ExecMainStatus").parse().ok().filter(|_| !running),
        image: String::new(),
        pid: property("MainPID").parse().ok().filter(|pid| running && *pid > 0),
    }
}

#[async_trait]
impl Engine for Units {
    fn info(&self) -> &EngineInfo {
        &self.info
    }

    fn images(&self) -> Result<&dyn ImageStore, EngineError> {
        Err(theirs("use images"))
    }

    async fn image(&self, _: &str) -> Result<Option<String>, EngineError> {
        Ok(None)
    }

    /// What runs of the units; `None` if none of them does.
    async fn pod(&self, name: &str) -> Result<Option<PodState>, EngineError> {
        let asked = self.units.iter().map(|(container, unit)| self.state(container, unit));
        let containers = join_all(asked).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let running = containers.iter().any(|container| container.running);
        let labels = BTreeMap::from([(LABEL_STACK.to_owned(), name.to_owned())]);
        Ok(running.then(|| PodState { name: name.to_owned(), labels, running, ports: vec![], containers }))
    }

    async fn pods(&self) -> Result<Vec<PodState>, EngineError> {
        Ok(vec![])
    }

    async fn create_pod(&self, spec: &PodSpec) -> Result<(), EngineError> {
        Err(theirs(&format!("create pod {}", spec.name)))
    }

    async fn remove_pod(&self, name: &str) -> Result<(), EngineError> {
        Err(theirs(&format!("remove {name}")))
    }

    async fn create_container(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        Err(theirs(&format!("create {}", spec.name)))
    }

    async fn start_container(&self, name: &str) -> Result<(), EngineError> {
        self.systemctl(&["start", self.unit(name)?]).await.map(drop)
    }

    async fn stop_container(&self, name: &str, _: Duration) -> Result<(), EngineError> {
        self.systemctl(&["stop", self.unit(name)?]).await.map(drop)
    }

    async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        Err(theirs(&format!("remove {name}")))
    }

    async fn signal_container(&self, name: &str, signal: Signal) -> Result<(), EngineError> {
        let signal = match signal {
            Signal::Hup => "--signal=SIGHUP",
            Signal::Kill => "--signal=SIGKILL",
            Signal::Stop => "--signal=SIGSTOP",
            Signal::Cont => "--signal=SIGCONT",
        };
        self.systemctl(&["kill", signal, self.unit(name)?]).await.map(drop)
    }

    async fn logs(&self, name: &str, _: Option<u32>, _: bool) -> Result<mpsc::Receiver<LogLine>, EngineError> {
        let unit = self.unit(name)?;
        Err(refused(
            &format!("logs of {name}"),
            "systemd keeps them".into(),
            &format!("see them with `journalctl --unit {unit}`"),
        ))
    }
}

/// What to do about a unit that the export does not know.
const AGAIN: &str = "export the stack again";

fn theirs(call: &str) -> EngineError {
    refused(call, "systemd runs this stack".into(), "change kestack.yaml, export it again and run its `install`")
}

fn refused(call: &str, message: String, hint: &str) -> EngineError {
    EngineError::Refused { call: call.to_owned(), obstacle: Obstacle::Other, message, hint: Some(hint.to_owned()) }
}

fn failed(call: &str) -> impl FnOnce(std::io::Error) -> EngineError + use<> {
    let call = call.to_owned();
    move |error| connection(&call, error)
}

fn connection(call: &str, source: impl std::error::Error + Send + Sync + 'static) -> EngineError {
    EngineError::Connection { call: call.to_owned(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_what_systemctl_shows() {
        let runs = state("a-kes-server", "ActiveState=active\nSubState=running\nExecMainStatus=0\nMainPID=17\n");
        assert_eq!((runs.running, runs.pid, runs.exit_code), (true, Some(17), None));
        assert_eq!((runs.status.as_str(), runs.labels[LABEL_ROLE].as_str()), ("active (running)", "kes"));
        let failed = state("a-minio-server", "ActiveState=failed\nSubState=failed\nExecMainStatus=2\nMainPID=0\n");
        assert_eq!((failed.running, failed.pid, failed.exit_code), (false, None, Some(2)));
        assert_eq!((failed.status.as_str(), failed.labels[LABEL_ROLE].as_str()), ("failed (failed)", "minio"));
    }

    #[test]
    fn only_an_export_for_systemd_has_units() {
        let stack = tempfile::tempdir().unwrap();
        let record = stack.path().join(RECORD);
        assert!(!is_there(stack.path()));
        std::fs::create_dir(record.parent().unwrap()).unwrap();
        std::fs::write(&record, r#"{"target":"compose"}"#).unwrap();
        assert!(!is_there(stack.path()));
        std::fs::write(&record, r#"{"target":"systemd","units":{"a-kes-server":"kes"}}"#).unwrap();
        assert!(is_there(stack.path()));
        assert_eq!(recorded(stack.path()).unwrap().unwrap().get("a-kes-server").unwrap(), "kes");
        std::fs::write(&record, "{").unwrap();
        assert!(recorded(stack.path()).unwrap_err().to_string().contains("export the stack again"));
    }
}
