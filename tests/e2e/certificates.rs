//! Certificates that come to the end of their life: `up` renews them, and nothing is lost.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::{Span, Timestamp};
use kestack::unstable::pki::{self, Authority, Leaf, LeafSpec};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::bounded::Bounded as _;
use crate::engine::kind;
use crate::replicas::{Replica, signal};
use crate::sandbox::{Sandbox, text};

const LEAFS: [&str; 3] = ["kes-server", "minio-kes", "admin"];

/// The files of a stack's certificates.
struct Certificates<'a>(&'a Sandbox);

impl Certificates<'_> {
    fn path(&self, file: &str) -> PathBuf {
        self.0.root().join("certs").join(file)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    fn authority(&self) -> Authority {
        Authority::load(&self.read("ca.cert"), &self.read("ca.key")).unwrap()
    }

    fn leaf(&self, name: &str) -> Leaf {
        let (cert, key) = (self.read(&format!("{name}.cert")), self.read(&format!("{name}.key")));
        Leaf { cert_pem: cert, key_pem: key.into() }
    }

    /// Puts certificates into the folder that were issued that many days ago, for the same keys.
    fn age(&self, days: i64) {
        let then = Timestamp::now() - Span::new().hours(days * 24);
        for name in LEAFS {
            let ip = vec!["127.0.0.1".parse().unwrap()];
            let spec = LeafSpec { common_name: name.into(), dns: vec![], ip, server: true, client: true };
            let aged = self.authority().reissue(&self.leaf(name), &spec, then).unwrap();
            std::fs::write(self.path(&format!("{name}.cert")), aged.cert_pem).unwrap();
        }
    }

    /// The same of MinIO's certificate as a server. MinIO reads it again when it is written in place: the file is renamed.
    fn age_s3(&self, days: i64) {
        let then = Timestamp::now() - Span::new().hours(days * 24);
        let leaf = Leaf { cert_pem: self.read("s3/public.crt"), key_pem: self.read("s3/private.key").into() };
        let ip = vec!["127.0.0.1".parse().unwrap()];
        let spec =
            LeafSpec { common_name: "s3".into(), dns: vec!["localhost".into()], ip, server: true, client: false };
        let aged = self.authority().reissue(&leaf, &spec, then).unwrap();
        std::fs::write(self.path("aged"), aged.cert_pem).unwrap();
        std::fs::rename(self.path("aged"), self.path("s3/public.crt")).unwrap();
    }

    fn identities(&self) -> Vec<String> {
        LEAFS.map(|name| pki::identity(&self.leaf(name).cert_pem).unwrap().to_string()).to_vec()
    }
}

/// The names of what `up` says it has renewed.
fn renewed(up: &Value) -> Vec<&str> {
    up["renewed"].as_array().unwrap().iter().map(|renewal| renewal["name"].as_str().unwrap()).collect()
}

fn states(stack: &Sandbox) -> Vec<String> {
    let output = stack.run(&["status", "--output", "json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = status["certificates"].as_array().unwrap().clone();
    all.iter().map(|one| format!("{} {}", one["name"].as_str().unwrap(), one["state"].as_str().unwrap())).collect()
}

/// All certificates are good, the stack is proven, and what was stored before is there.
fn sound(stack: &Sandbox) {
    assert_eq!(stack.json(&["up"])["changed"], 0);
    assert!(states(stack).iter().all(|state| state.ends_with(" good")), "{:?}", states(stack));
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
    assert_eq!(stack.json(&["verify"])["proven"], true);
}

#[test]
#[ignore = "needs an engine"]
fn due_and_expired_certificates_are_renewed_with_their_keys() {
    let stack = Sandbox::new("");
    assert_eq!(renewed(&stack.json(&["up"])), Vec::<&str>::new());
    stack.put("/encrypted/kept", b"precious");
    let certificates = Certificates(&stack);
    let identities = certificates.identities();
    for (days, state, doctor) in [(300, "due", 0), (400, "expired", 6)] {
        certificates.age(days);
        assert_eq!(states(&stack)[1..], ["kes-server", "minio", "admin"].map(|name| format!("{name} {state}")));
        let found = stack.run(&["doctor"]);
        assert_eq!(found.status.code(), Some(doctor), "{}", text(&found.stdout));
        assert!(text(&found.stdout).contains("run `kestack up`"), "{}", text(&found.stdout));
        let servers = ["kes-server", "minio-server"].map(|server| format!("{}-{server}", stack.name));
        let before = servers.each_ref().map(|server| kind().started(server));
        assert_eq!(renewed(&stack.json(&["up"])), ["kes-server", "minio", "admin"]);
        let after = servers.each_ref().map(|server| kind().started(server));
        assert!(before.iter().zip(&after).all(|(before, after)| before != after), "{before:?} {after:?}");
        assert_eq!(certificates.identities(), identities);
        sound(&stack);
    }
}

/// A client that trusts the authority and asks MinIO for its health all the time, over a connection of its own each time.
struct Asking(JoinHandle<Duration>, Arc<AtomicBool>);

impl Asking {
    fn start(stack: &Sandbox) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(Certificates(stack).read("ca.cert").as_bytes()).unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).pool_max_idle_per_host(0);
        let http = http.timeout(Duration::from_secs(2)).build().unwrap();
        let url = format!("{}/minio/health/ready", stack.variable("AWS_ENDPOINT_URL_S3"));
        let end = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&end);
        let task = tokio::spawn(async move {
            let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
            while !ended.load(Ordering::Relaxed) {
                if http.get(&url).send().await.is_ok_and(|answer| answer.status() == 200) {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            longest.max(last.elapsed())
        });
        Self(task, end)
    }

    /// How long it went without an answer, at the longest.
    async fn longest_gap(self) -> Duration {
        self.1.store(true, Ordering::Relaxed);
        self.0.await.unwrap()
    }
}

/// Two KES behind an S3 that speaks TLS: one is killed, all is restarted, and the certificate of S3 is renewed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine"]
async fn the_certificate_of_s3_is_renewed_and_its_clients_go_on() {
    let stack = Sandbox::new("kes: { port: 0, replicas: 2 }\nminio: { port: 0, console_port: 0, tls: true }\n");
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    // only one: MinIO leaves a server that has failed alone for 30 s (docs/minio-kms-client.md §2.2)
    signal(&Replica::all(&stack)[0].supervisor(&stack), "-KILL");
    stack.put("/encrypted/meanwhile", b"written meanwhile");
    assert_eq!(stack.read("/encrypted/meanwhile"), b"written meanwhile");
    stack.ok(&["up"]);
    stack.ok(&["down"]);
    stack.ok(&["up"]);
    sound(&stack);
    let key = Certificates(&stack).read("s3/private.key");
    for days in [300, 400] {
        Certificates(&stack).age_s3(days);
        assert!(states(&stack).iter().any(|state| state.starts_with("s3 ") && !state.ends_with(" good")));
        let asking = Asking::start(&stack);
        assert_eq!(renewed(&stack.json(&["up"])), ["s3"]);
        assert_eq!(stack.read("/encrypted/kept"), b"precious");
        let gap = asking.longest_gap().await;
        eprintln!("a certificate of {days} days renewed: clients waited {:.2} s at the longest", gap.as_secs_f32());
        assert!(gap < Duration::from_secs(20), "{gap:?}");
        assert_eq!(Certificates(&stack).read("s3/private.key"), key);
    }
    Certificates(&stack).age_s3(400);
    stack.ok(&["down"]);
    assert_eq!(renewed(&stack.json(&["up"])), ["s3"]);
    sound(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn an_expired_authority_is_renewed_and_whoever_has_a_copy_is_told() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    stack.ok(&["down"]);
    let certificates = Certificates(&stack);
    let old = certificates.authority().renew(Timestamp::now() - Span::new().hours(4000 * 24)).unwrap();
    std::fs::write(certificates.path("ca.cert"), &old.cert_pem).unwrap();
    certificates.age(3999);
    let text = stack.ok(&["up"]);
    assert!(text.contains("renewed  certificate of ca: it was due"), "{text}");
    assert!(text.contains("certs/ca.cert' to everybody who has a copy"), "{text}");
    assert_eq!(certificates.authority().key_pem, old.key_pem);
    sound(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn a_certificate_is_for_the_names_that_the_manifest_says() {
    let stack = Sandbox::new("host: 0.0.0.0\n");
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    let warned = stack.ok(&["doctor"]);
    assert!(warned.contains("its certificate is only for this machine"), "{warned}");
    stack.manifest("host: 0.0.0.0\nkes: { port: 0, names: [kes.example.org, 192.0.2.7] }\n");
    assert_eq!(renewed(&stack.json(&["up"])), ["kes-server"]);
    let endpoint = stack.variable("KES_SERVER");
    let port = endpoint.rsplit_once(':').unwrap().1;
    for name in ["kes.example.org", "192.0.2.7", "localhost"] {
        let file = |name: &str| Certificates(&stack).path(name).display().to_string();
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "--max-time", "30", "--cacert", &file("ca.cert")]);
        curl.args(["--cert", &file("admin.cert"), "--key", &file("admin.key")]);
        curl.args(["--connect-to", &format!("{name}:{port}:127.0.0.1:{port}")]);
        let output = curl.arg(format!("https://{name}:{port}/version")).finished();
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    }
    sound(&stack);
}
