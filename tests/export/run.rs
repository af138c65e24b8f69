//! Exports, run by the orchestrator that they are for, and proven. The commands are those that the export prints.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::exported::{binary, export, text};
use crate::machine::{staged, values};

/// User of the servers.
const USER: u32 = 1000;

/// True if the tier runs; otherwise says why not.
fn enabled() -> bool {
    let on = std::env::var_os("KESTACK_E2E").is_some();
    if !on {
        eprintln!("skipped: set KESTACK_E2E=1 to run exports for real");
    }
    on
}

/// A folder with a manifest of the given name, on free ports, and a command to run when all is over.
struct Scene {
    folder: tempfile::TempDir,
    ports: [u16; 3],
    clean: Vec<String>,
}

impl Scene {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let held = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = held.map(|listener| listener.local_addr().unwrap().port());
        let [kes, s3, console] = ports;
        let text = format!(
            "name: {name}\nkes: {{ port: {kes} }}\nminio: {{ port: {s3}, console_port: {console}, root_user: rootuser, \
             root_password: rootpassword }}\nkeys: [stack-key, bucket-key]\nbuckets: [{{ name: encrypted, key: bucket-key }}]\n"
        );
        std::fs::write(folder.path().join("kestack.yaml"), text).unwrap();
        // limits and a runtime that any machine can give
        let conf = "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]\n\
                    [engine]\nruntime = \"runc\"\n";
        std::fs::write(folder.path().join("containers.conf"), conf).unwrap();
        Self { folder, ports, clean: vec![] }
    }

    fn path(&self) -> &Path {
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

    fn ok(&self, command: &str) -> String {
        let output = self.shell(command);
        assert!(output.status.success(), "{command}\n{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Exports to `out` and returns the commands that go on from there.
    fn export(&self, target: &str) -> Vec<String> {
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
fn proven(scene: &Scene, commands: &[String]) {
    let mut last = String::new();
    for command in commands {
        last = scene.ok(command);
    }
    assert!(commands.last().unwrap().starts_with("kestack verify"));
    assert!(last.contains("proven: this stack encrypts"), "{last}");
}

#[test]
fn podman_plays_the_pod() {
    if !enabled() {
        return;
    }
    let name = format!("kx-kube-{}", std::process::id());
    let mut scene = Scene::new(&name);
    let commands = scene.export("kube");
    scene.clean = vec!["podman kube down out/pod.yaml".into()];
    proven(&scene, &commands);
    // as hard as the containers of `up`
    for (server, capabilities) in [("kes", "CAP_IPC_LOCK"), ("minio", "")] {
        let look = "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.SecurityOpt}} {{.EffectiveCaps}} {{.Config.User}}";
        let seen = scene.ok(&format!("podman inspect {name}-{server}-server --format '{look}'"));
        assert_eq!(seen.trim(), format!("true [no-new-privileges] [{capabilities}] 1000:1000"), "{server}");
    }
    scene.ok(&format!("podman exec {name}-kes-server /kes probe --timeout 2s"));
}

#[test]
fn compose_brings_it_up() {
    if !enabled() {
        return;
    }
    let compose = std::env::var("PODMAN_COMPOSE").unwrap_or_else(|_| "podman-compose".into());
    let mut scene = Scene::new(&format!("kx-compose-{}", std::process::id()));
    // the same file; `--wait` is Docker's own, and so is the store of its images
    let adapted = |command: &String| {
        command.replace("docker load", "podman load").replace("docker compose", &compose).replace(" --wait", "")
    };
    let commands: Vec<_> = scene.export("compose").iter().map(adapted).collect();
    scene.clean = vec![format!("{compose} -f out/compose.yaml down")];
    proven(&scene, &commands);
}

/// No systemd runs here: each unit's program is started as its unit says, in a root folder that the install script
/// filled, with its user, environment and credentials, and tells its readiness to a socket of ours.
#[test]
fn the_units_serve() {
    if !enabled() {
        return;
    }
    let scene = Scene::new(&format!("kx-units-{}", std::process::id()));
    scene.export("systemd");
    let unit = |name: &str| std::fs::read_to_string(scene.path().join("out").join(name)).unwrap();
    let stage = staged(&scene.path().join("out"));
    let root = Root(stage.path());
    root.program("kes", &binary().with_file_name("kes"));
    root.program("minio", &PathBuf::from(std::env::var("MINIO_BINARY").unwrap()));
    let mut kes = root.start("kes", &unit("kes.service"));
    kes.is_ready(Duration::from_secs(20));
    let minio = root.start("minio", &unit("minio.service"));
    minio.is_ready(Duration::from_secs(60));
    let s3 = |arguments: &str| -> String {
        let curl = "curl -sS --max-time 20 --aws-sigv4 aws:amz:us-east-1:s3 -u rootuser:rootpassword";
        scene.ok(&format!("{curl} -o answer -w '%{{http_code}}' {arguments}"))
    };
    let url = format!("http://127.0.0.1:{}/plain", scene.ports[1]);
    assert_eq!(s3(&format!("-X PUT {url}")), "200");
    let body = "in clear nowhere on the drive ".repeat(8000);
    std::fs::write(scene.path().join("body"), &body).unwrap();
    let default = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
                   <SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>bucket-key</KMSMasterKeyID>\
                   </ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>";
    std::fs::write(scene.path().join("default"), default).unwrap();
    assert_eq!(s3(&format!("-T default '{url}?encryption='")), "200");
    assert_eq!(s3(&format!("-T body {url}/object")), "200");
    assert_eq!(s3(&format!("{url}/object")), "200");
    assert_eq!(std::fs::read_to_string(scene.path().join("answer")).unwrap(), body);
    let found = scene.shell(&format!("grep -rl 'in clear nowhere' {}/var/lib/minio", stage.path().display()));
    assert_eq!(found.status.code(), Some(1), "in clear: {}", text(&found.stdout));
    // without KES nothing is readable
    kes.stop();
    assert_ne!(s3(&format!("{url}/object")), "200");
}

/// A root folder of the units.
struct Root<'a>(&'a Path);

/// A server that ends with the test.
struct Server {
    child: Child,
    notify: UnixDatagram,
    log: PathBuf,
}

impl Root<'_> {
    fn program(&self, name: &str, binary: &Path) {
        let folder = self.0.join("usr/local/bin");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(binary, folder.join(name)).unwrap();
    }

    /// Starts what the unit says.
    fn start(&self, name: &str, unit: &str) -> Server {
        let state = self.owned(&format!("var/lib/{}", values(unit, "StateDirectory")[0]));
        assert!(state.is_dir());
        let credentials = format!("run/credentials/{name}.service");
        let folder = self.owned(&credentials);
        for credential in values(unit, "LoadCredential") {
            let (to, from) = credential.split_once(':').unwrap();
            std::fs::copy(self.0.join(from.trim_start_matches('/')), folder.join(to)).unwrap();
            chown(folder.join(to), Some(USER), Some(USER)).unwrap();
        }
        let notify = UnixDatagram::bind(self.0.join(format!("run/{name}.notify"))).unwrap();
        std::fs::set_permissions(self.0.join(format!("run/{name}.notify")), PermissionsExt::from_mode(0o777)).unwrap();
        let mut environment: Vec<_> =
            values(unit, "Environment").iter().map(|line| line.replace("%d", &format!("/{credentials}"))).collect();
        environment.push(format!("NOTIFY_SOCKET=/run/{name}.notify"));
        std::fs::create_dir_all(self.0.join("proc")).unwrap();
        let script = format!(
            "mount --rbind /proc {root}/proc && exec env -i {environment} \
             /usr/sbin/chroot --userspec={USER}:{USER} {root} {command}",
            root = self.0.display(),
            environment = environment.join(" "),
            command = values(unit, "ExecStart")[0],
        );
        let log = self.0.join(format!("{name}.log"));
        let output = std::fs::File::create(&log).unwrap();
        let child = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Server { child, notify, log }
    }

    fn owned(&self, path: &str) -> PathBuf {
        let folder = self.0.join(path);
        std::fs::create_dir_all(&folder).unwrap();
        chown(&folder, Some(USER), Some(USER)).unwrap();
        folder
    }
}

impl Server {
    /// Waits for `READY=1`.
    fn is_ready(&self, deadline: Duration) {
        let start = Instant::now();
        let mut message = [0; 4096];
        while let Some(left) = deadline.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            self.notify.set_read_timeout(Some(left)).unwrap();
            let Ok(size) = self.notify.recv(&mut message) else { break };
            if text(&message[..size]).lines().any(|line| line == "READY=1") {
                return;
            }
        }
        panic!("not ready: {}", std::fs::read_to_string(&self.log).unwrap());
    }

    fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
            let _ = self.child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
