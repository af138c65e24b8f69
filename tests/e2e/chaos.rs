//! Faults on demand: each takes hold, keeps its promise and is gone afterwards, however it ends.

use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::bounded::ended;
use crate::sandbox::{Sandbox, text};

/// Faults under which nothing encrypted can be read.
const WITHOUT_KEYS: [&str; 3] = ["kes-down", "kes-deny", "cert-expired"];
/// Faults under which no key can be made.
const WITHOUT_WRITING: [&str; 2] = ["keystore-readonly", "keystore-full"];

/// A fault that is in force.
struct Chaos<'a> {
    stack: &'a Sandbox,
    child: Child,
}

impl<'a> Chaos<'a> {
    /// Starts it, and returns once it can be felt.
    fn start(stack: &'a Sandbox, fault: &str) -> Self {
        let child = stack.start(&["chaos", fault, "--for", "120s", "--seed", "7"]);
        wait(&format!("{fault} to take hold"), || {
            let recorded = stack.root().join("config/fault.json").exists();
            recorded
                && match fault {
                    "kes-slow" => is_frozen(stack),
                    "kes-flap" => !stack.run(&["status"]).status.success(),
                    _ if WITHOUT_WRITING.contains(&fault) => !stack.run(&["key", "create", &fresh()]).status.success(),
                    _ => stack.s3("GET", "/encrypted/kept", None).0 != 200,
                }
        });
        Self { stack, child }
    }

    fn signal(&mut self, signal: &str) -> Option<i32> {
        let sent = std::process::Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        ended(&mut self.child).code()
    }

    /// Nothing of it is left.
    fn is_over(&self, fault: &str) {
        assert!(!self.stack.root().join("config/fault.json").exists(), "{fault}");
        assert_eq!(text(&self.stack.read("/encrypted/kept")), "precious", "{fault}");
        self.stack.put("/encrypted/after", b"works");
        self.stack.ok(&["key", "create", &fresh()]);
        assert_eq!(self.stack.json(&["up"])["changed"], 0, "{fault}");
    }
}

/// True if the limits of KES's process may be changed here; a refusal must say why not and leave nothing.
fn may_limit(stack: &Sandbox) -> bool {
    let output = stack.run(&["chaos", "keystore-full", "--for", "1s"]);
    let error = text(&output.stderr);
    if output.status.success() {
        return true;
    }
    assert_eq!(output.status.code(), Some(6), "{error}");
    assert!(error.contains("SYS_RESOURCE"), "{error}");
    assert!(!stack.root().join("config/fault.json").exists());
    eprintln!("skipped: {error}");
    false
}

/// Name of a key that is not there yet.
fn fresh() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("fresh-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn wait(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// True if the stack's KES is paused: seen by `status`, which asks it.
fn is_frozen(stack: &Sandbox) -> bool {
    let start = Instant::now();
    let _ = stack.run(&["key", "list"]);
    start.elapsed() > Duration::from_millis(150)
}

fn ready() -> Sandbox {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    stack
}

#[test]
#[ignore = "needs an engine"]
fn faults_take_hold_and_end_with_a_signal() {
    let stack = ready();
    for fault in WITHOUT_KEYS {
        let mut chaos = Chaos::start(&stack, fault);
        let (status, body) = stack.s3("GET", "/encrypted/kept", None);
        assert!(status != 200 && !text(&body).contains("precious"), "{fault}: {status}");
        let (status, _) = stack.s3("PUT", "/encrypted/during", Some(b"lost"));
        assert_ne!(status, 200, "{fault}");
        assert_eq!(chaos.signal("-TERM"), Some(143), "{fault}");
        chaos.is_over(fault);
    }
    for fault in WITHOUT_WRITING {
        if fault == "keystore-full" && !may_limit(&stack) {
            continue;
        }
        let mut chaos = Chaos::start(&stack, fault);
        assert_eq!(text(&stack.read("/encrypted/kept")), "precious", "{fault}: keys that are there work");
        stack.put("/encrypted/during", b"works");
        assert_eq!(chaos.signal("-INT"), Some(130), "{fault}");
        chaos.is_over(fault);
    }
    for fault in ["kes-slow", "kes-flap"] {
        let mut chaos = Chaos::start(&stack, fault);
        let written: Vec<_> = (0..8)
            .map(|number| format!("/encrypted/{fault}-{number}"))
            .filter(|path| stack.s3("PUT", path, Some(path.as_bytes())).0 == 200)
            .collect();
        assert_eq!(chaos.signal("-TERM"), Some(143), "{fault}");
        chaos.is_over(fault);
        assert!(fault != "kes-slow" || written.len() == 8, "what is slow still works: {written:?}");
        for path in written {
            assert_eq!(text(&stack.read(&path)), path, "what was acknowledged is there");
        }
    }
    assert_eq!(stack.json(&["verify"])["proven"], true);
}

#[test]
#[ignore = "needs an engine"]
fn faults_end_by_themselves() {
    let stack = ready();
    let report = stack.json(&["chaos", "kes-deny", "--for", "1s", "--seed", "3"]);
    assert_eq!((&report["fault"], &report["seed"]), (&"kes-deny".into(), &3.into()));
    assert!(report["milliseconds"].as_u64().unwrap() >= 1000, "{report}");
    assert_eq!(text(&stack.read("/encrypted/kept")), "precious");
    assert!(stack.ok(&["chaos", "heal"]).contains("nothing to heal"));
    assert!(stack.fails(&["chaos", "kes-down", "--for", "never"], 2).contains("90s"));
}

#[test]
#[ignore = "needs an engine"]
fn what_a_killed_chaos_left_is_mended() {
    let stack = ready();
    for (fault, mend) in [
        ("kes-slow", &["up"][..]),
        ("keystore-full", &["chaos", "heal"]),
        ("keystore-readonly", &["up"]),
        ("cert-expired", &["up"]),
        ("kes-down", &["chaos", "heal"]),
        ("cert-expired", &["chaos", "heal"]),
        ("kes-deny", &["up"]),
    ] {
        if fault == "keystore-full" && !may_limit(&stack) {
            continue;
        }
        let mut chaos = Chaos::start(&stack, fault);
        chaos.signal("-KILL");
        assert!(stack.root().join("config/fault.json").exists(), "{fault}");
        stack.ok(mend);
        chaos.is_over(fault);
    }
    let mut chaos = Chaos::start(&stack, "keystore-readonly");
    chaos.signal("-KILL");
    stack.ok(&["down", "--data"]);
    assert!(!stack.root().exists());
}

#[test]
#[ignore = "needs an engine"]
fn the_keystores_of_others_are_left_alone() {
    // nothing is asked of a keystore that is not reached by its own client
    let stack = ready();
    stack.manifest("keystore: { vault: { endpoint: \"https://127.0.0.1:1\", kubernetes: { role: none } } }\n");
    let error = stack.fails(&["chaos", "keystore-readonly"], 2);
    assert!(error.contains("kes-deny"), "{error}");
}

#[test]
#[ignore = "needs an engine"]
fn trials_say_what_held() {
    let stack = ready();
    let report = stack.json(&["verify", "--faults", "--seed", "5"]);
    assert_eq!(report["proven"], true, "{report}");
    let trials = report["drill"]["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 7);
    for trial in trials {
        let evidence = trial["evidence"].as_array().unwrap();
        assert!(trial["not_here"].is_string() || !evidence.is_empty(), "{trial}");
    }
    let (_, listing) = stack.s3("GET", "/encrypted?list-type=2&prefix=kestack-", None);
    assert!(!text(&listing).contains("<Key>"), "what the trials wrote is gone: {}", text(&listing));
    assert_eq!(stack.json(&["up"])["changed"], 0);
}

#[test]
#[ignore = "needs an engine"]
fn a_fault_in_force_is_named_and_can_be_ended() {
    let stack = ready();
    for fault in ["kes-deny", "kes-down"] {
        let mut chaos = Chaos::start(&stack, fault);
        let output = stack.run(&["status", "--output", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(status["fault"]["fault"], fault, "{status}");
        assert!(status["fault"]["until"].is_string(), "{status}");
        if !output.status.success() {
            let error = text(&output.stderr);
            assert!(error.contains("`kestack chaos heal` ends it now") && !error.contains("kestack up"), "{error}");
        }
        let doctor = stack.ok(&["doctor"]);
        assert!(doctor.contains(&format!("the fault {fault} is in force until")), "{doctor}");
        let start = Instant::now();
        assert!(stack.ok(&["chaos", "heal"]).contains(fault));
        assert!(start.elapsed() < Duration::from_secs(60), "it waited for the end of the fault");
        assert_eq!(ended(&mut chaos.child).code(), Some(0), "{fault}");
        chaos.is_over(fault);
        assert!(!stack.root().join("config/fault.end").exists());
    }
}

/// The folder of keys may be that of others too.
#[test]
#[ignore = "needs an engine"]
fn the_permissions_of_a_folder_of_the_user_stay() {
    use std::os::unix::fs::PermissionsExt as _;
    let stack = Sandbox::new("");
    let keys = stack.folder().join("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o700)).unwrap();
    stack.manifest(&format!("keystore: {{ fs: {{ path: '{}' }} }}\n", keys.display()));
    stack.ok(&["up"]);
    let mode = || keys.metadata().unwrap().permissions().mode() & 0o7777;
    let before = mode();
    let error = stack.fails(&["chaos", "keystore-readonly", "--for", "1s"], 2);
    assert!(error.contains(&format!("'{}'", keys.display())) && error.contains("keystore-full"), "{error}");
    assert_eq!(mode(), before);
    assert!(!stack.root().join("config/fault.json").exists());
    let trials = stack.json(&["verify", "--faults"]);
    assert!(trials.to_string().contains("which others may use"), "{trials}");
    assert_eq!(mode(), before);
}
