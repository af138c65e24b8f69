//! The engine itself: its service killed, its monitors, everything at once as in a reboot, its answers late or cut off.
//! What only Docker has is in [`crate::docker`].

use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};

use super::proxy::Proxy;
use super::{assert_gone, assert_mended, fill, precious, seeded, span, times, until};
use crate::bounded::Bounded as _;
use crate::engine::{Kind, cli, kind};
use crate::sandbox::{Sandbox, text};

fn kill(pid: i32) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

/// The `podman system service` that this kestack started.
fn service_of(kestack: &Child) -> Option<i32> {
    let parent = format!("PPid:\t{}", kestack.id());
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let found = status.contains("Name:\tpodman\n") && status.lines().any(|line| line == parent);
        found.then(|| entry.file_name().to_str()?.parse().ok())?
    })
}

/// Monitors or main processes of the stack's containers, its infra among them.
fn processes(stack: &Sandbox, format: &str) -> Vec<i32> {
    let members = cli(&["pod", "inspect", "--format", "{{range .Containers}}{{.ID}} {{end}}", &stack.name]);
    let pids = cli(&[&["inspect", "--format", format], &members.split_whitespace().collect::<Vec<_>>()[..]].concat());
    pids.split_whitespace().map(|pid| pid.parse().unwrap()).filter(|pid| *pid > 0).collect()
}

/// What `iptables-save -t nat` prints.
fn nat() -> String {
    text(&Command::new("iptables-save").args(["-t", "nat"]).finished().stdout)
}

/// This process and those that started it: the runner of the tests is not a part of the host that is switched off.
fn ancestry() -> Vec<i32> {
    let parent = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
    };
    std::iter::successors(i32::try_from(std::process::id()).ok(), parent).collect()
}

/// An engine that serves a socket for the tests.
struct Served {
    socket: PathBuf,
    child: Option<Child>,
    _folder: tempfile::TempDir,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = kill_process_group(Pid::from_child(child), Signal::TERM);
            let _ = child.wait();
        }
    }
}

/// Docker's own socket, or that of a Podman service with what this machine needs.
fn served() -> Served {
    let folder = tempfile::tempdir().unwrap();
    if kind() == Kind::Docker {
        let named = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "/var/run/docker.sock".to_owned());
        return Served { socket: named.trim_start_matches("unix://").into(), child: None, _folder: folder };
    }
    let socket = folder.path().join("podman.sock");
    let mut service = Command::new("podman");
    service.args(["system", "service", "--time", "0"]).arg(format!("unix://{}", socket.display()));
    service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    if geteuid().is_root() {
        let conf = folder.path().join("containers.conf");
        let limits = "default_ulimits = [\"nofile=20000:20000\", \"nproc=32768:32768\"]";
        fs::write(&conf, format!("[containers]\n{limits}\n[engine]\nruntime = \"runc\"\n")).unwrap();
        service.env("CONTAINERS_CONF", conf);
    }
    let child = Some(service.spawn().unwrap());
    until("`podman system service` opens its socket", || UnixStream::connect(&socket).is_ok());
    Served { socket, child, _folder: folder }
}

/// About processes that only Podman has.
mod podman {
    use super::*;

    #[test]
    #[ignore = "needs Podman"]
    fn a_service_killed_during_up_is_mended_by_the_next() {
        let mut dice = seeded();
        let stack = precious();
        stack.ok(&["down"]);
        let span = span(|| drop(stack.ok(&["up"])));
        for _ in 0..times("KESTACK_E2E_KILLS", 2) {
            stack.ok(&["down"]);
            let mut up = stack.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            until("kestack starts a service", || service_of(&up).is_some());
            let moment = dice.moment(span);
            std::thread::sleep(moment);
            // rootless Podman serves in a second process of the group
            let killed = service_of(&up).map(|pid| kill_process_group(Pid::from_raw(pid).unwrap(), Signal::KILL));
            let output = up.finished();
            let error = text(&output.stderr);
            eprintln!("service killed after {moment:?} ({killed:?}): {:?} {error}", output.status.code());
            assert!(output.status.success() || error.contains("error: "), "{error}");
            assert!(!error.contains("panicked"), "{error}");
            assert_mended(&stack);
        }
        assert_gone(&stack);
    }

    #[test]
    #[ignore = "needs Podman"]
    fn killed_monitors_do_not_stop_the_servers_and_leave_nothing() {
        let stack = precious();
        for pid in processes(&stack, "{{.State.ConmonPid}}") {
            kill(pid);
            assert_mended(&stack);
        }
        processes(&stack, "{{.State.ConmonPid}}").into_iter().for_each(kill);
        assert_gone(&stack);
    }

    #[test]
    #[ignore = "needs Podman"]
    fn everything_killed_at_once_is_mended_by_up() {
        let stack = precious();
        for _ in 0..2 {
            let all = processes(&stack, "{{.State.ConmonPid}} {{.State.Pid}}");
            assert!(all.len() >= 6, "{all:?}");
            all.into_iter().for_each(kill);
            assert_mended(&stack);
        }
        assert_gone(&stack);
    }
}

/// About forwarding in the firewall, which only root can change.
mod rootful {
    use super::*;

    #[test]
    #[ignore = "needs rootful Podman"]
    fn forwarding_that_a_killed_service_left_is_taken_back() {
        let stack = precious();
        let port = stack.json(&["up"])["s3"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        let about = format!("--dport {port}");
        let rules: Vec<_> = nat().lines().filter(|line| line.contains(&about)).map(str::to_owned).collect();
        cli(&["pod", "stop", &stack.name]);
        assert!(!nat().contains(&about));
        // as after SIGKILL in the middle: the rules are there, and the address they lead to is nobody's
        for rule in rules.iter().filter(|rule| rule.contains("-j DNAT")) {
            let words: Vec<_> = rule.split(' ').collect();
            let [.., destination] = words[..] else { panic!("{rule}") };
            let stale = rule.replace(destination, "10.88.255.254:9000");
            let _ =
                Command::new("iptables").args(["-t", "nat", "-N", words[1]]).stderr(Stdio::null()).status().unwrap();
            let added = Command::new("iptables").args(["-t", "nat"]).args(stale.split(' ')).status().unwrap();
            assert!(added.success(), "{stale}");
        }
        assert!(nat().contains("10.88.255.254"));
        assert_mended(&stack);
        assert!(!nat().contains("10.88.255.254"));
        assert_gone(&stack);
        assert!(!nat().contains(&about));
    }
}

/// Only a user of the tests' own, who is made by `tests/as-user`, can lose all processes.
mod rootless {
    use super::*;

    /// The host is switched off: no process is left, and what lives in memory is gone. Only where the user, its runtime folder
    /// and all its processes are the tests' own.
    #[test]
    #[ignore = "needs rootless Podman"]
    fn a_reboot_is_mended_by_up() {
        let stack = precious();
        let run = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").unwrap());
        let own = ancestry();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let ours = status.lines().any(|line| line.starts_with(&format!("Uid:\t{}\t", geteuid().as_raw())));
            if let Some(pid) = pid.filter(|pid| ours && !own.contains(pid)) {
                kill(pid);
            }
        }
        for entry in fs::read_dir(&run).unwrap().flatten() {
            let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
        }
        let states = cli(&["ps", "--all", "--filter", &format!("name={}", stack.name), "--format", "{{.State}}"]);
        assert!(!states.is_empty() && !states.contains("running"), "{states}");
        assert_mended(&stack);
        assert_gone(&stack);
    }
}

/// On Podman and on Docker.
mod containers {
    use super::*;

    #[test]
    #[ignore = "needs Podman or Docker"]
    fn a_slow_engine_is_waited_for() {
        let engine = served();
        let proxy = Proxy::start(&engine.socket, Duration::from_millis(40), i64::MAX);
        let stack = Sandbox::new("");
        stack.ok(&["up", "--host", &proxy.host()]);
        fill(&stack);
        stack.ok(&["down", "--host", &proxy.host()]);
        assert_mended(&stack);
        assert_gone(&stack);
    }

    #[test]
    #[ignore = "needs Podman or Docker"]
    fn a_dropped_connection_is_said_and_mended_by_the_next_up() {
        let mut dice = seeded();
        let engine = served();
        let stack = precious();
        for _ in 0..times("KESTACK_E2E_KILLS", 3) {
            stack.ok(&["down"]);
            let bytes = i64::try_from(dice.below(12_000)).unwrap();
            let proxy = Proxy::start(&engine.socket, Duration::ZERO, bytes);
            let output = stack.run(&["up", "--host", &proxy.host()]);
            let error = text(&output.stderr);
            eprintln!("hung up after {bytes} bytes: {:?} {error}", output.status.code());
            assert!(output.status.success() || error.contains("error: "), "{error}");
            assert!(!error.contains("panicked"), "{error}");
            // whoever still listens there might have the stack
            drop(proxy);
            assert_mended(&stack);
        }
        assert_gone(&stack);
    }

    #[test]
    #[ignore = "needs Podman or Docker"]
    fn an_engine_that_never_answers_is_named_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("silent.sock");
        // connections are taken by the system, and nobody reads them
        let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let stack = Sandbox::new("");
        let start = std::time::Instant::now();
        let error = stack.fails(&["up", "--host", &format!("unix://{}", socket.display())], 6);
        assert!(error.contains(socket.to_str().unwrap()) && error.contains("no answer"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        assert!(!stack.root().exists(), "nothing is made before");
    }
}
