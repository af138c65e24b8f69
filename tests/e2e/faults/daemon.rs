//! Docker's daemon and containerd, killed with SIGKILL and started again as systemd does: whatever else they started lives
//! on meanwhile, containers among it (`KillMode=process`). Only a daemon of the tests' own: run with `tests/with-docker`.

use std::fs::{File, read, read_to_string};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::{assert_gone, assert_mended, fill, precious, seeded, span, times, until};
use crate::bounded::Bounded as _;
use crate::engine::cli;
use crate::sandbox::{Sandbox, text};

/// A program that systemd would run, known by its pid file.
struct Service {
    pid_file: PathBuf,
    command: Vec<String>,
    answers: fn() -> bool,
}

impl Service {
    /// The daemon of the tests' own.
    fn dockerd() -> Self {
        Self::named("dockerd", || Command::new("docker").arg("version").finished().status.success())
    }

    /// The containerd that it works with.
    fn containerd() -> Self {
        Self::named("containerd", || {
            let mut ctr = Command::new("ctr");
            ctr.arg("--address").arg(folder().join("containerd.sock")).args(["--timeout", "5s", "version"]);
            ctr.finished().status.success()
        })
    }

    fn named(program: &str, answers: fn() -> bool) -> Self {
        let pid_file = folder().join(program).with_extension("pid");
        let pid = read_to_string(&pid_file).unwrap();
        let command = text(&read(format!("/proc/{}/cmdline", pid.trim())).unwrap());
        let command = command.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
        Self { pid_file, command, answers }
    }

    /// Ends it, and waits until no process is left of it: dockerd does not start next to the zombie that its pid file
    /// names.
    fn end(&self, signal: Signal) {
        let pid: i32 = read_to_string(&self.pid_file).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        until("its process ends", || {
            // reaps it if a test started it
            let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
            !PathBuf::from(format!("/proc/{pid}")).exists()
        });
    }

    /// Starts it until it answers; one that gives up is started again, as `Restart=always` does.
    #[expect(clippy::zombie_processes, reason = "it outlives the test; what ends it reaps it")]
    fn start(&self) {
        let start = Instant::now();
        let mut child = self.spawn();
        while !(self.answers)() {
            assert!(
                start.elapsed() < Duration::from_secs(90),
                "{:?} does not come back:\n{}",
                self.command,
                self.said()
            );
            if child.try_wait().unwrap().is_some() {
                eprintln!("it gave up, and is started again: {}", self.said());
                child = self.spawn();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn log(&self) -> PathBuf {
        self.pid_file.with_file_name("log")
    }

    /// The end of its log.
    fn said(&self) -> String {
        let log = text(&read(self.log()).unwrap());
        log.lines().skip(log.lines().count().saturating_sub(10)).collect::<Vec<_>>().join("\n")
    }

    fn spawn(&self) -> Child {
        let log = File::options().append(true).create(true).open(self.log()).unwrap();
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.process_group(0).spawn().unwrap();
        if !self.command.iter().any(|word| word == "--pidfile") {
            std::fs::write(&self.pid_file, child.id().to_string()).unwrap();
        }
        child
    }
}

/// Where the tests' own daemon keeps its files.
fn folder() -> PathBuf {
    let pid_file = std::env::var_os("KESTACK_E2E_DOCKERD").expect("run this test with tests/with-docker");
    PathBuf::from(pid_file).parent().unwrap().to_owned()
}

/// Brings the stack up again. Where Docker keeps a port for a container that is gone, and no other will do, `up` says what
/// to do, and that helps. True if it had to be done.
fn had_to_be_restarted(stack: &Sandbox, dockerd: &Service) -> bool {
    let output = stack.run(&["up"]);
    let error = text(&output.stderr);
    error.lines().filter(|line| line.contains("WARN")).for_each(|line| eprintln!("{line}"));
    if output.status.success() {
        return false;
    }
    eprintln!("{error}");
    assert!(
        error.contains("port is already allocated") && error.contains("`sudo systemctl restart docker`"),
        "{error}"
    );
    dockerd.end(Signal::TERM);
    dockerd.start();
    true
}

/// Kills the daemon at random moments of `up`; returns how often it had to be restarted afterwards.
fn killed_during_up(stack: &Sandbox, dockerd: &Service) -> u32 {
    let mut dice = seeded();
    fill(stack);
    stack.ok(&["down"]);
    let span = span(|| drop(stack.ok(&["up"])));
    let kills = times("KESTACK_E2E_DAEMON_KILLS", 1);
    let mut restarts = 0;
    for kill in 1..=kills {
        stack.ok(&["down"]);
        let mut up = stack.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let moment = dice.moment(span);
        std::thread::sleep(moment);
        dockerd.end(Signal::KILL);
        let output = up.finished();
        let error = text(&output.stderr);
        eprintln!("{kill}: dockerd killed after {moment:?} of {span:?}: {:?} {error}", output.status.code());
        assert!(output.status.success() || error.contains("error: "), "{error}");
        assert!(!error.contains("panicked"), "{error}");
        dockerd.start();
        restarts += u32::from(had_to_be_restarted(stack, dockerd));
        assert_mended(stack);
        if kill % 2 == 1 {
            assert_gone(stack);
            fill(stack);
        }
    }
    assert_gone(stack);
    eprintln!("dockerd killed {kills} times during `up`: it had to be restarted {restarts} times");
    restarts
}

#[test]
#[ignore = "needs a Docker of tests/with-docker"]
fn a_daemon_killed_during_up_is_mended_by_the_next() {
    let dockerd = Service::dockerd();
    assert_eq!(killed_during_up(&Sandbox::new(""), &dockerd), 0, "other ports are taken");
}

#[test]
#[ignore = "needs a Docker of tests/with-docker"]
fn a_daemon_killed_during_up_with_named_ports_is_mended_or_to_be_restarted() {
    let dockerd = Service::dockerd();
    let ports = "kes: { port: 17373 }\nminio: { port: 19000, console_port: 19001 }\n";
    killed_during_up(&Sandbox::new(ports), &dockerd);
}

/// The daemon comes back with everything stopped, as after a reboot of the host.
#[test]
#[ignore = "needs a Docker of tests/with-docker"]
fn a_killed_daemon_is_mended_by_up() {
    let dockerd = Service::dockerd();
    let stack = precious();
    dockerd.end(Signal::KILL);
    let error = stack.fails(&["up"], 6);
    assert!(error.contains("systemctl start docker"), "{error}");
    dockerd.start();
    let states = cli(&["ps", "--all", "--filter", &format!("name={}", stack.name), "--format", "{{.State}}"]);
    assert_eq!(states.lines().collect::<Vec<_>>(), ["exited"; 3], "everything stopped");
    had_to_be_restarted(&stack, &dockerd);
    assert_mended(&stack);
    assert_gone(&stack);
}

#[test]
#[ignore = "needs a Docker of tests/with-docker"]
fn a_killed_containerd_is_mended_by_up() {
    let containerd = Service::containerd();
    let stack = precious();
    let minio = format!("{}-minio-server", stack.name);
    for _ in 0..times("KESTACK_E2E_DAEMON_KILLS", 1) {
        containerd.end(Signal::KILL);
        // the servers go on; what needs their processes does not
        assert_eq!(stack.json(&["status"])["state"], "running");
        let error = stack.fails(&["verify"], 1);
        assert!(error.contains("systemctl restart containerd"), "{error}");
        containerd.start();
        let top = || Command::new("docker").args(["top", &minio]).finished().status.success();
        until("dockerd finds it again", top);
        assert_mended(&stack);
    }
    assert_gone(&stack);
}
