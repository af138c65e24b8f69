//! Docker's answers, and their meaning for a stack.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;

use super::super::compat::bare_id;
use super::super::host::is_of_container;
use super::super::{ContainerState, LABEL_DIGEST, LABEL_ROLE, PodState, PortMapping};
use super::{INFRA, LABEL_POD, infra_name};

/// A container, as `containers/json` lists it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) id: String,
}

/// A container, as `containers/{}/json` describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    pub(super) id: String,
    /// With a slash before it.
    name: String,
    image: String,
    state: State,
    config: Config,
    host_config: HostConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    #[serde(default)]
    exit_code: i64,
    #[serde(default)]
    pid: i32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    /// By `<port>/<protocol>` inside.
    port_bindings: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(default)]
    host_ip: String,
    #[serde(default)]
    host_port: String,
}

impl Container {
    pub(super) fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    /// What people know it by: the pod it is in, if it is one of ours.
    pub(super) fn title(&self) -> String {
        match self.label(LABEL_POD) {
            Some(pod) => format!("pod '{pod}'"),
            None => format!("container '{}'", self.name()),
        }
    }

    /// True if it is in a pod of ours. Its name says so as well as its labels: those of an image are its containers', too.
    pub(super) fn is_member(&self) -> bool {
        let of = |pod: &str| self.name().strip_prefix(pod).is_some_and(|rest| rest.starts_with('-'));
        self.label(LABEL_POD).is_some_and(of)
    }

    /// True if it holds its pod's network.
    pub(super) fn is_infra(&self) -> bool {
        let pod = self.label(LABEL_POD).unwrap_or_default();
        self.label(LABEL_ROLE) == Some(INFRA) && self.name() == infra_name(pod)
    }

    pub(super) fn is_of(&self, pod: &str) -> bool {
        self.label(LABEL_POD) == Some(pod)
    }

    /// True if it was created and never ran.
    pub(super) fn is_unused(&self) -> bool {
        self.state.status == "created"
    }

    pub(super) fn running(&self) -> bool {
        self.state.status == "running"
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(name).map(String::as_str)
    }

    /// The labels that it was asked for, without those that make it part of a pod.
    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.config.labels.clone().unwrap_or_default();
        labels.remove(LABEL_POD);
        if self.is_infra() {
            labels.remove(LABEL_ROLE);
        }
        labels
    }

    /// Published TCP ports, also while it does not run.
    fn ports(&self) -> Vec<PortMapping> {
        let mut ports = Vec::new();
        for (inside, bindings) in self.host_config.port_bindings.iter().flatten() {
            let Some(container_port) = inside.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else { continue };
            ports.extend(bindings.iter().flatten().filter_map(|binding| {
                let host_ip = binding.host_ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                Some(PortMapping { host_ip, host_port: binding.host_port.parse().ok()?, container_port })
            }));
        }
        ports
    }

    fn state(&self) -> ContainerState {
        let ended = matches!(self.state.status.as_str(), "exited" | "dead");
        ContainerState {
            name: self.name().to_owned(),
            labels: self.labels(),
            status: self.state.status.clone(),
            running: self.running(),
            exit_code: ended.then_some(self.state.exit_code),
            image: bare_id(self.image.clone()),
            pid: Some(self.state.pid).filter(|pid| self.running() && is_of_container(*pid)),
        }
    }
}

/// Puts a pod together from what carries its name; `None` if nothing does. Without its infra container it has the labels
/// of what is left of it, but no digest: nobody wants it as a pod.
pub(super) fn pod_state(name: &str, containers: &[Container]) -> Option<PodState> {
    let first = containers.first()?;
    let infra = containers.iter().find(|container| container.is_infra());
    let mut labels = infra.unwrap_or(first).labels();
    if infra.is_none() {
        labels.remove(LABEL_DIGEST);
    }
    let mut members: Vec<_> =
        containers.iter().filter(|container| !container.is_infra()).map(Container::state).collect();
    members.sort_by(|one, other| one.name.cmp(&other.name));
    Some(PodState {
        name: name.to_owned(),
        labels,
        running: infra.is_some_and(Container::running),
        ports: infra.map(Container::ports).unwrap_or_default(),
        containers: members,
    })
}

/// Sorts containers into their pods.
pub(super) fn pod_states(containers: Vec<Container>) -> Vec<PodState> {
    let mut pods: BTreeMap<String, Vec<Container>> = BTreeMap::new();
    for container in containers {
        if let Some(pod) = container.label(LABEL_POD).map(str::to_owned) {
            pods.entry(pod).or_default().push(container);
        }
    }
    pods.iter().filter_map(|(name, containers)| pod_state(name, containers)).collect()
}
