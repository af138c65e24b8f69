//! Turns the message of an engine that refuses or cannot be reached into the next step for the user.

use std::io::ErrorKind;
use std::path::Path;

use super::listener;
use super::{EngineError, Obstacle};

/// Words in an engine's refusal, and what to do about it. The first match counts.
const ADVICE: &[(&str, &str)] = &[
    ("error setting rlimit", RLIMIT),
    ("cgroups in hybrid mode not supported", HYBRID),
    (
        "no space left on device",
        "free space where the engine keeps its images and in /var/tmp: `ENGINE system df` shows what it holds, \
         `ENGINE image prune` removes what nothing uses",
    ),
    (
        "container with given ID already exists",
        "the engine was stopped in the middle of a start: remove the pod with `kestack down`, then start again",
    ),
    ("/dev/net/tun", "rootless networking needs this device: `sudo chmod 0666 /dev/net/tun`"),
    ("privileged port", "without root only ports from 1024 on can be published: choose another in kestack.yaml"),
    (
        "cannot set up namespace",
        "rootless Podman needs a range of subordinate ids: `sudo usermod --add-subuids 100000-165535 \
         --add-subgids 100000-165535 $USER`, then `podman system migrate`",
    ),
    ("cannot join network of a non running container", NO_NETWORK),
    ("No such container: ", NO_NETWORK),
    (
        "iptables",
        "Docker cannot publish ports: its rules are gone, for example after a firewall was restarted, or its daemon may \
         not make them. Restart it: `sudo systemctl restart docker`",
    ),
    ("containerd.sock", NO_CONTAINERD),
    ("connection closed: unavailable", NO_CONTAINERD),
    ("already exists", NAME_TAKEN),
    ("already in use by", NAME_TAKEN),
    ("name is already in use", NAME_TAKEN),
    (
        "image not known",
        "the image is no longer in the engine's store: run the command again, and kestack brings it back",
    ),
    (
        "No such image",
        "the image is no longer in the engine's store: run the command again, and kestack brings it back",
    ),
    ("requested access to the resource is denied", DENIED),
    ("no basic auth credentials", DENIED),
    ("authentication required", DENIED),
    ("access forbidden", DENIED),
    (
        "could not find",
        "Podman needs a program that is missing: install it, for example `apt install catatonit conmon \
         netavark`",
    ),
    ("statfs ", UNSEEN),
    ("no such host", OFFLINE),
    ("i/o timeout", OFFLINE),
    ("connection refused", OFFLINE),
    ("network is unreachable", OFFLINE),
];

/// The logins of `docker login` are the client's, not the daemon's.
const DENIED: &str = "the repository was deleted or is private. If it is private, pull the image yourself with `CALL`, then \
                      run the command again: kestack sends no login of yours. Else name another image (`minio.image`, \
                      `kes.image`), or give a `minio` binary (MINIO_BINARY)";
const NAME_TAKEN: &str = "a pod or container of that name exists that does not belong to this stack: choose another name \
                          (`name:` in kestack.yaml or --name), or remove it with `REMOVE`";
const UNSEEN: &str = "the engine does not see this path, or may not read it: choose a folder that it sees under the same path \
                      with --dir or KESTACK_DIR, or do without containers: --engine process";
const NO_NETWORK: &str = "the container that holds the stack's network is gone: run `kestack up` again";
const NO_CONTAINERD: &str = "Docker does not reach containerd, which runs its containers: start it with `sudo systemctl \
                             restart containerd`, then run the command again";
const OFFLINE: &str = "the registry cannot be reached from here: give a `minio` binary (MINIO_BINARY), or bring the \
                       image with `ENGINE load`";
const RLIMIT: &str = "this engine service may not raise resource limits. Let kestack start its own service \
                      (no CONTAINER_HOST, DOCKER_HOST, KESTACK_HOST), or put this into \
                      /etc/containers/containers.conf and restart the service:\n    [containers]\n    \
                      default_ulimits = [\"nofile=NOFILE:NOFILE\", \"nproc=NPROC:NPROC\"]";
const HYBRID: &str = "crun does not work with the hybrid cgroups of this host. Let kestack start its own service \
                      (no CONTAINER_HOST, DOCKER_HOST, KESTACK_HOST), or put this into \
                      /etc/containers/containers.conf and restart the service:\n    [engine]\n    runtime = \"runc\"";

/// A refusal with what to do about it.
pub(super) fn refused(call: String, status: u16, message: String) -> EngineError {
    let hint = hint(&call, &message);
    let obstacle = obstacle(status, &message, hint.is_some());
    EngineError::Refused { call, obstacle, message, hint }
}

/// What engines say of a container that is in no state to be started, signalled or stopped: paused by hand, killed together
/// with its monitor (Podman waits for the exit file that the monitor would have written), or half made when the engine's
/// service died (docs/containers.md §8).
const STUCK: [&str; 4] = [
    "container with given ID already exists",
    "container state improper",
    "cannot start a paused container",
    "timed out waiting for file",
];

/// The one place that reads the words of engines: statuses alone do not tell the cases apart.
fn obstacle(status: u16, message: &str, is_explained: bool) -> Obstacle {
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    match status {
        _ if let Some(port) = taken_port(message) => Obstacle::TakenPort(port),
        _ if says(&["image not known", "No such image"]) => Obstacle::MissingImage,
        _ if says(&STUCK) => Obstacle::StuckContainer,
        _ if says(&["bind source path does not exist"]) => Obstacle::UnsharedFolder,
        409 => Obstacle::Conflict,
        500.. if !is_explained => Obstacle::Unexplained,
        _ => Obstacle::Other,
    }
}

/// What to do if nobody answers at a socket: Docker's is never started by kestack.
pub(super) fn unreachable(socket: &Path, error: ErrorKind) -> Option<&'static str> {
    if !socket.ends_with("docker.sock") {
        return None;
    }
    match error {
        ErrorKind::PermissionDenied => Some(
            "only root and the group of the socket may use Docker: `sudo usermod --append --groups docker $USER`, \
             then log in again",
        ),
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
            Some("Docker does not run: `sudo systemctl start docker`, if it is installed")
        }
        _ => None,
    }
}

/// `call` begins with the engine's own program.
fn hint(call: &str, message: &str) -> Option<String> {
    let engine = call.split(' ').next().unwrap_or_default();
    if let Some(port) = taken_port(message) {
        return Some(port_hint(port));
    }
    let (_, advice) = ADVICE.iter().find(|(words, _)| message.contains(words))?;
    let limits = super::host::Limits::of_this_process();
    let remove = if engine == "docker" { "docker rm --force" } else { "podman pod rm --force" };
    let advice = advice.replace("REMOVE", remove).replace("ENGINE", engine).replace("CALL", call);
    Some(advice.replace("NOFILE", &limits.open_files.to_string()).replace("NPROC", &limits.processes.to_string()))
}

/// The port in an engine's "address already in use".
fn taken_port(message: &str) -> Option<u16> {
    let before = message
        .split_once(": bind: address already in use")
        .or_else(|| message.split_once(" failed: port is already allocated"))?
        .0;
    before.rsplit(':').next()?.parse().ok()
}

pub(super) fn port_hint(port: u16) -> String {
    let other = "or choose another port in kestack.yaml (0 takes a free one)";
    match listener::of_port(port) {
        Some(holder) if holder.program == "podman" => format!(
            "the Podman service itself (pid {}) still holds port {port} from an earlier attempt that failed: restart \
             it, or wait a minute; {other}",
            holder.pid
        ),
        Some(holder) => {
            format!("`{}` (pid {}) listens on port {port}: stop it, {other}", holder.program, holder.pid)
        }
        None => format!(
            "find who holds port {port} with `ss -ltnp sport = :{port}`; ports from 32768 on may also be held for a \
             minute by a closed outgoing connection; {other}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_port_that_is_taken() {
        for (message, port) in [
            (
                "starting container 1: cannot listen on the TCP port: listen tcp4 127.0.0.1:9000: bind: address already in use",
                9000,
            ),
            ("rootlessport listen tcp 127.0.0.1:7373: bind: address already in use", 7373),
            ("Bind for 127.0.0.1:9001 failed: port is already allocated", 9001),
        ] {
            assert_eq!(taken_port(message), Some(port), "{message}");
        }
        assert_eq!(taken_port("no such pod"), None);
    }

    #[test]
    fn names_the_program_that_holds_the_port() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let hint = hint("podman", &format!("listen tcp4 127.0.0.1:{port}: bind: address already in use")).unwrap();
        assert!(hint.contains(&format!("pid {}", std::process::id())), "{hint}");
    }

    #[test]
    fn says_what_to_configure_when_limits_cannot_be_raised() {
        let hint = hint("podman", "runc create failed: error setting rlimit type 7: operation not permitted").unwrap();
        assert!(hint.contains("default_ulimits = [\"nofile="), "{hint}");
        assert!(!hint.contains("NOFILE") && !hint.contains("NPROC"), "{hint}");
    }

    #[test]
    fn advice_names_the_engine_that_refused() {
        let text = "write /layer.tar: no space left on device";
        assert!(hint("docker", text).unwrap().contains("`docker system df`"));
        let text = "Conflict. The container name \"/a-infra\" is already in use by container \"b\".";
        assert!(hint("docker", text).unwrap().contains("`docker rm --force`"));
        assert!(hint("podman", "pod already exists").unwrap().contains("`podman pod rm --force`"));
    }

    #[test]
    fn a_docker_that_cannot_be_reached_is_explained() {
        let socket = Path::new("/var/run/docker.sock");
        assert!(unreachable(socket, ErrorKind::PermissionDenied).unwrap().contains("--groups docker"));
        assert!(unreachable(socket, ErrorKind::NotFound).unwrap().contains("systemctl start docker"));
        assert_eq!(unreachable(Path::new("/run/podman/podman.sock"), ErrorKind::NotFound), None);
    }

    #[test]
    fn only_a_container_that_does_not_start_for_no_reason_is_stuck() {
        let said = |call: &str, status, message: &str| {
            let error = refused(call.into(), status, message.into());
            let error = if call.contains(" start ") { error.of_start() } else { error };
            error.obstacle() == Some(Obstacle::StuckContainer)
        };
        let failed = "`/usr/bin/runc start 5ae8` failed: exit status 1";
        assert!(said("podman start a-kes", 500, failed));
        assert!(said(
            "podman kill --signal HUP a-kes",
            409,
            "can only kill running containers: container state improper"
        ));
        let unwatched = "timed out waiting for file /run/libpod/exits/5ae8: internal libpod error";
        assert!(said("podman stop a-kes", 500, unwatched));
        assert!(!said("podman create a-kes", 500, failed));
        assert!(!said("docker start a-kes", 404, "No such container: a-kes"));
        assert!(!said("podman start a-kes", 500, "listen tcp4 127.0.0.1:9000: bind: address already in use"));
        assert!(!said("podman start a-kes", 500, "write /layer.tar: no space left on device"));
    }

    #[test]
    fn a_dead_containerd_is_no_registry_that_cannot_be_reached() {
        for text in [
            "Cannot kill container: a: Cannot kill container 70098: connection closed: unavailable",
            "connection error: desc = \"transport: Error while dialing dial unix /run/containerd/containerd.sock: connect: \
             connection refused\": unavailable",
        ] {
            assert!(hint("docker", text).unwrap().contains("`sudo systemctl restart containerd`"), "{text}");
        }
    }

    #[test]
    fn a_private_image_is_pulled_by_whoever_is_logged_in() {
        let call = "docker pull registry.corp:5000/minio:1";
        for text in [
            "pull access denied for registry.corp:5000/minio: denied: requested access to the resource is denied",
            "Head \"https://registry.corp:5000/v2/minio/manifests/1\": no basic auth credentials",
            "unauthorized: authentication required",
        ] {
            let hint = hint(call, text).unwrap();
            assert!(hint.contains("was deleted") && hint.contains(&format!("with `{call}`")), "{hint}");
        }
    }
}
