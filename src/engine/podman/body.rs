//! The JSON that libpod's create calls take (docs/containers.md §1.2). Pure functions.

use serde_json::{Value, json};

use super::super::user::{STACK, User};
use super::super::{ContainerSpec, Mount, PodSpec};

/// Most bytes of one container's log; Podman's own default has no limit.
const LOG_LIMIT: u64 = 10_000_000;

/// The body of `pods/create`.
pub(super) fn pod(spec: &PodSpec, rootless: bool) -> Value {
    let ports: Vec<Value> = spec
        .ports
        .iter()
        .map(|port| {
            // Netavark would forward only what is sent to the address 0.0.0.0 itself
            let host = if port.host_ip.is_unspecified() { String::new() } else { port.host_ip.to_string() };
            json!({
                "host_ip": host,
                "host_port": port.host_port,
                "container_port": port.container_port,
            })
        })
        .collect();
    // Files then belong to the caller on the host and to 1000 inside (docs/containers.md §5).
    let keep_id = rootless.then(|| json!({ "nsmode": "keep-id", "value": format!("uid={STACK},gid={STACK}") }));
    json!({
        "name": spec.name,
        "hostname": spec.name,
        "labels": spec.labels,
        "portmappings": ports,
        "exit_policy": "continue",
        "userns": keep_id.unwrap_or_else(|| json!({})),
    })
}

/// The body of `containers/create`. Rootless, no capability is asked for: the kernel would show `IPC_LOCK` and not
/// honour it (docs/containers.md §7).
pub(super) fn container(spec: &ContainerSpec, user: User) -> Value {
    let capabilities: &[String] = if user.is_mapped() { &[] } else { &spec.capabilities };
    let mut mounts: Vec<Value> = spec.mounts.iter().map(mount).collect();
    // The API does not add the temporary folders that the command line gives a read-only container.
    mounts.push(json!({ "type": "tmpfs", "destination": "/tmp", "options": ["size=64m", "mode=1777"] }));
    json!({
        "name": spec.name,
        "pod": spec.pod,
        "image": spec.image,
        "command": spec.command,
        "env": spec.env,
        "labels": spec.labels,
        "user": user.numbers(STACK),
        "cap_drop": ["ALL"],
        "cap_add": capabilities,
        "no_new_privileges": true,
        "read_only_filesystem": true,
        "mounts": mounts,
        "stop_timeout": spec.stop_timeout,
        "log_configuration": { "driver": "k8s-file", "size": LOG_LIMIT },
    })
}

fn mount(mount: &Mount) -> Value {
    let access = if mount.read_only { "ro" } else { "rw" };
    // `z` lets confined containers of this pod read it where SELinux is on; elsewhere it does nothing.
    json!({
        "type": "bind",
        "source": mount.source,
        "destination": mount.target,
        "options": [access, "rbind", "nosuid", "nodev", "z"],
    })
}
