//! libpod's answers, and their meaning for a stack.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Deserializer};

use super::super::host::is_of_container;
use super::super::{ContainerState, PodState, PortMapping};

/// What is known of a network.
#[derive(Debug, Deserialize)]
pub(super) struct Network {
    /// True if it has addresses of IPv6.
    #[serde(default)]
    pub(super) ipv6_enabled: bool,
}

/// A pod, as `pods/json` lists and `pods/{}/json` describes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Pod {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) labels: BTreeMap<String, String>,
}

/// A container, as `containers/json` lists it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    #[serde(default, deserialize_with = "null_is_empty")]
    names: Vec<String>,
    #[serde(default)]
    pub(super) pod: String,
    #[serde(default)]
    pub(super) pod_name: String,
    #[serde(default)]
    is_infra: bool,
    #[serde(default)]
    state: String,
    #[serde(default)]
    exited: bool,
    #[serde(default)]
    exit_code: i64,
    #[serde(default)]
    pid: i32,
    #[serde(rename = "ImageID", default)]
    image_id: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    ports: Vec<Port>,
}

/// A range of published ports.
#[derive(Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are libpod's")]
struct Port {
    #[serde(default)]
    host_ip: String,
    host_port: u16,
    container_port: u16,
    #[serde(default)]
    range: u16,
}

/// The answer of `pods/{}/start` and `pods/{}/stop`, which report failures in a form of their own.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PodReport {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) errs: Vec<String>,
}

/// The answer of `containers/create` and `pods/create`.
#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    /// The stable word.
    #[serde(default)]
    pub(super) cause: String,
    #[serde(default)]
    pub(super) message: String,
}

impl Container {
    /// True if it, or the pod it is in, publishes this port of the host.
    pub(super) fn publishes(&self, host_port: u16) -> bool {
        self.ports().any(|port| port.host_port == host_port)
    }

    /// True if it has no network: it never ran, or has ended. One that is paused has its own.
    pub(super) fn is_at_rest(&self) -> bool {
        ["configured", "created", "exited", "stopped"].contains(&self.state.as_str())
    }

    fn running(&self) -> bool {
        self.state == "running"
    }

    fn ports(&self) -> impl Iterator<Item = PortMapping> {
        self.ports.iter().flat_map(|port| {
            let host_ip = port.host_ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            (0..port.range.max(1)).map(move |offset| PortMapping {
                host_ip,
                host_port: port.host_port.saturating_add(offset),
                container_port: port.container_port.saturating_add(offset),
            })
        })
    }

    fn state(&self) -> ContainerState {
        ContainerState {
            name: self.names.first().cloned().unwrap_or_default(),
            labels: self.labels.clone(),
            status: self.state.clone(),
            running: self.running(),
            exit_code: self.exited.then_some(self.exit_code),
            image: self.image_id.clone(),
            pid: Some(self.pid).filter(|pid| self.running() && is_of_container(*pid)),
        }
    }
}

/// The ID in "the container name … is already in use by ID".
pub(super) fn holder_of_name(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("creating container storage: the container name ")?;
    let (_, rest) = rest.split_once(" is already in use by ")?;
    let id = rest.split('.').next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// Puts a pod and its members together.
pub(super) fn pod_state(pod: Pod, containers: &[Container]) -> PodState {
    let members = || containers.iter().filter(|container| container.pod == pod.id);
    let infra = members().find(|container| container.is_infra);
    PodState {
        running: infra.is_some_and(Container::running),
        ports: infra.map(|infra| infra.ports().collect()).unwrap_or_default(),
        containers: members().filter(|container| !container.is_infra).map(Container::state).collect(),
        name: pod.name,
        labels: pod.labels,
    }
}

/// Go writes an empty list or map as `null`.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
