//! Several KES over one keystore: killed, stalled and replaced under writers that do not retry.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest as sha256};
use kes_server::client::{Client, Credentials, Timeouts, Trust};
use kestack::unstable::servers::s3::S3Client;
use tokio::task::JoinHandle;

use crate::engine::{Kind, cli, kind, processes};
use crate::sandbox::Sandbox;

const WRITERS: usize = 4;
/// From SIGSTOP until writes that began later are acknowledged.
const RECOVERY: Duration = Duration::from_secs(5);
/// A loaded machine may take this long for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// One server of KES as the test sees it.
pub(crate) struct Replica {
    container: String,
    endpoint: String,
    client: Client,
}

impl Replica {
    pub(crate) fn all(stack: &Sandbox) -> Vec<Self> {
        let status = stack.json(&["status"]);
        let cert = |name: &str| std::fs::read(stack.root().join("certs").join(name)).unwrap();
        let one = |number: usize| {
            let endpoint = status["endpoints"][format!("kes-{number}")]["url"].as_str().unwrap().to_owned();
            let credentials = Credentials::from_pem(&cert("admin.cert"), &cert("admin.key")).unwrap();
            let trust = Trust::Pem(cert("ca.cert"));
            let client = Client::new(&[&endpoint], credentials, &trust, Timeouts::default()).unwrap();
            Self { container: format!("{}-kes-server-{number}", stack.name), endpoint, client }
        };
        let endpoints = status["endpoints"].as_object().unwrap().keys();
        (1..=endpoints.filter(|name| name.starts_with("kes-")).count()).map(one).collect()
    }

    /// Requests that it answered with 200 so far; `None` if it does not answer.
    async fn successes(&self) -> Option<u64> {
        let metrics = self.client.metrics().await.ok()?;
        let counts = metrics.lines().filter(|line| line.starts_with("kes_http_request_success{code=\"200\""));
        Some(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }

    /// The process of its supervisor.
    pub(crate) fn supervisor(&self, stack: &Sandbox) -> String {
        if kind() != Kind::Process {
            return cli(&["inspect", "--format", "{{.State.Pid}}", &self.container]).trim().to_owned();
        }
        let address = self.endpoint.trim_start_matches("https://");
        let found = processes(&stack.name, "kes");
        let line = found.iter().find(|line| line.contains("supervise") && line.contains(address));
        line.unwrap_or_else(|| panic!("{address}: {found:?}")).split(' ').next().unwrap().to_owned()
    }

    /// The process of the server itself, if there is one.
    fn server(&self, stack: &Sandbox) -> Option<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.supervisor(stack))).ok()?;
        let children = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        children.flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).next()
    }
}

/// The replica that answers most of the requests now.
async fn busy<'a>(replicas: &[&'a Replica]) -> &'a Replica {
    let mut before = Vec::new();
    for replica in replicas {
        before.push(replica.successes().await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut counts = Vec::new();
    for (replica, before) in replicas.iter().zip(before) {
        let now = replica.successes().await;
        counts.push((now.zip(before).map_or(0, |(now, before)| now.saturating_sub(before)), *replica));
    }
    let (count, replica) = counts.into_iter().max_by_key(|(count, _)| *count).unwrap();
    assert!(count > 0, "no replica is busy");
    replica
}

pub(crate) fn signal(pid: &str, signal: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

#[derive(Default)]
struct Log {
    /// Digest by name of what was acknowledged.
    acknowledged: BTreeMap<String, Vec<u8>>,
    failed: Vec<String>,
    /// Begin and end of each acknowledged write.
    times: Vec<(Instant, Instant)>,
}

/// Writers whose client does not retry.
struct Writers {
    log: Arc<Mutex<Log>>,
    end: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    fn start(stack: &Sandbox) -> Self {
        let s3 = stack.client();
        let (log, end) = (Arc::new(Mutex::new(Log::default())), Arc::new(AtomicBool::new(false)));
        let write = |number| tokio::spawn(write(number, s3.clone(), Arc::clone(&log), Arc::clone(&end)));
        Self { tasks: (0..WRITERS).map(write).collect(), log, end }
    }

    /// How long it took from now until writes that began later were acknowledged.
    async fn until_acknowledged(&self) -> Duration {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            let later: Vec<_> = {
                let log = self.log.lock().unwrap();
                log.times.iter().filter(|(begin, _)| *begin > since).map(|(_, end)| *end).collect()
            };
            if later.len() >= WRITERS * 3 {
                return later.iter().min().unwrap().duration_since(since);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nothing was acknowledged for {PATIENCE:?}");
    }

    fn told(&self, what: &str) {
        let log = self.log.lock().unwrap();
        let longest = log.times.iter().map(|(begin, end)| end.duration_since(*begin)).max().unwrap_or_default();
        eprintln!(
            "{what}: {} acknowledged, {} failed so far, longest write {:.2} s",
            log.acknowledged.len(),
            log.failed.len(),
            longest.as_secs_f32()
        );
    }

    async fn end(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            tokio::time::timeout(PATIENCE, task).await.expect("a writer hangs").unwrap();
        }
    }

    /// Reads all that was acknowledged; what is not as it was written.
    async fn unreadable(&self, stack: &Sandbox) -> Vec<String> {
        let s3 = stack.client();
        let written = self.log.lock().unwrap().acknowledged.clone();
        let mut wrong = Vec::new();
        for (name, digest) in written {
            match s3.get_object("encrypted", &name).await {
                Ok(body) if sha256(&SHA256, &body).as_ref() == digest => {}
                Ok(_) => wrong.push(format!("{name}: other content")),
                Err(error) => wrong.push(format!("{name}: {error}")),
            }
        }
        wrong
    }
}

async fn write(number: usize, s3: S3Client, log: Arc<Mutex<Log>>, end: Arc<AtomicBool>) {
    for count in 0_u32.. {
        if end.load(Ordering::Relaxed) {
            return;
        }
        let name = format!("{number}-{count}");
        let body = name.repeat(200 + 900 * number).into_bytes();
        let begin = Instant::now();
        let answer = s3.put_object("encrypted", &name, &body).await;
        let mut log = log.lock().unwrap();
        match answer {
            Ok(()) => {
                log.acknowledged.insert(name, sha256(&SHA256, &body).as_ref().to_vec());
                log.times.push((begin, Instant::now()));
            }
            Err(error) => log.failed.push(error.to_string()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine"]
async fn replicas_are_killed_stalled_and_replaced_under_load() {
    let stack = Sandbox::new("kes: { port: 0, replicas: 3 }\n");
    stack.ok(&["up"]);
    let replicas = Replica::all(&stack);
    let mut writers = Writers::start(&stack);
    writers.until_acknowledged().await;

    let mut alive: Vec<_> = replicas.iter().collect();
    for _ in 0..2 {
        let victim = busy(&alive).await;
        signal(&victim.supervisor(&stack), "-KILL");
        // a process is started again at once, and MinIO may go on with it
        if kind() != Kind::Process {
            alive.retain(|replica| replica.container != victim.container);
        }
        let took = writers.until_acknowledged().await;
        writers.told(&format!("killed the busy one, the next write after {:.2} s", took.as_secs_f32()));
    }
    stack.ok(&["up"]);
    stack.ok(&["status"]);

    let victim = busy(&replicas.iter().collect::<Vec<_>>()).await;
    let stopped = victim.server(&stack).unwrap();
    signal(&stopped, "-STOP");
    let took = writers.until_acknowledged().await;
    writers.told(&format!("stopped the busy one, the next write after {:.2} s", took.as_secs_f32()));
    assert!(took < RECOVERY, "{took:?}");
    let start = Instant::now();
    while victim.server(&stack).is_none_or(|server| server == stopped) {
        assert!(start.elapsed() < PATIENCE, "nobody started another");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let before: Vec<_> = replicas.iter().map(|replica| replica.supervisor(&stack)).collect();
    stack.manifest("kes: { port: 0, replicas: 3 }\nkeys: [minio-backend-key, another]\n");
    stack.ok(&["up"]);
    writers.until_acknowledged().await;
    writers.told("all replaced, one after the other");
    for (replica, before) in replicas.iter().zip(before) {
        assert_ne!(replica.supervisor(&stack), before, "{} was not replaced", replica.container);
        assert!(replica.successes().await.is_some());
    }
    writers.end().await;

    let failed = writers.log.lock().unwrap().failed.clone();
    // Of what a killed server was just answering, MinIO's client may have had a half: such a write fails with an error.
    assert!(failed.len() <= WRITERS, "{failed:?}");
    assert_eq!(writers.unreadable(&stack).await.first(), None);
    stack.ok(&["down"]);
    stack.ok(&["up"]);
    let unreadable = writers.unreadable(&stack).await;
    let acknowledged = writers.log.lock().unwrap().acknowledged.len();
    eprintln!(
        "{acknowledged} acknowledged, {} failed, {} unreadable after a cold start",
        failed.len(),
        unreadable.len()
    );
    assert_eq!(unreadable.first(), None);
    assert!(acknowledged > 50);
}

#[test]
#[ignore = "needs an engine"]
fn verify_reset_and_logs_know_every_replica() {
    let stack = Sandbox::new("kes: { port: 0, replicas: 2 }\n");
    let up = stack.json(&["up"]);
    assert_eq!(up["kes"].as_str().unwrap().split(',').count(), 2, "{up}");
    assert_eq!(stack.json(&["up"])["changed"], 0);
    assert_eq!(stack.json(&["verify"])["proven"], true);
    let logs = stack.ok(&["logs", "kes", "--tail", "3"]);
    assert!(logs.contains("kes-1 | ") && logs.contains("kes-2 | "), "{logs}");
    // a key that both have in their caches is gone from both, and made again it is one key
    for round in 0..2 {
        stack.ok(&["key", "create", "passing"]);
        stack.ok(&["bucket", "create", "passing", "--key", "passing"]);
        stack.put("/passing/object", format!("round {round}").as_bytes());
        assert_eq!(stack.read("/passing/object"), format!("round {round}").as_bytes());
        stack.ok(&["reset"]);
        assert_eq!(stack.json(&["key", "list"])["keys"].as_array().unwrap().len(), 1);
    }
    // one replica more, one less: another pod, the same data
    stack.put("/encrypted/kept", b"precious");
    stack.manifest("kes: { port: 0, replicas: 3 }\n");
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
    stack.manifest("kes: { port: 0 }\n");
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
    let servers: PathBuf = stack.root().join("config/minio");
    let env = std::fs::read_to_string(servers).unwrap();
    assert!(env.lines().any(|line| line.starts_with("MINIO_KMS_KES_ENDPOINT=") && !line.contains(',')), "{env}");
    stack.ok(&["down", "--data"]);
    assert_eq!(kind().members(&stack.name), Vec::<String>::new());
}

/// A server that keeps a deleted key in its cache would go on to encrypt with it, and nobody could read that.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine"]
async fn a_deleted_key_is_gone_from_every_replica() {
    let stack = Sandbox::new("kes: { port: 0, replicas: 3 }\n");
    stack.ok(&["up"]);
    let replicas = Replica::all(&stack);
    for round in 0..3 {
        stack.ok(&["key", "create", "passing"]);
        for replica in &replicas {
            replica.client.generate_key("passing", b"").await.unwrap();
        }
        stack.ok(&["key", "delete", "passing"]);
        for replica in &replicas {
            let answer = replica.client.generate_key("passing", b"").await;
            let gone = answer.err().is_some_and(|error| error.is_key_not_found());
            assert!(gone, "round {round}: {} still encrypts with it", replica.container);
        }
    }
    let error = stack.fails(&["key", "delete", "passing"], 1);
    assert!(error.contains("key does not exist"), "{error}");
}
