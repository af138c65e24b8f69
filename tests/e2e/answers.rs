//! Every answer in JSON is one document of the form that `kestack schema` prints; verbs that stop, start and delete.

use std::process::Stdio;

use serde_json::Value;

use crate::bounded::Bounded as _;
use crate::sandbox::{Sandbox, text};

/// The answer of a call, which must be one document of the form that its verb has.
fn answer(stack: &Sandbox, verb: &str, more: &[&str]) -> Value {
    let words: Vec<_> = verb.split(' ').collect();
    let schema = stack.ok(&[&["schema"], words.as_slice()].concat());
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let output = stack.run(&[words.as_slice(), more, &["--output", "json"]].concat());
    assert!(output.status.success(), "{verb}: {}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{verb} prints one document: {error}: {}", text(&output.stdout)));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<_> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
    assert!(wrong.is_empty(), "{verb}: {wrong:?}: {answer}");
    assert!(answer["schema_version"].is_u64(), "{verb}: {answer}");
    let properties = schema["properties"].as_object().unwrap();
    let unknown: Vec<_> = answer.as_object().unwrap().keys().filter(|name| !properties.contains_key(*name)).collect();
    let is_open = schema.get("additionalProperties").is_some() || schema.get("anyOf").is_some();
    assert!(is_open || unknown.is_empty(), "{verb}: its schema does not name {unknown:?}");
    answer
}

#[test]
#[ignore = "needs an engine"]
fn every_answer_has_the_form_of_its_schema() {
    let stack = Sandbox::new("");
    let up = answer(&stack, "up", &["--verbose"]);
    assert!(up.get("user").is_none(), "the root user's name is a secret of the stack: {up}");
    let keys = answer(&stack, "key create", &["a", "b", "a"]);
    assert_eq!((&keys["keys"][0]["created"], &keys["keys"][2]["created"]), (&true.into(), &false.into()));
    answer(&stack, "bucket create", &["docs", "--key", "a"]);
    stack.put("/docs/one", b"one");
    for (verb, more) in [
        ("bench", &["--size", "1KiB", "--for", "3s"][..]),
        ("drill", &[]),
        ("bucket info", &["docs"]),
        ("bucket list", &[]),
        ("bucket encrypt", &["docs", "--sse-s3", "--existing"]),
        ("config check", &[]),
        ("doctor", &[]),
        ("env", &[]),
        ("images", &[]),
        ("inventory", &[]),
        ("key info", &["a"]),
        ("key list", &[]),
        ("key rotate", &["a", "--no-snapshot"]),
        ("list", &[]),
        ("plan", &[]),
        ("status", &[]),
        ("verify", &[]),
        ("version", &[]),
        ("sandbox create", &["one", "--lease", "1h"]),
        ("sandbox list", &[]),
        ("sandbox env", &["one"]),
        ("sandbox extend", &["one"]),
        ("sandbox drop", &["one"]),
        ("snapshot save", &["first"]),
        ("snapshot list", &[]),
        ("snapshot restore", &["first"]),
        ("snapshot remove", &["first"]),
        ("chaos kes-down", &["--for", "100ms"]),
        ("chaos heal", &[]),
        ("gc", &[]),
        ("reset", &[]),
        ("key delete", &["b"]),
        ("stop", &[]),
        ("start", &[]),
        ("down", &["--data"]),
    ] {
        let more = if verb == "key delete" {
            stack.ok(&["key", "create", "b"]);
            more
        } else {
            more
        };
        answer(&stack, verb, more);
    }
    let shell: Value = serde_json::from_str(&{
        stack.ok(&["up"]);
        stack.ok(&["env", "--shell", "json"])
    })
    .unwrap();
    assert!(shell["schema_version"].is_u64(), "{shell}");
    let logs = stack.ok(&["logs", "--tail", "2", "--output", "json"]);
    let schema: Value = serde_json::from_str(&stack.ok(&["schema", "logs"])).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(!logs.is_empty());
    for line in logs.lines() {
        assert!(validator.is_valid(&serde_json::from_str(line).unwrap()), "{line}");
    }
}

#[test]
#[ignore = "needs an engine"]
fn a_stopped_stack_keeps_everything_and_starts_again() {
    let stack = Sandbox::new("");
    assert!(stack.fails(&["start"], 3).contains("is not running"), "there is nothing to start yet");
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"kept");
    let stopped = stack.json(&["stop"]);
    let minio = format!("{}-minio-server", stack.name);
    assert_eq!(stopped["stopped"][0], minio.as_str(), "MinIO goes first");
    let status = stack.run(&["status", "--json"]);
    assert_eq!(status.status.code(), Some(3));
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["state"], "stopped", "{status}");
    assert!(status["containers"].get(&minio).is_some(), "nothing is removed: {status}");
    assert_eq!(stack.json(&["stop"])["stopped"], Value::Array(vec![]));
    stack.ok(&["start"]);
    assert_eq!(stack.read("/encrypted/kept"), b"kept");
    assert_eq!(stack.json(&["status"])["state"], "running");
}

#[test]
#[ignore = "needs an engine"]
fn a_bucket_is_deleted_with_its_objects_only_if_somebody_says_so() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.ok(&["bucket", "create", "docs", "--key", "docs-key"]);
    stack.put("/docs/precious", b"precious");
    for arguments in [&["bucket", "delete", "docs"][..], &["bucket", "delete", "docs", "--yes"]] {
        let error = stack.fails(arguments, 2);
        assert!(error.contains("is not empty") && error.contains("--force docs"), "{error}");
    }
    stack.ok(&["bucket", "create", "empty"]);
    // all are looked at before the first one goes
    stack.fails(&["bucket", "delete", "empty", "docs"], 2);
    assert_eq!(stack.json(&["bucket", "list"])["buckets"].as_array().unwrap().len(), 3);
    assert_eq!(stack.read("/docs/precious"), b"precious");
    assert!(stack.fails(&["bucket", "delete", "absent"], 1).contains("NoSuchBucket"));
    stack.ok(&["sandbox", "create", "pr"]);
    assert!(stack.fails(&["bucket", "delete", "--force", "kestack-sandbox-pr"], 2).contains("sandbox drop pr"));
    answer(&stack, "bucket delete", &["empty"]);
    let deleted = answer(&stack, "bucket delete", &["docs", "encrypted", "--force"]);
    assert_eq!(deleted["declared"], serde_json::json!(["encrypted"]));
    stack.ok(&["key", "delete", "docs-key"]);
    stack.ok(&["up"]);
    let list = stack.json(&["bucket", "list"]);
    assert!(list["buckets"].as_array().unwrap().iter().any(|bucket| bucket["name"] == "encrypted"), "{list}");
}

#[test]
#[ignore = "needs an engine"]
fn up_says_little_unless_it_is_asked() {
    let stack = Sandbox::new("");
    let said = |arguments: &[&str]| {
        let output = stack.command(arguments).stdin(Stdio::null()).finished();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let steps = |said: &str| said.lines().filter(|line| line.starts_with('✓')).count();
    let brief = said(&["up"]);
    assert_eq!(steps(&brief), 5, "{brief}");
    for word in ["certificates", "KES", "MinIO", "bucket encrypted", "ready"] {
        assert!(brief.contains(word), "{brief}");
    }
    assert!(brief.lines().all(|line| line.chars().count() <= 80), "{brief}");
    assert_eq!(steps(&said(&["up"])), 0, "nothing has changed");
    stack.ok(&["down"]);
    let every = said(&["up", "--verbose"]);
    assert!(steps(&every) > 5 && !every.contains("debug:"), "{every}");
    assert!(stack.ok(&["up"]).contains("login    "), "how to log in to the console");
}
