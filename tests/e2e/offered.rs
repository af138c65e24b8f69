//! `ui: true`: `up` keeps an HTTP interface next to the stack, and nothing of it outlasts the stack.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::bounded::ended;
use crate::interface::wait;
use crate::sandbox::{Sandbox, text};

/// What the stack's folder says of its interface.
fn record(stack: &Sandbox) -> Value {
    let file = stack.root().join("interface.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap()
}

fn pid(record: &Value) -> u64 {
    record["process"]["pid"].as_u64().unwrap()
}

fn signal(record: &Value, signal: &str) {
    let sent = Command::new("kill").args([signal, &pid(record).to_string()]).status();
    assert!(sent.unwrap().success());
}

/// The processes that listen in the background for a stack of this test.
fn listeners(stack: &Sandbox) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let base = stack.base().display().to_string();
    lines.map(|line| text(&line)).filter(|line| line.contains(&base) && line.contains("--background")).collect()
}

/// The status of an answer to whoever has the token.
fn status(record: &Value, path: &str) -> String {
    let (url, token) = (record["url"].as_str().unwrap(), record["token"].as_str().unwrap());
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "/dev/null", "--max-time", "60", "-w", "%{http_code}", &format!("{url}{path}")]);
    text(&curl.args(["-H", &format!("Authorization: Bearer {token}")]).output().unwrap().stdout)
}

/// What a browser gets that follows a link without any cookie.
fn follows(link: &str) -> String {
    let mut curl = Command::new("curl");
    text(&curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", link]).output().unwrap().stdout)
}

/// What a program gets that only looks whether a link leads somewhere.
fn looks_at(link: &str) -> String {
    let mut curl = Command::new("curl");
    text(&curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--head", link]).output().unwrap().stdout)
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn up_offers_it_and_every_later_up_keeps_it() {
    let stack = Sandbox::new("ui: true\n");
    let planned = stack.json(&["plan"]);
    let step = planned["steps"].as_array().unwrap().last().unwrap();
    assert_eq!((&step["kind"], &step["decision"]), (&"interface".into(), &"create".into()));
    let up = stack.json(&["up"]);
    let first = record(&stack);
    let link = up["interface"]["link"].as_str().unwrap();
    assert_eq!(looks_at(link), "405", "whoever only looks does not use it up");
    assert_eq!((&up["interface"]["url"], follows(link).as_str()), (&first["url"], "200"));
    assert_eq!((follows(link).as_str(), status(&first, "/v1/status").as_str()), ("401", "200"), "the link works once");
    assert_eq!(stack.json(&["status"])["interface"]["listens"], true);
    for secret in [first["token"].as_str().unwrap(), link] {
        assert!(!stack.ok(&["env"]).contains(secret) && !stack.ok(&["status"]).contains(secret));
    }

    let again = stack.ok(&["up"]);
    assert!(again.contains("nothing to change") && again.contains("/enter?code="), "{again}");
    let joined = stack.json(&["ui"]);
    assert_eq!((record(&stack), &joined["url"]), (first.clone(), &first["url"]));
    assert_eq!(follows(joined["link"].as_str().unwrap()), "200");
    assert!(stack.fails(&["ui", "--for", "1h"], 2).contains("listens at"));

    let chosen = stack.json(&["up", "--engine", "auto"]);
    assert_eq!(chosen["changed"], 0, "it is the same engine: {chosen}");
    assert_eq!(record(&stack), first);

    stack.put("/encrypted/kept", b"content");
    stack.ok(&["snapshot", "save", "before"]);
    stack.ok(&["reset"]);
    assert_eq!(status(&first, "/v1/buckets"), "200");
    stack.ok(&["snapshot", "restore", "before"]);
    assert_eq!((status(&first, "/v1/buckets").as_str(), record(&stack)), ("200", first.clone()));
    assert_eq!(text(&stack.read("/encrypted/kept")), "content");
    assert_eq!(listeners(&stack).len(), 1);

    stack.manifest("");
    stack.ok(&["up"]);
    assert!(listeners(&stack).is_empty() && !stack.root().join("interface.json").exists());
    assert!(stack.json(&["status"]).get("interface").is_none());
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn one_that_is_gone_or_hangs_is_started_again_for_the_same_callers() {
    let stack = Sandbox::new("ui: true\n");
    stack.ok(&["up"]);
    let first = record(&stack);
    signal(&first, "-KILL");
    wait("its end", || listeners(&stack).is_empty());
    assert_eq!(stack.json(&["status"])["interface"]["listens"], false);
    assert_eq!(stack.json(&["up"])["changed"], 1);
    let second = record(&stack);
    assert_ne!(pid(&first), pid(&second));
    assert_eq!((&first["token"], &first["url"]), (&second["token"], &second["url"]));
    assert_eq!(status(&second, "/v1/status"), "200");
    signal(&second, "-STOP");
    assert_eq!(stack.json(&["up"])["changed"], 1);
    let third = record(&stack);
    assert_ne!(pid(&second), pid(&third));
    assert_eq!((status(&third, "/v1/status").as_str(), listeners(&stack).len()), ("200", 1));

    stack.ok(&["stop"]);
    assert!(listeners(&stack).is_empty());
    stack.ok(&["start"]);
    let fourth = record(&stack);
    assert_eq!(status(&fourth, "/v1/status"), "200");
    assert_ne!(fourth["token"], third["token"], "a stack that ended has no secrets left");
    stack.ok(&["down"]);
    assert!(listeners(&stack).is_empty() && !stack.root().join("interface.json").exists());
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn one_of_a_terminal_counts_until_it_is_suspended() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let mut terminal = stack.start(&["ui"]);
    wait("the terminal's to listen", || stack.root().join("interface.json").exists());
    let first = record(&stack);
    stack.manifest("ui: true\n");
    assert_eq!(stack.json(&["up"])["interface"]["url"], first["url"]);
    assert!(listeners(&stack).is_empty());
    signal(&first, "-STOP");
    let up = stack.json(&["up"]);
    let second = record(&stack);
    assert_eq!(up["changed"], 1, "{up}");
    assert_eq!(up["interface"]["url"], second["url"]);
    assert_eq!((status(&second, "/v1/status").as_str(), listeners(&stack).len()), ("200", 1));
    signal(&first, "-CONT");
    signal(&first, "-INT");
    assert!(ended(&mut terminal).success());
    assert_eq!(
        (record(&stack), status(&second, "/v1/status").as_str()),
        (second.clone(), "200"),
        "it is not its record"
    );
    stack.ok(&["down"]);
    assert!(listeners(&stack).is_empty());
}

#[test]
#[ignore = "needs an engine and MinIO"]
fn whenever_up_is_killed_there_is_one_and_after_down_there_is_none() {
    let stack = Sandbox::new("ui: true\n");
    stack.ok(&["up"]);
    for milliseconds in [100, 200, 300, 450, 600, 900] {
        signal(&record(&stack), "-KILL");
        let mut up = stack.start(&["up"]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = up.kill();
        ended(&mut up);
        stack.ok(&["up"]);
        // of two that began, the one that is not on record ends by itself
        wait("the other one's end", || listeners(&stack).len() == 1);
        assert_eq!(status(&record(&stack), "/v1/status"), "200");
    }
    signal(&record(&stack), "-KILL");
    stack.ok(&["down", "--data"]);
    assert!(listeners(&stack).is_empty() && !stack.root().exists());

    stack.ok(&["up"]);
    std::fs::remove_file(stack.root().join("interface.json")).unwrap();
    wait("one that nobody could find to end", || listeners(&stack).is_empty());
    stack.ok(&["up"]);
    stack.ok(&["down", "--data"]);
    assert!(listeners(&stack).is_empty() && !stack.root().exists());
}
