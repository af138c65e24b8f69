//! Load on a `kes` of its own over mTLS on the loopback: throughput, latency, and what each request costs the server.
//!
//! `cargo build --release -p kes-server && cargo run --release -p kes-server --example load -- [SECONDS] [KES]`
//!
//! Costs are CPU time of the server's process, read from `/proc`; they are comparable between runs even on a busy
//! machine, latencies are not.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement for the terminal"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kes_server::client::{Client, Credentials, Timeouts, Trust};
use reqwest::{Body, Identity, Method};

/// Requests at a time.
const WORKERS: usize = 16;
/// What `MinIO` sends as context for an object.
const CONTEXT: &str = r#"{"context":"eyJidWNrZXQiOiJidWNrZXQvb2JqZWN0In0="}"#;

struct Server {
    child: Child,
    folder: tempfile::TempDir,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts one with an admin and a key, and waits until it answers; says how long that took.
    async fn start(kes: &Path) -> (Self, Duration) {
        let folder = tempfile::tempdir().unwrap();
        let run = |arguments: &[&str]| {
            let output = Command::new(kes).args(arguments).current_dir(folder.path()).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        for name in ["server", "client"] {
            let (key, cert) = (format!("{name}.key"), format!("{name}.crt"));
            run(&["identity", "new", "--key", &key, "--cert", &cert, "--ip", "127.0.0.1"]);
        }
        let admin = run(&["identity", "of", "client.crt"]);
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let config = format!(
            "address: {address}\nadmin: {{ identity: {admin} }}\ntls: {{ key: server.key, cert: server.crt }}\n\
             log: {{ audit: off }}\nkeys: [{{ name: load }}]\nkeystore: {{ fs: {{ path: keys }} }}\n"
        );
        std::fs::write(folder.path().join("config.yaml"), config).unwrap();
        let start = Instant::now();
        let child = Command::new(kes)
            .args(["server", "--config", "config.yaml"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { child, folder, address };
        let client = server.typed_client();
        while client.generate_key("load", &[]).await.is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "the server does not answer");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (server, start.elapsed())
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).unwrap()
    }

    fn typed_client(&self) -> Client {
        let credentials = Credentials::from_pem(&self.read("client.crt"), &self.read("client.key")).unwrap();
        let timeouts = Timeouts { connect: Duration::from_secs(5), request: Duration::from_secs(5) };
        Client::new(std::slice::from_ref(&self.address), credentials, &Trust::Insecure, timeouts).unwrap()
    }

    fn client(&self, http1: bool) -> reqwest::Client {
        let identity = Identity::from_pem(&[self.read("client.key"), self.read("client.crt")].concat()).unwrap();
        let builder = reqwest::Client::builder().identity(identity).tls_danger_accept_invalid_certs(true);
        if http1 { builder.http1_only().build().unwrap() } else { builder.build().unwrap() }
    }

    /// CPU time of the process so far.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields.iter().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Asks for `time` with so many requests at a time; `client` gives the client of each request.
    async fn load(&self, what: &str, time: Duration, workers: usize, client: impl Fn() -> reqwest::Client, call: Call) {
        let (cpu, start) = (self.cpu(), Instant::now());
        let call = Arc::new(call);
        let tasks: Vec<_> = (0..workers)
            .map(|_| tokio::spawn(repeat(start + time, client(), call.clone(), self.address.clone())))
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.unwrap());
        }
        latencies.sort_unstable();
        let count = latencies.len();
        let at = |share: usize| latencies.get((count * share / 1000).min(count - 1)).unwrap().as_micros();
        let cost = self.cpu().saturating_sub(cpu).as_secs_f64() * 1e6 / count as f64;
        let rate = count as f64 / start.elapsed().as_secs_f64();
        println!(
            "{what:24} {rate:>8.0}/s  p50 {:>6} µs  p99 {:>7} µs  server {cost:>6.1} µs each  {} KiB",
            at(500),
            at(990),
            self.memory()
        );
    }
}

/// What is asked again and again.
struct Call {
    path: &'static str,
    body: String,
    /// A connection of its own for each request.
    fresh: Option<Box<dyn Fn() -> reqwest::Client + Send + Sync>>,
}

async fn repeat(until: Instant, client: reqwest::Client, call: Arc<Call>, address: String) -> Vec<Duration> {
    let url = format!("https://{address}{}", call.path);
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let client = call.fresh.as_ref().map_or_else(|| client.clone(), |fresh| fresh());
        let start = Instant::now();
        let request = client.request(Method::PUT, &url).body(Body::from(call.body.clone()));
        let response = request.send().await.unwrap().error_for_status().unwrap();
        response.bytes().await.unwrap();
        latencies.push(start.elapsed());
    }
    latencies
}

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let time = Duration::from_secs(arguments.next().map_or(4, |text| text.parse().unwrap()));
    let beside = || std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("kes");
    let kes = std::fs::canonicalize(arguments.next().map_or_else(beside, PathBuf::from)).unwrap();
    let (server, start) = Server::start(&kes).await;
    let size = std::fs::metadata(&kes).unwrap().len();
    println!("binary {size} bytes, first answer after {start:.1?} (client included), {} KiB resident", server.memory());
    let dek = server.typed_client().generate_key("load", b"{\"bucket\":\"bucket/object\"}").await.unwrap();
    let ciphertext = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &dek.ciphertext);
    let generate = || Call { path: "/v1/key/generate/load", body: CONTEXT.into(), fresh: None };
    let decrypt = || Call {
        path: "/v1/key/decrypt/load",
        body: format!("{},{}", CONTEXT.trim_end_matches('}'), &format!("\"ciphertext\":\"{ciphertext}\"}}")),
        fresh: None,
    };
    let (http2, http1) = (server.client(false), server.client(true));
    server.load("generate, HTTP/2", time, WORKERS, || http2.clone(), generate()).await;
    server.load("decrypt, HTTP/2", time, WORKERS, || http2.clone(), decrypt()).await;
    server.load("generate, HTTP/1.1", time, WORKERS, || http1.clone(), generate()).await;
    server.load("decrypt, HTTP/1.1", time, WORKERS, || http1.clone(), decrypt()).await;
    server.load("one client, HTTP/2", time, 1, || http2.clone(), generate()).await;
    let pem = [server.read("client.key"), server.read("client.crt")].concat();
    let fresh = move || {
        let identity = Identity::from_pem(&pem).unwrap();
        reqwest::Client::builder().identity(identity).tls_danger_accept_invalid_certs(true).build().unwrap()
    };
    let connect = Call { path: "/v1/key/generate/load", body: CONTEXT.into(), fresh: Some(Box::new(fresh)) };
    server.load("a connection each", time, WORKERS, || http2.clone(), connect).await;
}
