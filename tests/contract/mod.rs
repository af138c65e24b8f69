//! What every container engine must do, against a real one.
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
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use kestack::unstable::engine::discover::{Connection, EngineOptions, connect};
use kestack::unstable::engine::image::{ImageRecipe, compose};
use kestack::unstable::engine::{
    ContainerSpec, Engine, EngineError, LABEL_STACK, LogLine, Mount, PodSpec, PortMapping, Signal,
};
use kestack::unstable::manifest::EngineKind;

/// Podman's init program: static, small, and in Debian's package of its own.
const PAUSE: [&str; 3] = ["/usr/bin/catatonit", "/usr/libexec/podman/catatonit", "/usr/libexec/catatonit/catatonit"];

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The engine, and names and ports for what a test makes.
pub(crate) struct Fixture {
    connection: Connection,
    name: String,
    image: String,
    ports: Vec<PortMapping>,
}

/// Makes one test of each case, against an engine of this kind.
#[macro_export]
macro_rules! contract {
    ($kind:expr; $($case:ident)*) => {
        $(
            #[tokio::test]
            #[ignore = "needs an engine"]
            async fn $case() {
                contract::with($kind, stringify!($case), async |fixture| contract::$case(fixture).await).await;
            }
        )*
    };
}

/// Runs a test with a fixture of its own and removes what it made, also if it fails.
pub(crate) async fn with(kind: EngineKind, test: &str, body: impl AsyncFnOnce(&Fixture)) {
    let fixture = Fixture::new(kind, test).await;
    let result = AssertUnwindSafe(body(&fixture)).catch_unwind().await;
    fixture.engine().remove_pod(&fixture.name).await.unwrap();
    assert_eq!(fixture.engine().pod(&fixture.name).await.unwrap(), None);
    let removed = Command::new(fixture.engine().info().kind.word()).args(["rmi", &fixture.image]).output().unwrap();
    assert!(removed.status.success(), "{removed:?}");
    let socket = PathBuf::from(fixture.engine().info().address.trim_start_matches("unix://"));
    let ours = kind == EngineKind::Podman && !socket.starts_with("/run");
    drop(fixture);
    assert!(!ours || !socket.exists(), "our own service goes with its connection");
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

impl Fixture {
    async fn new(kind: EngineKind, test: &str) -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let options =
            EngineOptions { kind, host: None, env: &environment, stack: Path::new("/nonexistent"), program: None };
        let connection = connect(&options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("program");
        let pause = PAUSE.iter().find_map(|path| std::fs::read(path).ok()).expect("catatonit is installed");
        // Bytes of its own make it an image of its own, which can be removed at the end.
        std::fs::write(&binary, [pause.as_slice(), test.as_bytes(), &std::process::id().to_le_bytes()].concat())
            .unwrap();
        let archive = compose(&ImageRecipe { name: "kes", binary }, None, None).unwrap();
        let (id, tag) = (archive.identity().id.clone(), archive.identity().tag.clone());
        connection.engine.images().unwrap().load(archive).await.unwrap();
        assert_eq!(connection.engine.image(&tag).await.unwrap(), Some(id), "the id is known before the load");
        let name = format!("kestack-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { connection, name, image: tag, ports: free_ports() }
    }

    fn engine(&self) -> &dyn Engine {
        self.connection.engine.as_ref()
    }

    fn pod(&self) -> PodSpec {
        PodSpec { name: self.name.clone(), labels: self.labels(), ports: self.ports.clone() }
    }

    fn container(&self, role: &str, command: &[&str]) -> ContainerSpec {
        ContainerSpec {
            name: format!("{}-{role}", self.name),
            pod: self.name.clone(),
            image: self.image.clone(),
            command: command.iter().map(ToString::to_string).collect(),
            env: BTreeMap::from([("K".to_owned(), "v".to_owned())]),
            labels: self.labels(),
            mounts: vec![Mount { source: "/etc/hostname".into(), target: "/etc/given".into(), read_only: true }],
            capabilities: vec!["IPC_LOCK".to_owned()],
            stop_timeout: 5,
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(LABEL_STACK.to_owned(), self.name.clone())])
    }
}

/// Two free ports below the ephemeral range, others for each caller.
fn free_ports() -> Vec<PortMapping> {
    static CALLS: AtomicU16 = AtomicU16::new(0);
    let host_ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let block = u16::try_from(std::process::id() % 100).unwrap() * 100 + CALLS.fetch_add(1, Ordering::Relaxed) * 10;
    let free = (20_000 + block..32_000).filter(|port| TcpListener::bind((host_ip, *port)).is_ok());
    free.take(2).map(|host_port| PortMapping { host_ip, host_port, container_port: host_port }).collect()
}

async fn lines(engine: &dyn Engine, name: &str) -> Vec<LogLine> {
    let mut receiver = engine.logs(name, Some(10), false).await.unwrap();
    let mut lines = Vec::new();
    while let Some(line) = receiver.recv().await {
        lines.push(line);
    }
    lines
}

pub(crate) async fn a_pod_lives_and_dies(fixture: &Fixture) {
    let engine = fixture.engine();
    let mut clock = Clock::default();
    engine.create_pod(&fixture.pod()).await.unwrap();
    clock.lap("pod create + start");
    let (one, two) = (fixture.container("one", &["-P"]), fixture.container("two", &["-P"]));
    let (made, also) = tokio::join!(engine.create_container(&one), engine.create_container(&two));
    made.unwrap();
    also.unwrap();
    clock.lap("2 containers created");
    let (up, also) = tokio::join!(engine.start_container(&one.name), engine.start_container(&two.name));
    up.unwrap();
    also.unwrap();
    clock.lap("2 containers started");
    engine.start_container(&one.name).await.expect("a running container is started");

    let pod = engine.pod(&fixture.name).await.unwrap().unwrap();
    clock.lap("start again + observe");
    assert!(pod.running);
    assert_eq!(pod.labels, fixture.labels());
    assert_eq!(pod.ports, fixture.ports);
    let mut names: Vec<_> = pod.containers.iter().map(|container| container.name.clone()).collect();
    names.sort();
    assert_eq!(names, [one.name.clone(), two.name.clone()]);
    assert!(pod.containers.iter().all(|container| container.running && container.exit_code.is_none()));
    assert!(engine.pods().await.unwrap().contains(&pod));

    engine.signal_container(&one.name, Signal::Stop).await.unwrap();
    engine.signal_container(&one.name, Signal::Cont).await.unwrap();
    engine.stop_container(&one.name, Duration::from_secs(5)).await.unwrap();
    engine.stop_container(&one.name, Duration::from_secs(5)).await.expect("a stopped container is stopped");
    engine.remove_container(&one.name).await.unwrap();
    engine.remove_container(&one.name).await.expect("an absent container is removed");
    engine.stop_container(&one.name, Duration::from_secs(5)).await.expect("an absent container is stopped");
    engine.remove_container(&two.name).await.expect("a running container can be removed");
    engine.create_container(&two).await.unwrap();
    engine.start_container(&two.name).await.unwrap();

    let mut clock = Clock::default();
    engine.remove_pod(&fixture.name).await.unwrap();
    clock.lap("stop + rm");
    engine.remove_pod(&fixture.name).await.expect("an absent pod is removed");
}

pub(crate) async fn an_ended_program_leaves_its_code_and_its_words(fixture: &Fixture) {
    let engine = fixture.engine();
    engine.create_pod(&fixture.pod()).await.unwrap();
    let spec = fixture.container("ended", &["--", "/nonexistent"]);
    engine.create_container(&spec).await.unwrap();
    engine.start_container(&spec.name).await.unwrap();
    let mut ended = None;
    for _ in 0..100 {
        let pod = engine.pod(&fixture.name).await.unwrap().unwrap();
        ended = pod.containers.into_iter().find(|container| container.exit_code.is_some());
        if ended.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = ended.expect("the program ends");
    assert!(!ended.running);
    assert_ne!(ended.exit_code, Some(0));
    let lines = lines(engine, &spec.name).await;
    assert!(lines.iter().any(|line| line.stderr && line.text.contains("failed to exec")), "{lines:?}");
}

pub(crate) async fn a_taken_port_is_explained_and_leaves_nothing(fixture: &Fixture) {
    let taken = TcpListener::bind((fixture.ports[0].host_ip, fixture.ports[0].host_port)).unwrap();
    let error = fixture.engine().create_pod(&fixture.pod()).await.unwrap_err();
    let EngineError::Refused { hint: Some(hint), .. } = &error else { panic!("{error}") };
    assert!(hint.contains(&format!("pid {}", std::process::id())), "{error}");
    assert_eq!(fixture.engine().pod(&fixture.name).await.unwrap(), None);
    drop(taken);
}

pub(crate) async fn a_port_of_another_pod_is_explained(fixture: &Fixture) {
    fixture.engine().create_pod(&fixture.pod()).await.unwrap();
    let mut second = fixture.pod();
    second.name.push_str("-2");
    let error = fixture.engine().create_pod(&second).await.unwrap_err();
    assert!(error.to_string().contains(&format!("pod '{}' publishes port", fixture.name)), "{error}");
}

pub(crate) async fn what_is_missing_is_said(fixture: &Fixture) {
    let engine = fixture.engine();
    assert_eq!(engine.image("localhost/kestack/none:none").await.unwrap(), None);
    engine.create_pod(&fixture.pod()).await.unwrap();
    let mut spec = fixture.container("x", &["-P"]);
    "localhost/kestack/none:none".clone_into(&mut spec.image);
    let error = engine.create_container(&spec).await.unwrap_err();
    assert!(matches!(&error, EngineError::Refused { hint: Some(_), .. }), "{error}");
    let error = engine.create_pod(&fixture.pod()).await.unwrap_err();
    assert!(error.to_string().contains("already") && error.to_string().contains("--name"), "{error}");
    assert!(engine.logs("kestack-test-none", None, false).await.is_err());
}

/// Prints how long things took; nothing is asserted about it.
struct Clock(Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock {
    fn lap(&mut self, what: &str) {
        eprintln!("{what}: {} ms", self.0.elapsed().as_millis());
        self.0 = Instant::now();
    }
}
