//! The engine contract with processes of this host; needs no container engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "test"
)]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kestack::unstable::engine::image::program_reference;
use kestack::unstable::engine::process::Processes;
use kestack::unstable::engine::{
    ContainerSpec, ContainerState, Engine, EngineError, LABEL_STACK, LogLine, Obstacle, PodSpec, PortMapping, Signal,
};

/// A server that says who it is and what it gets, and waits.
const SERVER: &str = "trap 'echo bye; exit 0' TERM; trap 'echo again' HUP; echo pid $$; env >&2; \
                      while :; do sleep 0.02; done";

/// An engine with a folder of its own, and what it made.
struct Fixture {
    engine: Processes,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = Processes::new(folder.path().to_owned(), env!("CARGO_BIN_EXE_kestack").into());
        Self { engine, folder }
    }

    async fn with_pod() -> Self {
        let fixture = Self::new();
        fixture.engine.create_pod(&pod(free_port())).await.unwrap();
        fixture
    }

    fn member(&self, name: &str) -> PathBuf {
        self.folder.path().join("pod/run").join(name)
    }

    async fn started(&self, name: &str, script: &str) -> ContainerSpec {
        let spec = container(name, script);
        self.engine.create_container(&spec).await.unwrap();
        self.engine.start_container(name).await.unwrap();
        spec
    }

    async fn state(&self, name: &str) -> ContainerState {
        let pod = self.engine.pod("pod").await.unwrap().unwrap();
        pod.containers.into_iter().find(|container| container.name == name).unwrap()
    }

    /// The lines so far, once there are `count`.
    async fn lines(&self, name: &str, count: usize) -> Vec<LogLine> {
        let start = Instant::now();
        loop {
            let mut log = self.engine.logs(name, None, false).await.unwrap();
            let mut lines = Vec::new();
            while let Some(line) = log.recv().await {
                lines.push(line);
            }
            if lines.len() >= count {
                return lines;
            }
            assert!(start.elapsed() < Duration::from_secs(10), "{lines:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn pid(&self, name: &str, who: &str) -> String {
        let record = std::fs::read_to_string(self.member(name).join(format!("{who}.json"))).unwrap();
        serde_json::from_str::<serde_json::Value>(&record).unwrap()["pid"].to_string()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // also after a failed test: nothing of it may go on
        for process in processes(self.folder.path()) {
            kill("KILL", &process);
        }
    }
}

fn pod(port: u16) -> PodSpec {
    let host_ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let ports = vec![PortMapping { host_ip, host_port: port, container_port: 7373 }];
    PodSpec { name: "pod".into(), labels: labels(), ports }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([(LABEL_STACK.to_owned(), "pod".to_owned())])
}

fn container(name: &str, script: &str) -> ContainerSpec {
    ContainerSpec {
        name: name.into(),
        pod: "pod".into(),
        image: program_reference(Path::new("/bin/sh"), None).unwrap(),
        command: vec!["-c".into(), script.into()],
        env: BTreeMap::from([("GIVEN".to_owned(), "value".to_owned())]),
        labels: labels(),
        mounts: vec![],
        capabilities: vec![],
        stop_timeout: 5,
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn kill(signal: &str, pid: &str) {
    Command::new("kill").args([&format!("-{signal}"), pid]).output().unwrap();
}

/// Processes that stand in the folder, or look after somebody who does.
fn processes(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let ours = all.filter(|process| {
        let place = std::fs::read_link(process.join("cwd")).unwrap_or_default();
        let arguments = std::fs::read(process.join("cmdline")).unwrap_or_default();
        place.starts_with(folder) || String::from_utf8_lossy(&arguments).contains(folder)
    });
    ours.map(|process| process.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// True if at most the exit code of the process is left.
fn gone(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !done().await {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_pod_lives_and_dies() {
    let fixture = Fixture::new();
    let (engine, port) = (&fixture.engine, free_port());
    engine.create_pod(&pod(port)).await.unwrap();
    let (one, two) = (fixture.started("one", SERVER).await, fixture.started("two", SERVER).await);
    engine.start_container("one").await.expect("a running server is started");
    let state = engine.pod("pod").await.unwrap().unwrap();
    assert!(state.running);
    assert_eq!((&state.labels, &state.ports), (&labels(), &pod(port).ports));
    assert_eq!(state.containers.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(state.containers.iter().all(|server| server.running && server.exit_code.is_none()));
    assert!(engine.pods().await.unwrap().contains(&state));

    engine.stop_container("one", Duration::from_secs(5)).await.unwrap();
    engine.stop_container("one", Duration::from_secs(5)).await.expect("a stopped server is stopped");
    let stopped = fixture.state("one").await;
    assert_eq!((stopped.status.as_str(), stopped.exit_code), ("exited", Some(0)), "it ended as it was asked to");
    assert_eq!(fixture.lines("one", 0).await.last().unwrap().text, "bye");
    assert!(engine.create_container(&one).await.is_err(), "it is still there");
    engine.remove_container("one").await.unwrap();
    engine.remove_container("one").await.expect("an absent server is removed");
    engine.stop_container("one", Duration::from_secs(5)).await.expect("an absent server is stopped");
    engine.remove_container("two").await.expect("a running server can be removed");
    engine.create_container(&two).await.unwrap();
    engine.start_container("two").await.unwrap();

    engine.remove_pod("pod").await.unwrap();
    engine.remove_pod("pod").await.expect("an absent pod is removed");
    assert_eq!(engine.pod("pod").await.unwrap(), None);
    assert_eq!(processes(fixture.folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_gets_what_the_recipe_says_and_nothing_else() {
    let fixture = Fixture::with_pod().await;
    fixture.started("one", SERVER).await;
    let lines = fixture.lines("one", 4).await;
    let said: Vec<_> = lines.iter().filter(|line| !line.stderr).map(|line| line.text.clone()).collect();
    assert_eq!(said, [format!("pid {}", fixture.pid("one", "server"))], "the record names the server itself");
    let mut variables: Vec<_> = lines.iter().filter(|line| line.stderr).map(|line| line.text.clone()).collect();
    variables.retain(|line| !line.starts_with("PWD=") && !line.starts_with("_=") && !line.starts_with("SHLVL="));
    variables.sort();
    assert_eq!(variables, ["GIVEN=value".to_owned(), format!("HOME={}", fixture.member("one").display())]);
    let inputs = format!("/proc/{}/fd/0", fixture.pid("one", "server"));
    assert_eq!(std::fs::read_link(inputs).unwrap(), Path::new("/dev/null"));
}

#[tokio::test]
async fn signals_reach_the_server() {
    let fixture = Fixture::with_pod().await;
    fixture.started("one", SERVER).await;
    fixture.lines("one", 3).await;
    let (engine, server) = (&fixture.engine, fixture.pid("one", "server"));
    let frozen = || std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap().contains(") T ");
    engine.signal_container("one", Signal::Stop).await.unwrap();
    until("it freezes", async || frozen()).await;
    engine.signal_container("one", Signal::Cont).await.unwrap();
    until("it goes on", async || !frozen()).await;
    engine.signal_container("one", Signal::Hup).await.unwrap();
    let again = async || fixture.lines("one", 0).await.iter().filter(|line| line.text == "again").count();
    until("it reloads", async || again().await == 1).await;
    kill("HUP", &fixture.pid("one", "supervisor"));
    until("its supervisor passes it on", async || again().await == 2).await;
    // a frozen one is woken to end
    engine.signal_container("one", Signal::Stop).await.unwrap();
    engine.stop_container("one", Duration::from_secs(5)).await.unwrap();
    assert_eq!(fixture.state("one").await.exit_code, Some(0));
    assert!(engine.signal_container("one", Signal::Hup).await.is_err(), "there is nobody to hear it");
}

#[tokio::test]
async fn a_crashed_server_is_started_again() {
    let fixture = Fixture::with_pod().await;
    fixture.started("one", SERVER).await;
    let before = fixture.pid("one", "server");
    fixture.engine.signal_container("one", Signal::Kill).await.unwrap();
    until("another one runs", async || fixture.pid("one", "server") != before && fixture.state("one").await.running)
        .await;
    let lines = fixture.lines("one", 0).await;
    assert!(lines.iter().any(|line| line.text.contains("signal: 9") && line.text.contains("again")), "{lines:?}");
}

#[tokio::test]
async fn a_server_that_cannot_live_is_given_up_with_its_words() {
    let fixture = Fixture::with_pod().await;
    fixture.started("one", "echo no configuration >&2; exit 3").await;
    assert_eq!(fixture.state("one").await.exit_code, None, "it will be tried again");
    until("it is given up", async || fixture.state("one").await.exit_code.is_some()).await;
    let state = fixture.state("one").await;
    assert_eq!((state.status.as_str(), state.exit_code, state.running), ("exited", Some(3), false));
    let lines = fixture.lines("one", 0).await;
    assert_eq!(lines.iter().filter(|line| line.text == "no configuration" && line.stderr).count(), 6, "{lines:?}");
    assert_eq!(processes(fixture.folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn one_that_ends_well_is_not_started_again() {
    let fixture = Fixture::with_pod().await;
    fixture.started("one", "exit 0").await;
    until("it ends", async || fixture.state("one").await.exit_code == Some(0)).await;
    fixture.engine.start_container("one").await.expect("it can be started again");
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_server_with_it() {
    let fixture = Fixture::with_pod().await;
    fixture.started("one", SERVER).await;
    fixture.lines("one", 3).await;
    let before = fixture.pid("one", "server");
    kill("KILL", &fixture.pid("one", "supervisor"));
    until("both are gone", async || processes(fixture.folder.path()).is_empty()).await;
    let state = fixture.state("one").await;
    assert_eq!((state.status.as_str(), state.running), ("exited", false));
    fixture.engine.start_container("one").await.unwrap();
    assert_ne!(fixture.pid("one", "server"), before);
}

#[tokio::test]
async fn a_server_that_outlives_its_supervisor_is_found() {
    let fixture = Fixture::with_pod().await;
    // deaf to the signal that it gets when its supervisor dies
    let deaf = "trap '' TERM PIPE; echo ready; while :; do sleep 0.02; done";
    let mut spec = container("one", deaf);
    spec.stop_timeout = 1;
    fixture.engine.create_container(&spec).await.unwrap();
    fixture.engine.start_container("one").await.unwrap();
    fixture.lines("one", 1).await;
    let before = fixture.pid("one", "server");
    kill("KILL", &fixture.pid("one", "supervisor"));
    until("nobody looks after it", async || !fixture.state("one").await.running).await;
    fixture.engine.start_container("one").await.expect("the old one ends, a new one starts");
    let now = fixture.pid("one", "server");
    assert_ne!(now, before);
    assert!(gone(&before));
    kill("KILL", &fixture.pid("one", "supervisor"));
    fixture.engine.remove_pod("pod").await.unwrap();
    assert!(gone(&now));
}

#[tokio::test]
async fn a_server_that_does_not_listen_is_killed_in_time() {
    let fixture = Fixture::with_pod().await;
    let mut spec = container("one", "trap '' TERM; echo ready; while :; do sleep 0.02; done");
    spec.stop_timeout = 1;
    fixture.engine.create_container(&spec).await.unwrap();
    fixture.engine.start_container("one").await.unwrap();
    fixture.lines("one", 1).await;
    let start = Instant::now();
    fixture.engine.stop_container("one", Duration::from_secs(1)).await.unwrap();
    assert!((1..4).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(fixture.state("one").await.exit_code, Some(137));
}

#[tokio::test]
async fn starts_at_the_same_time_make_one_server() {
    let fixture = Fixture::with_pod().await;
    fixture.engine.create_container(&container("one", SERVER)).await.unwrap();
    let other = Processes::new(fixture.folder.path().to_owned(), env!("CARGO_BIN_EXE_kestack").into());
    let (first, second) =
        tokio::join!(fixture.engine.start_container("one"), async { other.start_container("one").await });
    first.unwrap();
    second.unwrap();
    let pids = fixture.lines("one", 3).await.iter().filter(|line| line.text.starts_with("pid ")).count();
    assert_eq!(pids, 1);
}

#[tokio::test]
async fn logs_are_followed_to_the_end() {
    let fixture = Fixture::with_pod().await;
    fixture.started("one", SERVER).await;
    fixture.lines("one", 3).await;
    let mut log = fixture.engine.logs("one", Some(0), true).await.unwrap();
    fixture.engine.signal_container("one", Signal::Hup).await.unwrap();
    assert_eq!(log.recv().await.unwrap().text, "again");
    fixture.engine.stop_container("one", Duration::from_secs(5)).await.unwrap();
    assert_eq!(log.recv().await.unwrap().text, "bye");
    assert!(log.recv().await.is_none());
}

#[tokio::test]
async fn a_taken_port_is_explained_and_leaves_nothing() {
    let fixture = Fixture::new();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = fixture.engine.create_pod(&pod(holder.local_addr().unwrap().port())).await.unwrap_err();
    let EngineError::Refused { hint: Some(hint), obstacle: Obstacle::TakenPort(_), .. } = &error else {
        panic!("{error}")
    };
    assert!(hint.contains(&format!("pid {}", std::process::id())), "{error}");
    assert_eq!(fixture.engine.pod("pod").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let fixture = Fixture::with_pod().await;
    let engine = &fixture.engine;
    let gone = format!("{}@sha256:{}", fixture.folder.path().join("gone").display(), "0".repeat(64));
    assert_eq!(engine.image(&gone).await.unwrap(), None);
    let spec = ContainerSpec { image: gone, ..container("one", "") };
    let error = engine.create_container(&spec).await.unwrap_err();
    assert!(matches!(&error, EngineError::Refused { hint: Some(_), .. }), "{error}");
    let error = engine.create_pod(&pod(free_port())).await.unwrap_err();
    assert!(error.to_string().contains("already exists"), "{error}");
    let error = engine.images().err().unwrap();
    assert!(error.to_string().contains("minio.binary"), "{error}");
    assert!(engine.logs("one", None, false).await.is_err());
    assert!(engine.start_container("one").await.is_err());
}

#[tokio::test]
async fn a_half_made_pod_is_ours_and_not_usable() {
    let fixture = Fixture::with_pod().await;
    fixture.started("one", SERVER).await;
    std::fs::write(fixture.folder.path().join("pod/run/pod.json"), "{").unwrap();
    let state = fixture.engine.pod("pod").await.unwrap().unwrap();
    assert!(!state.running && state.labels.contains_key(LABEL_STACK), "{state:?}");
    fixture.engine.remove_pod("pod").await.unwrap();
    assert_eq!(processes(fixture.folder.path()), Vec::<String>::new(), "its members end all the same");
}

#[tokio::test]
async fn a_supervisor_whose_record_is_gone_ends_with_its_server() {
    for moved in [false, true] {
        let fixture = Fixture::with_pod().await;
        fixture.started("kes", SERVER).await;
        fixture.lines("kes", 1).await;
        let pids = [fixture.pid("kes", "server"), fixture.pid("kes", "supervisor")];
        let (stack, elsewhere) = (fixture.folder.path().join("pod"), tempfile::tempdir().unwrap());
        if moved {
            // another stack stands in its place before anybody looks
            std::fs::rename(&stack, elsewhere.path().join("pod")).unwrap();
            fixture.engine.create_pod(&pod(free_port())).await.unwrap();
            fixture.started("kes", SERVER).await;
        } else {
            std::fs::remove_dir_all(&stack).unwrap();
        }
        let start = Instant::now();
        while !pids.iter().all(|pid| gone(pid)) {
            assert!(start.elapsed() < Duration::from_secs(60), "{pids:?} go on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if moved {
            let state = fixture.state("kes").await;
            assert!(state.running && state.exit_code.is_none(), "the other one is left alone: {state:?}");
        }
    }
}
