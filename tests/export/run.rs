//! Exports, run by the orchestrator that they are for, and proven. The commands are those that the export prints.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::exported::{binary, export, text};

/// A folder with a manifest of the given name, on free ports, and a command to run when all is over.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
    /// Run when all is over.
    pub(crate) clean: Vec<String>,
}

impl Scene {
    /// With that many servers of KES.
    pub(crate) fn new(name: &str, replicas: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (kes, s3, console) = (in_a_row(replicas), in_a_row(1), in_a_row(1));
        let text = format!(
            "name: {name}\nkes: {{ port: {kes}, replicas: {replicas} }}\nminio: {{ port: {s3}, console_port: {console}, \
             root_user: rootuser, root_password: rootpassword }}\nkeys: [stack-key, bucket-key]\n\
             buckets: [{{ name: encrypted, key: bucket-key }}]\n"
        );
        std::fs::write(folder.path().join("kestack.yaml"), text).unwrap();
        // limits and a runtime that any machine can give
        let conf = "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]\n\
                    [engine]\nruntime = \"runc\"\n";
        std::fs::write(folder.path().join("containers.conf"), conf).unwrap();
        Self { folder, clean: vec![] }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command as a user would paste it, bounded in time.
    fn shell(&self, command: &str) -> Output {
        let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
        Command::new("timeout")
            .args(["100", "sh", "-c", command])
            .current_dir(self.path())
            .env("PATH", path)
            .env("CONTAINERS_CONF", self.path().join("containers.conf"))
            .output()
            .unwrap()
    }

    /// What the command says; it must succeed.
    pub(crate) fn ok(&self, command: &str) -> String {
        let output = self.shell(command);
        assert!(output.status.success(), "{command}\n{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Exports to `out` and returns the commands that go on from there.
    pub(crate) fn export(&self, target: &str) -> Vec<String> {
        let arguments = [target, "--output-dir", "out", "--images", "--output", "json"];
        let output = export(self.path(), &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        report["next"].as_array().unwrap().iter().map(|command| command.as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for command in &self.clean {
            let output = self.shell(command);
            if !output.status.success() {
                eprintln!("{command}: {}", text(&output.stderr));
            }
        }
    }
}

/// Runs the printed commands; the last of them proves the stack.
pub(crate) fn proven(run: impl Fn(&str) -> String, commands: &[String]) {
    let mut last = String::new();
    for command in commands {
        last = run(command);
    }
    assert!(commands.last().unwrap().starts_with("kestack verify"));
    assert!(last.contains("proven: this stack encrypts"), "{last}");
}

/// The first of that many free ports in a row, all held until the last one is found.
fn in_a_row(count: u16) -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let others = (1..count).map(|index| TcpListener::bind(("127.0.0.1", port.checked_add(index)?)).ok());
        if others.collect::<Option<Vec<_>>>().is_some() {
            return port;
        }
    }
}

/// Names of the servers of KES.
fn servers(replicas: u16) -> Vec<String> {
    match replicas {
        1 => vec!["kes-server".into()],
        _ => (1..=replicas).map(|number| format!("kes-server-{number}")).collect(),
    }
}

#[test]
#[ignore = "needs Podman"]
fn podman_plays_the_pod() {
    plays(1);
}

#[test]
#[ignore = "needs Podman"]
fn podman_plays_replicas() {
    plays(3);
}

fn plays(replicas: u16) {
    let name = format!("kx-kube-{replicas}-{}", std::process::id());
    let mut scene = Scene::new(&name, replicas);
    let commands = scene.export("kube");
    scene.clean = vec!["podman kube down out/pod.yaml".into()];
    proven(|command| scene.ok(command), &commands);
    // as hard as the containers of `up`
    let kes = servers(replicas).into_iter().map(|server| (server, "CAP_IPC_LOCK"));
    for (server, capabilities) in kes.chain([("minio-server".into(), "")]) {
        let look = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.SecurityOpt}} {{.EffectiveCaps}} {{.Config.User}}";
        let seen = scene.ok(&format!("podman inspect {name}-{server} --format '{look}'"));
        assert_eq!(seen.trim(), format!("true [no-new-privileges] [{capabilities}] 1000:1000"), "{server}");
    }
    // a cluster may give it any user
    let image = scene.ok(&format!("podman inspect {name}-{} --format '{{{{.Image}}}}'", servers(replicas)[0]));
    let bare = "--rm --network none --user 54321:0 --read-only --cap-drop ALL --security-opt no-new-privileges";
    scene.ok(&format!("podman run {bare} {} --version", image.trim()));
    for (server, port) in servers(replicas).iter().zip(7373..) {
        scene.ok(&format!("podman exec {name}-{server} /kes probe --timeout 2s 127.0.0.1:{port}"));
    }
}

#[test]
#[ignore = "needs Podman, and podman-compose"]
fn compose_brings_it_up() {
    composes(1);
}

#[test]
#[ignore = "needs Podman, and podman-compose"]
fn compose_brings_replicas_up() {
    composes(3);
}

fn composes(replicas: u16) {
    let compose = std::env::var("PODMAN_COMPOSE").unwrap_or_else(|_| "podman-compose".into());
    let name = format!("kx-compose-{replicas}-{}", std::process::id());
    let mut scene = Scene::new(&name, replicas);
    // the same file; `--wait` is Docker's own, and so is the store of its images
    let adapted = |command: &String| {
        command.replace("docker load", "podman load").replace("docker compose", &compose).replace(" --wait", "")
    };
    let commands: Vec<_> = scene.export("compose").iter().map(adapted).collect();
    scene.clean = vec![format!("{compose} -f out/compose.yaml down")];
    proven(|command| scene.ok(command), &commands);
    for server in servers(replicas) {
        let running = scene.ok(&format!("podman inspect {name}-{server} --format '{{{{.State.Running}}}}'"));
        assert_eq!(running.trim(), "true", "{server}");
    }
}
