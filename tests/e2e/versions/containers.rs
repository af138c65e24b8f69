//! A pod that 0.1.0 left running, made by the engine's own command line: its names, labels, ports, mounts and commands.

use crate::engine::{Kind, cli, kind, rootless};
use crate::faults::{precious, until};
use crate::sandbox::Sandbox;

use super::marker;

/// What KES and MinIO of a stack see of its folder, as 0.1.0 mounted it.
const KES: [(&str, &str, &str); 4] = [
    ("certs/kes-server.key", "/certs/kes-server.key", "ro"),
    ("certs/kes-server.cert", "/certs/kes-server.cert", "ro"),
    ("config/kes-config.yaml", "/etc/default/kes-config.yaml", "ro"),
    ("keys", "/mnt/keys", "rw"),
];
const MINIO: [(&str, &str, &str); 5] = [
    ("certs/minio-kes.key", "/certs/minio-kes.key", "ro"),
    ("certs/minio-kes.cert", "/certs/minio-kes.cert", "ro"),
    ("certs/ca.cert", "/certs/ca.cert", "ro"),
    ("config/minio", "/etc/default/minio", "ro"),
    ("minio", "/mnt/minio", "rw"),
];
const CONFINED: [&str; 5] =
    ["--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only", "--tmpfs=/tmp", "--user"];

/// What the former pod has of the one that this kestack made: images, ports and the digest, which both count alike.
struct Pod<'a> {
    stack: &'a Sandbox,
    kes: String,
    minio: String,
    pause: Option<String>,
    ports: Vec<String>,
    digest: String,
}

impl<'a> Pod<'a> {
    fn of(stack: &'a Sandbox) -> Self {
        let image = |member: &str| inspect(&format!("{}-{member}", stack.name), "{{.Image}}");
        let record = std::fs::read_to_string(stack.root().join("config/engine")).unwrap();
        let ports = record.lines().filter_map(|line| line.strip_prefix("port ")?.split_once(" at "));
        let digest = match kind() {
            Kind::Podman => {
                cli(&["pod", "inspect", "--format", r#"{{index .Labels "io.kestack.digest"}}"#, &stack.name])
            }
            _ => inspect(&format!("{}-infra", stack.name), r#"{{index .Config.Labels "io.kestack.digest"}}"#),
        };
        Self {
            stack,
            kes: image("kes-server"),
            minio: image("minio-server"),
            pause: (kind() == Kind::Docker).then(|| image("infra")),
            ports: ports.map(|(inside, at)| format!("--publish={at}:{inside}")).collect(),
            digest: digest.trim().to_owned(),
        }
    }

    fn remove(&self) {
        let name = &self.stack.name;
        match kind() {
            Kind::Podman => cli(&["pod", "rm", "--force", name]),
            _ => cli(&[
                "rm",
                "--force",
                &format!("{name}-kes-server"),
                &format!("{name}-minio-server"),
                &format!("{name}-infra"),
            ]),
        };
    }

    /// The pod without its members, with more labels.
    fn make(&self, more: &[String]) {
        let (name, root) = (&self.stack.name, self.stack.root());
        let mut labels = vec![
            format!("io.kestack.stack={name}"),
            "io.kestack.version=0.1.0".to_owned(),
            format!("io.kestack.id={}", marker(self.stack)["id"].as_str().unwrap()),
            format!("io.kestack.digest={}", self.digest),
            format!("io.kestack.folder={}", root.display()),
        ];
        labels.extend_from_slice(more);
        let labels = labelled(labels);
        let (hostname, infra) = (format!("--hostname={name}"), format!("--name={name}-infra"));
        let mut command = match kind() {
            Kind::Podman => vec!["pod", "create", "--exit-policy=continue", "--name", name, &hostname],
            _ => vec!["run", "--detach", &infra, &hostname, "--stop-signal=SIGKILL", "--log-driver=none"],
        };
        command.extend(labels.iter().chain(&self.ports).map(String::as_str));
        if rootless() {
            command.push("--userns=keep-id:uid=1000,gid=1000");
        }
        let own = labelled(vec![format!("io.kestack.pod={name}"), "io.kestack.role=infra".to_owned()]);
        if let Some(pause) = &self.pause {
            command.extend(CONFINED.into_iter().chain(["65534:65534", "--userns=host"]));
            command.extend(own.iter().map(String::as_str).chain([pause.as_str()]));
        }
        cli(&command);
    }

    fn add(&self, role: &str, image: &str, mounts: &[(&str, &str, &str)], options: &[&str], command: &[&str]) {
        let (name, root) = (&self.stack.name, self.stack.root());
        let container = format!("{name}-{role}-server");
        let mut labels = vec![
            format!("io.kestack.stack={name}"),
            "io.kestack.version=0.1.0".to_owned(),
            format!("io.kestack.role={role}"),
            "io.kestack.digest=of-0.1.0".to_owned(),
        ];
        let joined = if kind() == Kind::Podman {
            format!("--pod={name}")
        } else {
            labels.push(format!("io.kestack.pod={name}"));
            format!("--network=container:{name}-infra")
        };
        let mounts =
            mounts.iter().map(|(from, to, access)| format!("--volume={}:{to}:{access},z", root.join(from).display()));
        let written: Vec<_> = labelled(labels).into_iter().chain(mounts).collect();
        let mut all = vec!["create", "--name", &container, &joined];
        all.extend(written.iter().map(String::as_str).chain(CONFINED).chain(["1000:1000"]));
        all.extend(options.iter().chain(&[image]).chain(command));
        cli(&all);
        cli(&["start", &container]);
    }
}

fn inspect(container: &str, format: &str) -> String {
    cli(&["inspect", "--format", format, container]).trim().to_owned()
}

fn labelled(labels: Vec<String>) -> Vec<String> {
    labels.into_iter().map(|label| format!("--label={label}")).collect()
}

/// A stack with content in the folder and the pod of 0.1.0, which runs.
fn left_by_0_1_0(more: &[String]) -> Sandbox {
    let stack = precious();
    let pod = Pod::of(&stack);
    pod.remove();
    let written = marker(&stack);
    let former = serde_json::json!({ "name": written["name"], "engine": written["engine"], "id": written["id"] });
    std::fs::write(stack.root().join("stack.json"), former.to_string()).unwrap();
    std::fs::remove_file(stack.root().join("minio.json")).unwrap();
    pod.make(more);
    let lock: &[&str] = if kind() == Kind::Podman && !rootless() { &["--cap-add=IPC_LOCK"] } else { &[] };
    pod.add("kes", &pod.kes, &KES, lock, &["server", "--config", "/etc/default/kes-config.yaml"]);
    let of_minio = ["--env=MINIO_CONFIG_ENV_FILE=/etc/default/minio"];
    pod.add("minio", &pod.minio, &MINIO, &of_minio, &["server", "--console-address", ":9001"]);
    // MinIO ends if it is sooner than KES
    let minio = format!("{}-minio-server", stack.name);
    until("the servers of 0.1.0 answer", || {
        cli(&["start", &minio]);
        stack.run(&["status"]).status.success()
    });
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
    stack
}

fn assert_no_pod(stack: &Sandbox) {
    assert_eq!(kind().members(&stack.name), Vec::<String>::new());
    if kind() == Kind::Podman {
        assert!(!cli(&["pod", "ls", "--format", "{{.Name}}"]).lines().any(|pod| pod == stack.name));
    }
}

#[test]
#[ignore = "needs Podman or Docker"]
fn a_pod_of_0_1_0_is_removed_and_its_data_comes_up() {
    let stack = left_by_0_1_0(&[]);
    stack.ok(&["down"]);
    assert_no_pod(&stack);
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
}

#[test]
#[ignore = "needs Podman or Docker"]
fn a_pod_of_0_1_0_is_taken_over() {
    let stack = left_by_0_1_0(&[]);
    stack.ok(&["up"]);
    for path in ["/encrypted/kept", "/other/kept"] {
        assert_eq!(stack.read(path), b"precious", "{path}");
    }
    for server in ["kes", "minio"] {
        let container = format!("{}-{server}-server", stack.name);
        let made_by = inspect(&container, r#"{{index .Config.Labels "io.kestack.version"}}"#);
        assert_eq!(made_by, env!("CARGO_PKG_VERSION"), "{server}");
    }
    assert_eq!(marker(&stack)["layout"], 2);
    assert_eq!(stack.json(&["up"])["changed"], 0);
    stack.ok(&["down", "--data"]);
    assert_no_pod(&stack);
    assert!(!stack.root().exists());
}

#[test]
#[ignore = "needs Podman or Docker"]
fn a_pod_of_0_1_0_goes_with_its_data_when_its_lease_is_over() {
    let stack = left_by_0_1_0(&["io.kestack.expires=2020-01-01T00:00:00Z".to_owned()]);
    let removed = stack.json(&["gc"]);
    assert!(removed["stacks"].to_string().contains(&stack.name), "{removed}");
    assert_no_pod(&stack);
    assert!(!stack.root().exists());
}
