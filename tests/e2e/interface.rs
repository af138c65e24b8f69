//! The HTTP interface: the same stack, the same answers, the same lock; nobody else comes in.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bounded::ended;
use crate::sandbox::{Sandbox, text};

/// A stack with an interface.
struct Listener<'a> {
    stack: &'a Sandbox,
    child: Child,
    url: String,
    token: String,
}

impl<'a> Listener<'a> {
    fn start(stack: &'a Sandbox, more: &[&str]) -> Self {
        let child = stack.start(&[&["ui"][..], more].concat());
        let file = stack.root().join("interface.json");
        wait("the interface to listen", || file.exists());
        let record: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let of = |name: &str| record[name].as_str().unwrap().to_owned();
        Self { stack, child, url: of("url"), token: of("token") }
    }

    fn curl(&self, method: &str, path: &str, body: Option<&Value>, more: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-w", "\n%{http_code}", "-X", method, &format!("{}{path}", self.url)]).args(more);
        curl.args(["-H", &format!("Authorization: Bearer {}", self.token)]);
        if let Some(body) = body {
            curl.args(["-H", "Content-Type: application/json", "--data", &body.to_string()]);
        }
        curl
    }

    fn asks(&self, method: &str, path: &str, body: Option<&Value>, more: &[&str]) -> (u16, Value) {
        let output = self.curl(method, path, body, more).output().unwrap();
        let said = text(&output.stdout);
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn ok(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.asks(method, path, body, &[]);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    fn must_be_over(mut self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        assert_eq!(ended(&mut self.child).code(), Some(0));
        assert!(!self.stack.root().join("interface.json").exists());
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn wait(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn answers_are_those_of_the_command_line() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let http = Listener::start(&stack, &[]);
    for (path, verb) in [
        ("/v1/status", "status"),
        ("/v1/inventory", "inventory"),
        ("/v1/keys", "key list"),
        ("/v1/buckets", "bucket list"),
        ("/v1/sandboxes", "sandbox list"),
        ("/v1/snapshots", "snapshot list"),
        ("/v1/buckets/encrypted", "bucket info encrypted"),
    ] {
        let verb: Vec<_> = verb.split(' ').collect();
        // a certificate may have one day less at the second look
        let same = || http.ok("GET", path, None) == stack.json(&verb);
        assert!(same() || same(), "{path}: {} {}", http.ok("GET", path, None), stack.json(&verb));
    }
    assert_eq!(http.asks("GET", "/v1/evidence", None, &[]).0, 404);
    assert_eq!(http.ok("POST", "/v1/keys", Some(&json!({ "names": ["one", "two"] })))["created"], true);
    let bucket = http.ok("POST", "/v1/buckets", Some(&json!({ "name": "new", "key": "one" })));
    assert_eq!((&bucket["encryption"], &bucket["key"]), (&json!("sse-kms"), &json!("one")));
    let plain = http.ok("POST", "/v1/buckets", Some(&json!({ "name": "plain", "encryption": "none" })));
    assert_eq!(plain["automatic"], true, "{plain}");
    stack.put("/new/object", b"content");
    let (status, refused) = http.asks("DELETE", "/v1/keys/one", None, &[]);
    assert_eq!(
        (status, &refused["kind"], &refused["exit_code"]),
        (409, &json!("keys_missing"), &json!(7)),
        "{refused}"
    );
    assert_eq!(http.asks("DELETE", "/v1/buckets/new", None, &[]).0, 409);
    http.ok("POST", "/v1/snapshots", Some(&json!({ "name": "before" })));
    http.ok("DELETE", "/v1/buckets/new?force=true", None);
    assert_eq!(http.ok("DELETE", "/v1/keys/two", None)["deleted"], json!(["two"]));
    assert_eq!(http.ok("POST", "/v1/snapshots/before/restore", None)["started"], true);
    assert_eq!(text(&stack.read("/new/object")), "content");
    assert_eq!(http.ok("DELETE", "/v1/snapshots/before", None)["removed"], json!(["before"]));
    assert_eq!(http.asks("GET", "/v1/buckets/gone", None, &[]).0, 404);
    assert_eq!(http.asks("DELETE", "/v1/snapshots/gone", None, &[]).0, 404);
    assert_eq!(http.ok("POST", "/v1/verify", Some(&json!({ "bucket": "encrypted" })))["proven"], true);
    assert_eq!(http.ok("GET", "/v1/evidence", None)["proven"], true);
    for _ in 0..3 {
        stack.put("/encrypted/object", b"written a moment before");
        http.ok("POST", "/v1/reset", None);
        assert_eq!(stack.s3("GET", "/encrypted/object", None).0, 404);
        http.ok("POST", "/v1/reset", None);
    }
    assert_eq!(http.asks("GET", "/v1/buckets/new", None, &[]).0, 404);
    http.must_be_over();
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn a_sandbox_is_given_with_its_password_and_a_fault_lasts_until_it_is_healed() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let http = Listener::start(&stack, &["--for", "2h"]);
    let made = http.ok("POST", "/v1/sandboxes", Some(&json!({ "name": "mine", "lease_seconds": 600 })));
    let of = |name: &str| made[name].as_str().unwrap().to_owned();
    assert_eq!((of("region"), of("endpoint")), ("us-east-1".into(), stack.variable("AWS_ENDPOINT_URL")));
    let (user, path) = ((of("user"), of("password")), format!("/{}/object", of("bucket")));
    assert_eq!(stack.s3_as(&user, "PUT", &path, Some(b"mine"), &[]).0, 200);
    assert_eq!(http.asks("POST", "/v1/sandboxes", Some(&json!({ "name": "mine" })), &[]).0, 409);

    let seeded = |seed: u64| json!({ "fault": "kes-down", "seconds": 600, "seed": seed });
    assert_eq!(http.asks("POST", "/v1/faults", Some(&seeded(1 << 32)), &[]).0, 400);
    let begun = http.ok("POST", "/v1/faults", Some(&seeded((1 << 32) - 1)));
    assert_eq!((&begun["fault"], &begun["seed"]), (&json!("kes-down"), &json!(u32::MAX)));
    assert_eq!(http.ok("GET", "/v1/faults", None)["fault"]["fault"], "kes-down");
    assert_ne!(stack.s3_as(&user, "GET", &path, None, &[]).0, 200);
    // whoever wants the complete stack learns who has it
    let (status, busy) = http.asks("POST", "/v1/reset", None, &["-H", "Prefer: wait=0"]);
    assert_eq!((status, &busy["kind"]), (409, &json!("busy")), "{busy}");
    assert!(busy["detail"].as_str().unwrap().contains("`ui` (pid "), "{busy}");
    assert_eq!(http.ok("DELETE", "/v1/faults", None)["fault"], "kes-down");
    assert_eq!(text(&stack.s3_as(&user, "GET", &path, None, &[]).1), "mine");

    // a fault goes with the interface
    http.ok("POST", "/v1/faults", Some(&json!({ "fault": "kes-deny", "seconds": 600 })));
    // KES makes the key for kestack, and refuses it to MinIO: a bucket without its encryption must not stay
    let (status, refused) = http.asks("POST", "/v1/buckets", Some(&json!({ "name": "secret", "key": "another" })), &[]);
    assert!(status == 502 && refused["kind"] == "s3", "{status} {refused}");
    assert_eq!(stack.s3("GET", "/secret", None).0, 404);
    http.must_be_over();
    assert!(!stack.root().join("config/fault.json").exists());
    assert_eq!(text(&stack.s3_as(&user, "GET", &path, None, &[]).1), "mine");
    let file = stack.root().join("interface.json");
    let long = Listener::start(&stack, &[]);
    let record = || std::fs::read_to_string(&file).unwrap_or_default();
    let of_long = record();
    let mut short = stack.start(&["ui", "--for", "2s"]);
    wait("another one to listen", || record() != of_long);
    assert_eq!(ended(&mut short).code(), Some(0));
    assert_eq!(record(), of_long, "whoever reads the file again finds the one that listens");
    long.ok("GET", "/v1/faults", None);
    long.must_be_over();
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn a_call_ends_with_its_caller_and_gives_back_what_it_took() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let http = Listener::start(&stack, &[]);
    stack.put("/encrypted/kept", b"precious");
    for milliseconds in [5, 50, 150, 300, 600] {
        let mut caller = http.curl("POST", "/v1/verify", None, &[]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = caller.kill();
        caller.wait().unwrap();
        // nobody holds the lock any more, and MinIO may use KES
        assert_eq!(stack.json(&["up"])["changed"], 0);
        assert_eq!(text(&stack.read("/encrypted/kept")), "precious");
    }
    // a call that stopped MinIO starts it again, whoever waits for it
    for milliseconds in [20, 60, 150, 400] {
        let hangs_up = |method, path: &str| {
            let mut caller = http.curl(method, path, None, &[]).stdout(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(milliseconds));
            let _ = caller.kill();
            caller.wait().unwrap();
        };
        stack.put("/encrypted/object", b"written a moment before");
        hangs_up("POST", "/v1/reset");
        http.ok("POST", "/v1/reset", None);
        http.ok("POST", "/v1/keys", Some(&json!({ "names": ["spare"] })));
        hangs_up("DELETE", "/v1/keys/spare");
        assert_eq!(stack.json(&["up"])["changed"], 0, "after {milliseconds} ms");
    }
    http.must_be_over();
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn lists_are_complete_while_sandboxes_come_and_go() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let http = Listener::start(&stack, &[]);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let http = &http;
                scope.spawn(move || {
                    for round in 0..12 {
                        let name = format!("w{worker}-{round}");
                        http.ok("POST", "/v1/sandboxes", Some(&json!({ "name": name })));
                        http.ok("DELETE", &format!("/v1/sandboxes/{name}"), None);
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            for (path, kept) in [("/v1/buckets", "encrypted"), ("/v1/keys", "minio-backend-key")] {
                let listed = http.ok("GET", path, None);
                assert!(listed.to_string().contains(&format!(r#""name":"{kept}""#)), "{listed}");
            }
            http.ok("GET", "/v1/sandboxes", None);
        }
    });
    http.must_be_over();
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn strangers_and_slow_readers_have_no_effect() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let http = Listener::start(&stack, &[]);
    let refused = |more: &[&str]| http.asks("POST", "/v1/keys", Some(&json!({ "names": ["stranger"] })), more);
    assert_eq!(refused(&["-H", "Host: evil.example"]).0, 421);
    assert_eq!(refused(&["-H", "Origin: http://evil.example"]).0, 403);
    let curl = |more: &[&str]| {
        let mut curl = Command::new("curl");
        text(&curl.args(["-s", "-o", "/dev/null", "-D", "-"]).args(more).output().unwrap().stdout).to_lowercase()
    };
    let status = format!("{}/v1/status", http.url);
    assert!(curl(&[&status]).starts_with("http/1.1 401"));
    assert!(curl(&[&status, "-H", "Authorization: Bearer wrong"]).starts_with("http/1.1 401"));
    let answer = curl(&[&status, "-H", &format!("Authorization: Bearer {}", http.token)]);
    assert!(answer.starts_with("http/1.1 200") && answer.contains("cache-control: no-store"), "{answer}");
    let large = json!({ "names": ["a".repeat(70_000)] });
    assert_eq!(http.asks("POST", "/v1/keys", Some(&large), &[]).0, 413);
    assert!(!stack.ok(&["key", "list"]).contains("stranger"));
    assert!(!stack.ok(&["status"]).contains(&http.token));

    let address = http.url.trim_start_matches("http://");
    let ask = format!("GET /v1/events HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n", http.token);
    let follow = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(ask.as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let silent: Vec<_> = (0..200).map(|_| follow()).collect();
    let mut reading = follow();
    let mut seen = String::new();
    let mut read_until = |wanted: &str| {
        let mut chunk = [0; 4096];
        while !seen.contains(wanted) {
            let count = reading.read(&mut chunk).unwrap();
            assert_ne!(count, 0, "{wanted}: {seen}");
            seen.push_str(&String::from_utf8_lossy(&chunk[..count]));
        }
    };
    read_until("events follow");
    let before = memory(http.child.id());
    http.ok("POST", "/v1/keys", Some(&json!({ "names": ["seen"] })));
    read_until(r#""kind":"key""#);
    read_until("/v1/key/");
    for _ in 0..300 {
        http.ok("GET", "/v1/keys", None);
    }
    assert!(memory(http.child.id()) < before + 16 * 1024, "KiB: {before} before");
    drop(silent);
    http.must_be_over();
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn a_crowd_of_strangers_keeps_nobody_out() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let http = Listener::start(&stack, &[]);
    let address = http.url.trim_start_matches("http://");
    // what everybody may have, a thousand times, and nothing of it is read
    let ask = format!("GET /page/style.css HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(1000);
    let crowd: Vec<_> = (0..520)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(ask.as_bytes());
            stream
        })
        .collect();
    for _ in 0..3 {
        assert_eq!(http.asks("GET", "/v1/faults", None, &["--max-time", "10"]).0, 200);
    }
    assert!(memory(http.child.id()) < 128 * 1024, "{} KiB", memory(http.child.id()));
    drop(crowd);
    http.must_be_over();
}

/// KiB of memory that a process has.
pub(crate) fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
