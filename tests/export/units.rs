//! The units of an export, run by a systemd of their own, and proven. The commands are those that the export prints.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::exported::binary;
use crate::run::{Scene, proven};

/// How long systemd may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A container that systemd is the first process of, with this host's files below an overlay and a network of its own.
struct Machine {
    scene: Scene,
    name: String,
    path: String,
}

impl Machine {
    fn boot(mut scene: Scene) -> Self {
        let name = format!("kx-systemd-{}", scene.path().file_name().unwrap().display()).replace('.', "");
        let boot = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/export/boot")).unwrap();
        std::fs::write(scene.path().join("boot"), boot).unwrap();
        let tools = binary().parent().unwrap().to_owned();
        let minio = PathBuf::from(std::env::var("MINIO_BINARY").unwrap());
        // what lies below /tmp here does not there
        let shared = [scene.path(), &tools, minio.parent().unwrap()];
        let volumes: Vec<_> = shared.iter().map(|folder| format!("-v {0}:{0}", folder.display())).collect();
        let memory =
            ["/tmp", "/run", "/run/lock", "/var/log/journal"].map(|path| format!("--tmpfs {path}:notmpcopyup"));
        let open = ["unmask=ALL", "seccomp=unconfined", "apparmor=unconfined"].map(|it| format!("--security-opt {it}"));
        scene.clean = vec![format!("podman rm --force --time 1 {name}")];
        scene.ok(&format!(
            "podman run --detach --name {name} --systemd=always --network none --cap-add SYS_ADMIN,IPC_LOCK {} {} {} \
             --rootfs /:O sh {}/boot",
            open.join(" "),
            memory.join(" "),
            volumes.join(" "),
            scene.path().display()
        ));
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", tools.display());
        let machine = Self { scene, name, path };
        machine.until("systemctl is-system-running", "running");
        machine
    }

    /// What a command says there; it must succeed.
    fn ok(&self, command: &str) -> String {
        self.scene.ok(&self.inside(command))
    }

    fn inside(&self, command: &str) -> String {
        let (name, path, folder) = (&self.name, &self.path, self.scene.path().display());
        format!("podman exec --workdir {folder} --env PATH={path} {name} sh -c '{command}'")
    }

    /// Runs it until it says so.
    fn until(&self, command: &str, answer: &str) {
        let start = Instant::now();
        loop {
            let said = self.scene.ok(&format!("{} || true", self.inside(command)));
            if said.trim() == answer {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{command}: {said}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn capabilities(&self, unit: &str) -> String {
        self.ok(&format!("grep CapEff /proc/$(systemctl show --property MainPID --value {unit})/status"))
    }
}

/// The units of KES, as an export names them.
fn units(commands: &[String]) -> Vec<String> {
    let enable = commands.iter().find_map(|command| command.strip_prefix("systemctl enable --now ")).unwrap();
    enable.split(' ').filter(|unit| *unit != "minio").map(str::to_owned).collect()
}

#[test]
#[ignore = "needs Podman, and systemd"]
fn systemd_runs_the_units() {
    runs(1);
}

#[test]
#[ignore = "needs Podman, and systemd"]
fn systemd_runs_replicas() {
    runs(3);
}

fn runs(replicas: u16) {
    assert!(Path::new("/lib/systemd/systemd").exists(), "install systemd to run its units");
    let scene = Scene::new(&format!("kx-units-{replicas}"), replicas);
    // root itself
    let as_root = |command: &String| command.strip_prefix("sudo ").unwrap().to_owned();
    let commands: Vec<_> = scene.export("systemd").iter().map(as_root).collect();
    let machine = Machine::boot(scene);
    proven(|command| machine.ok(command), &commands);
    let verify = commands.last().unwrap();
    let kes = units(&commands);
    assert_eq!(kes.len(), usize::from(replicas));
    // IPC_LOCK and nothing else; MinIO has none
    assert_eq!(machine.capabilities(&kes[0]).trim(), "CapEff:\t0000000000004000");
    assert_eq!(machine.capabilities("minio").trim(), "CapEff:\t0000000000000000");
    // one that dies is started again; of several one that stalls, too, before anybody waits for long
    let signal = if replicas > 1 { "SIGSTOP" } else { "SIGKILL" };
    machine.ok(&format!("systemctl kill --signal={signal} {}", kes[0]));
    machine.until(&format!("systemctl show --property NRestarts --value {}", kes[0]), "1");
    machine.until(&format!("systemctl is-active {}", kes[0]), "active");
    let again = machine.ok(verify);
    assert!(again.contains("proven: this stack encrypts"), "{again}");
    let asked = |verb: &str| machine.ok(&format!("{} 2>&1 || true", verify.replace("verify", verb)));
    let looked = [
        ("status", "running on systemd"),
        ("status", "active (running)"),
        ("doctor", "KES has locked"),
        ("inventory", "stack-key"),
        ("logs", "journalctl --unit"),
    ];
    for (verb, said) in looked {
        let answer = asked(verb);
        assert!(answer.contains(said), "{verb}: {answer}");
    }
    if replicas == 1 {
        for fault in ["kes-down", "kes-deny", "cert-expired"] {
            let answer = asked(&format!("chaos {fault} --for 1s"));
            assert!(answer.contains("healed after"), "{fault}: {answer}");
        }
    }
    // what would change it otherwise is refused
    for verb in ["up", "plan", "reset", "down", "down --data"] {
        let refused = asked(verb);
        assert!(refused.contains("error: systemd runs th"), "{verb}: {refused}");
    }
    assert!(asked("status").contains("running on systemd"));
}
