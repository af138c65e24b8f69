//! The HTTP interface next to S3: where the environment asks for it, for whoever has the link or the token.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::served::{Place, free_port, run};
use crate::support::text;

const TOKEN: &str = "a-token-of-our-own-0123456789";

/// What curl gets: status and body.
fn curl(url: &str, more: &[&str]) -> (u16, String) {
    let mut curl = Command::new("curl");
    let said =
        text(&curl.args(["-s", "--max-time", "60", "-w", "\n%{http_code}", url]).args(more).output().unwrap().stdout);
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.to_owned())
}

/// What a program with the token gets.
fn ask(url: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (header, body) = (format!("Authorization: Bearer {TOKEN}"), body.to_string());
    let mut more = vec!["-X", method, "-H", &header];
    if body != "null" {
        more.extend(["-H", "Content-Type: application/json", "--data", &body]);
    }
    let (status, answer) = curl(&format!("{url}{path}"), &more);
    (status, serde_json::from_str(&answer).unwrap_or_default())
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn the_link_in_the_log_lets_one_browser_in_by_whatever_port_it_is_published_on() {
    let (place, port) = (Place::new(), free_port());
    let address = format!("127.0.0.1:{port}");
    let served = place.start(&[("KESTACK_UI", &address), ("KESTACK_UI_NAMES", "s3.example.org")], &[]).open(&place);
    served.says("this link works once");
    let said = served.said();
    let path = said.split("/enter?").nth(1).unwrap().split(' ').next().unwrap();
    assert!(said.contains(&format!("http://s3.example.org:{port}/enter?")), "{said}");
    let (url, jar) = (format!("http://{address}"), place.folder.path().join("jar"));
    let jar = jar.to_str().unwrap();
    for foreign in ["Host: evil.example", "Host: s3.example.org.evil.example"] {
        assert_eq!(curl(&format!("{url}/enter?{path}"), &["-H", foreign]).0, 421, "{foreign}");
    }
    let published = ["-H", "Host: localhost:8080", "-H", "Accept: text/html"];
    let browser = |path: &str, more: &[&str]| {
        curl(&format!("{url}{path}"), &[&published[..], &["-b", jar, "-c", jar], more].concat())
    };
    assert_eq!(browser("/", &[]).0, 401);
    assert_eq!(browser(&format!("/enter?{path}"), &[]).0, 200);
    assert_eq!(curl(&format!("{url}/enter?{path}"), &published).0, 401, "once");
    run(async { place.s3().put_object("encrypted", "letter", b"Dear Ada").await.unwrap() });
    let (status, page) = browser("/", &[]);
    assert!(status == 200 && page.contains("Everything that is stored here is encrypted"), "{status} {page}");
    assert!(page.contains(&format!("http://127.0.0.1:{}", place.port)), "{page}");
    for path in ["/buckets", "/keys", "/live", "/faults", "/bench", "/proof", "/sandboxes", "/snapshots"] {
        let (status, page) = browser(path, &[]);
        assert!(status == 200 && !page.contains("minioadmin"), "{path}: {status} {page}");
    }
    let page = browser("/buckets/encrypted/object?name=letter", &[]).1;
    assert!(page.contains("SSE-KMS") && page.contains("44 65 61 72 20 41 64 61"), "{page}");
    // another program's page on another port of the same host is another origin
    assert_eq!(browser("/keys", &["-H", "Origin: http://localhost:8081", "-d", "name=evil"]).0, 403);
    assert_eq!(browser("/keys", &["-H", "Origin: http://localhost:8080", "-d", "name=own"]).0, 303);
    assert!(place.drive().join(".kestack/keys/own").exists());
    served.stop();
    assert!(Command::new("curl").args(["-s", &url]).status().unwrap().code() == Some(7), "nobody listens any more");
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_program_with_the_token_does_what_needs_no_stop_of_a_server() {
    let (place, port) = (Place::new(), free_port());
    let (address, file) = (format!("127.0.0.1:{port}"), place.folder.path().join("token"));
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let env = [("KESTACK_UI", address.as_str()), ("KESTACK_UI_TOKEN_FILE", file.to_str().unwrap())];
    let served = place.start(&env, &[]).open(&place);
    served.says("the HTTP interface is at");
    assert!(!served.said().contains(TOKEN) && !served.said().contains("/enter?"), "{}", served.said());
    let url = format!("http://{address}");
    let ok = |method: &str, path: &str, body: Value| {
        let (status, answer) = ask(&url, method, path, &body);
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    };
    let s3 = format!("http://127.0.0.1:{}", place.port);
    // in its first moments MinIO may serve and not call itself ready
    let begun = Instant::now();
    let status = loop {
        let status = ok("GET", "/v1/status", Value::Null);
        if status["state"] == "running" {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{status}");
    };
    assert_eq!(status["endpoints"]["s3"]["url"], json!(s3));
    assert_eq!(ok("POST", "/v1/keys", json!({ "names": ["one"] }))["created"], true);
    assert_eq!(ok("POST", "/v1/buckets", json!({ "name": "new", "key": "one" }))["key"], "one");
    let made = ok("POST", "/v1/sandboxes", json!({ "name": "mine" }));
    let of = |name: &str| made[name].as_str().unwrap().to_owned();
    assert_eq!(of("endpoint"), s3);
    assert_eq!(status["containers"].as_object().unwrap().values().collect::<Vec<_>>(), ["running", "running"]);
    run(async { place.s3_as(&of("user"), &of("password")).put_object(&of("bucket"), "o", b"mine").await.unwrap() });
    assert_eq!(ok("GET", "/v1/inventory", Value::Null)["name"], "serve");
    assert_eq!(ok("POST", "/v1/verify", json!({ "bucket": "encrypted" }))["proven"], true);
    ok("DELETE", "/v1/sandboxes/mine", Value::Null);
    let published = ["-X", "POST", "-H", "Host: localhost:8080", "-H", &format!("Authorization: Bearer {TOKEN}")];
    let (status, answer) = curl(&format!("{url}/v1/link"), &published);
    assert!(
        status == 201 && answer.contains("\"http://localhost:8080/enter?"),
        "where it is published: {status} {answer}"
    );
    let link = ok("POST", "/v1/link", Value::Null)["link"].as_str().unwrap().to_owned();
    assert_eq!(curl(&link, &[]).0, 200);
    for (method, path, body) in [
        ("POST", "/v1/reset", Value::Null),
        ("POST", "/v1/snapshots", json!({ "name": "a" })),
        ("POST", "/v1/faults", json!({ "fault": "kes-down" })),
        ("DELETE", "/v1/faults", Value::Null),
        ("DELETE", "/v1/keys/one", Value::Null),
    ] {
        let (status, refused) = ask(&url, method, path, &body);
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert!(status == 400 && detail.contains("in the foreground"), "{method} {path}: {status} {refused}");
    }
    assert!(place.check().status.success() && place.drive().join(".kestack/keys/one").exists());
    for program in ["minio", "kes"] {
        let pid = served.server(program).unwrap().as_raw_nonzero();
        let environment = match std::fs::read(format!("/proc/{pid}/environ")) {
            // kes shows it to nobody but root
            Err(error) if program == "kes" && error.kind() == std::io::ErrorKind::PermissionDenied => continue,
            environment => text(&environment.unwrap()),
        };
        assert!(!environment.contains("KESTACK_UI"), "{program}: {environment}");
    }
    served.stop();
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn a_measurement_that_the_end_meets_leaves_nothing_on_the_drive() {
    let (place, port) = (Place::new(), free_port());
    let (url, jar) = (format!("http://127.0.0.1:{port}"), place.folder.path().join("jar"));
    let jar = jar.to_str().unwrap();
    let env = [("KESTACK_UI", url.trim_start_matches("http://")), ("KESTACK_UI_TOKEN", TOKEN)];
    let mut served = place.start(&env, &[]).open(&place);
    served.says("the HTTP interface is at");
    let link = ask(&url, "POST", "/v1/link", &Value::Null).1["link"].as_str().unwrap().to_owned();
    assert_eq!(curl(&link, &["-c", jar]).0, 200);
    let mut bench = Command::new("curl");
    bench.args(["-s", "-o", "/dev/null", "-b", jar, "-H", &format!("Origin: {url}"), &format!("{url}/bench")]);
    let mut bench = bench.args(["-d", "sizes=4KiB", "-d", "clients=1", "-d", "seconds=600"]).spawn().unwrap();
    let begun = Instant::now();
    while !run(place.s3().list_buckets()).unwrap().iter().any(|name| name.starts_with("kestack-bench-")) {
        assert!(begun.elapsed() < Duration::from_secs(30) && bench.try_wait().unwrap().is_none(), "{}", served.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    served.signal(Signal::TERM);
    let told = Instant::now();
    assert!(served.ended().success(), "{}", served.said());
    assert!(told.elapsed() < Duration::from_secs(10), "an engine would have killed it: {:?}", told.elapsed());
    bench.wait().unwrap();
    let left = std::fs::read_dir(place.drive()).unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("kestack-bench-")).collect();
    assert!(left.is_empty(), "{left:?}\n{}", served.said());
}

/// A browser keeps connections, and listens for what happens.
#[test]
#[ignore = "needs MINIO_BINARY"]
fn whoever_only_looks_does_not_delay_the_end() {
    let (place, port) = (Place::new(), free_port());
    let address = format!("127.0.0.1:{port}");
    let mut served = place.start(&[("KESTACK_UI", &address), ("KESTACK_UI_TOKEN", TOKEN)], &[]).open(&place);
    served.says("the HTTP interface is at");
    let header = format!("Authorization: Bearer {TOKEN}");
    let events = format!("http://{address}/v1/events");
    let mut listens =
        Command::new("curl").args(["-s", "-N", "-H", &header, &events]).stdout(Stdio::null()).spawn().unwrap();
    let _idle = TcpStream::connect(&address).unwrap();
    assert_eq!(ask(&format!("http://{address}"), "GET", "/v1/status", &Value::Null).0, 200);
    served.signal(Signal::TERM);
    let told = Instant::now();
    assert!(served.ended().success(), "{}", served.said());
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    assert!(!served.said().contains("did not end"), "{}", served.said());
    listens.wait().unwrap();
}

#[test]
#[ignore = "needs MINIO_BINARY"]
fn nothing_starts_with_a_mistake_or_where_somebody_listens() {
    let place = Place::new();
    let (code, said) = place.refused(&[("KESTACK_UI", "page"), ("KESTACK_UI_TOKEN", "short")], &[]);
    assert!(code == 2 && said.contains("is not an address") && said.contains("a token has 16"), "{code} {said}");
    assert!(!said.contains("short") && !place.drive().exists(), "{said}");
    let (code, said) = place.refused(&[("KESTACK_UI", &format!("0.0.0.0:{}", place.port))], &[]);
    assert!(code == 2 && said.contains("has the port of S3") && !place.drive().exists(), "{code} {said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = place.refused(&[("KESTACK_UI", &address)], &[]);
    assert!(code == 6 && said.contains(&address) && said.contains("KESTACK_UI"), "{code} {said}");
    assert!(!place.drive().exists());
}
