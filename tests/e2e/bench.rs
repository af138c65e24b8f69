//! What encryption costs: the figures are there, and nothing of a measurement stays.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bounded::ended;
use crate::engine::kind;
use crate::sandbox::Sandbox;

const SHORT: [&str; 6] = ["bench", "--size", "1KiB,64KiB", "--clients", "4", "--for"];

fn buckets(stack: &Sandbox) -> Vec<String> {
    stack.json(&["status"])["buckets"].as_object().unwrap().keys().cloned().collect()
}

fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A measurement that has made its buckets.
fn begun(stack: &Sandbox) -> Child {
    let (s3, runtime) = (stack.client(), tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    let count = || runtime.block_on(s3.list_buckets()).unwrap().len();
    let others = count();
    let child = stack.start(&[&SHORT[..], &["10m"]].concat());
    until("the buckets", || count() == others + 3);
    child
}

#[test]
#[ignore = "needs an engine"]
fn figures_of_clear_and_encrypted_objects_stand_side_by_side() {
    let stack = Sandbox::new("auto_encryption: false\n");
    stack.ok(&["up"]);
    let report = stack.json(&[&SHORT[..], &["6s"]].concat());
    let figures = report["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 2 * 3 * 3, "{report}");
    for one in figures {
        let above = |name: &str, least: f64| {
            let figure = &one[name];
            let of = |name: &str| figure[name].as_f64().unwrap_or_else(|| panic!("no {name} in {one}"));
            assert!(least < of("lowest") && of("lowest") <= of("median") && of("median") <= of("highest"), "{one}");
        };
        for name in ["objects_per_second", "megabytes_per_second", "p50_milliseconds", "p99_milliseconds"] {
            above(name, 0.0);
        }
        above("minio_microseconds", 10.0);
        above("kes_microseconds", if one["encryption"] == "none" { -1.0 } else { 1.0 });
        assert_eq!(one["percent"].is_null(), one["encryption"] == "none", "{one}");
    }
    assert_eq!((&report["no_comparison"], &report["rounds"]), (&Value::Null, &json!(5)));
    assert_eq!(buckets(&stack), ["encrypted"]);
    assert!(!stack.root().join("bench.json").exists());
}

#[test]
#[ignore = "needs an engine"]
fn nothing_of_an_interrupted_measurement_stays() {
    let stack = Sandbox::new("auto_encryption: false\n");
    stack.ok(&["up"]);
    // more than once: a write that is under way must not bring a bucket back
    for _ in 0..5 {
        let mut child = begun(&stack);
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(sent.unwrap().success());
        assert_eq!(ended(&mut child).code(), Some(130));
        assert_eq!(buckets(&stack), ["encrypted"]);
        assert!(!stack.root().join("bench.json").exists());
    }

    // killed: the next one, gc and down remove the remains, and nothing else with such a name
    stack.ok(&["bucket", "create", "kestack-bench-mine"]);
    for verb in [&["gc"][..], &["down"], &["bench", "--size", "1KiB", "--for", "3s"]] {
        let mut child = begun(&stack);
        child.kill().unwrap();
        ended(&mut child);
        assert!(stack.root().join("bench.json").exists());
        stack.ok(verb);
        assert!(!stack.root().join("bench.json").exists(), "{verb:?}");
        stack.ok(&["up"]);
        assert_eq!(buckets(&stack), ["encrypted", "kestack-bench-mine"], "{verb:?}");
    }
}

#[test]
#[ignore = "needs an engine"]
fn a_stack_that_encrypts_everything_says_how_to_compare() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let said = stack.ok(&["bench", "--size", "4KiB", "--for", "3s"]);
    assert!(said.contains("auto_encryption: false") && said.contains("sse-kms"), "{said}");
    for (arguments, why) in [(["--size", "0"], "0"), (["--for", "1s"], "3s"), (["--clients", "0"], "0")] {
        let refused = stack.fails(&[&["bench"][..], &arguments].concat(), 2);
        assert!(refused.contains(why), "{refused}");
    }
    let refused = stack.fails(&["bench", "--size", "64MiB"], 2);
    assert!(refused.contains("256MiB"), "{refused}");
    if kind() == crate::engine::Kind::Process {
        stack.ok(&["stop"]);
        stack.fails(&["bench"], 3);
    }
}
