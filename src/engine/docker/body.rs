//! The JSON that Docker's create call takes. Pure functions.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::super::user::User;
use super::super::{ContainerSpec, LABEL_ROLE, Mount, PodSpec};
use super::{INFRA, LABEL_POD};

/// The uid and gid of the infra container's process, which owns nothing.
const NOBODY: &str = "65534:65534";
/// Most bytes of one container's log; Docker's own default has no limit.
const LOG_LIMIT: &str = "10m";

/// The caller in the user namespace of a rootless Docker, which maps no other user onto it as Podman does.
const MAPPED: u32 = 0;

/// The body for a pod's infra container. It is stopped by SIGKILL because its program knows no other signal.
pub(super) fn infra(spec: &PodSpec, image: &str) -> Value {
    let mut bindings: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for port in &spec.ports {
        let host = json!({ "HostIp": port.host_ip.to_string(), "HostPort": port.host_port.to_string() });
        bindings.entry(format!("{}/tcp", port.container_port)).or_default().push(host);
    }
    let exposed: BTreeMap<_, _> = bindings.keys().map(|port| (port, json!({}))).collect();
    let mut labels = labels(&spec.labels, &spec.name);
    labels.insert(LABEL_ROLE.to_owned(), INFRA.to_owned());
    json!({
        "Image": image,
        "Hostname": spec.name,
        "Labels": labels,
        "User": NOBODY,
        "ExposedPorts": exposed,
        "StopSignal": "SIGKILL",
        "HostConfig": confined([
            ("PortBindings", json!(bindings)),
            ("LogConfig", json!({ "Type": "none" })),
        ]),
    })
}

/// The body for a member of a pod. `network` is where it joins. No capability is kept: Docker gives none to a user that
/// is not root (docs/containers.md §0, fact 9). KES needs none to lock the few pages that hold keys.
///
/// # Errors
/// The path of a mount that Docker's notation cannot express.
pub(super) fn member<'a>(spec: &'a ContainerSpec, network: &str, user: User) -> Result<Value, &'a Path> {
    let binds: Vec<String> = spec.mounts.iter().map(bind).collect::<Result<_, _>>()?;
    let env: Vec<String> = spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Ok(json!({
        "Image": spec.image,
        "Cmd": spec.command,
        "Env": env,
        "Labels": labels(&spec.labels, &spec.pod),
        "User": user.numbers(MAPPED),
        "StopTimeout": spec.stop_timeout,
        "HostConfig": confined([
            ("NetworkMode", json!(network)),
            ("Binds", json!(binds)),
            ("Tmpfs", json!({ "/tmp": "size=64m,mode=1777" })),
            ("LogConfig", json!({ "Type": "json-file", "Config": { "max-size": LOG_LIMIT, "max-file": "1" } })),
        ]),
    }))
}

/// The body for a container that never runs, with that folder mounted.
pub(super) fn probe(image: &str, folder: &Path, name: &str) -> Value {
    let mount = json!({ "Type": "bind", "Source": folder, "Target": "/probe", "ReadOnly": true });
    json!({
        "Image": image,
        "Labels": labels(&BTreeMap::new(), name),
        "HostConfig": confined([("NetworkMode", json!("none")), ("Mounts", json!([mount]))]),
    })
}

/// A `HostConfig` with everything that confines a container.
fn confined<const N: usize>(own: [(&str, Value); N]) -> Value {
    let shared = [
        ("CapDrop", json!(["ALL"])),
        ("SecurityOpt", json!(["no-new-privileges"])),
        ("ReadonlyRootfs", json!(true)),
        // Where the daemon maps users (`userns-remap`), the files that were given to ours would be nobody's.
        ("UsernsMode", json!("host")),
    ];
    own.into_iter().chain(shared).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn labels(labels: &BTreeMap<String, String>, pod: &str) -> BTreeMap<String, String> {
    let mut labels = labels.clone();
    labels.insert(LABEL_POD.to_owned(), pod.to_owned());
    labels
}

/// `source:target:options`. Of Docker's two notations for a bind mount only this one can relabel: `z` lets confined
/// containers of this pod read it where `SELinux` is on; elsewhere it does nothing.
fn bind(mount: &Mount) -> Result<String, &Path> {
    let access = if mount.read_only { "ro" } else { "rw" };
    let path = |path: &'_ Path| path.to_str().filter(|path| !path.contains(':')).map(str::to_owned);
    match (path(&mount.source), path(&mount.target)) {
        (Some(source), Some(target)) => Ok(format!("{source}:{target}:{access},z")),
        _ => Err(&mount.source),
    }
}
