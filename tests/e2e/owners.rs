//! Whose stack it is: nobody takes over what another manifest brought up, and a stack is seen as it is from anywhere.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::bounded::Bounded as _;
use crate::engine::kind;
use crate::sandbox::{Sandbox, binary, text};

/// The tool in another folder, with the same folder of stacks.
fn run_in(folder: &Path, stack: &Sandbox, arguments: &[&str]) -> Output {
    command_in(folder, stack, arguments).finished()
}

fn command_in(folder: &Path, stack: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder).env("KESTACK_DIR", stack.base()).env("KESTACK_ENGINE", kind().name());
    for variable in ["KESTACK_NAME", "KESTACK_FILE", "KESTACK_OUTPUT"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ok_in(folder: &Path, stack: &Sandbox, arguments: &[&str]) -> String {
    let output = run_in(folder, stack, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
#[ignore = "needs an engine"]
fn another_manifest_changes_nothing_of_a_stack() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    let other = tempfile::tempdir().unwrap();
    std::fs::copy(stack.folder().join("kestack.yaml"), other.path().join("kestack.yaml")).unwrap();
    let own = stack.folder().canonicalize().unwrap().join("kestack.yaml").display().to_string();
    for verb in [
        &["up"][..],
        &["down"],
        &["down", "--data"],
        &["reset"],
        &["reset", "--hard"],
        &["key", "create", "theirs"],
        &["key", "delete", "theirs"],
        &["bucket", "create", "theirs"],
        &["bucket", "encrypt", "encrypted", "--sse-s3"],
        &["sandbox", "create", "theirs"],
        &["sandbox", "drop", "theirs"],
        &["chaos", "kes-down", "--for", "1s"],
        &["chaos", "heal"],
        &["verify"],
        &["snapshot", "save", "theirs"],
        &["snapshot", "remove", "theirs"],
    ] {
        let output = run_in(other.path(), &stack, verb);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(6), "{verb:?}: {said}");
        assert!(said.contains(&own) && said.contains("--adopt"), "{verb:?}: {said}");
    }
    assert_eq!(stack.json(&["up"])["changed"], 0);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
    let looked = run_in(other.path(), &stack, &["status"]);
    assert!(looked.status.success() && text(&looked.stderr).contains(&own), "{looked:?}");

    ok_in(other.path(), &stack, &["up", "--adopt"]);
    let error = stack.fails(&["up"], 6);
    assert!(error.contains(&other.path().canonicalize().unwrap().display().to_string()), "{error}");
    stack.ok(&["down", "--adopt"]);
    ok_in(other.path(), &stack, &["down", "--data"]);
}

#[test]
#[ignore = "needs an engine"]
fn a_stack_is_seen_as_it_is_from_anywhere() {
    let stack = Sandbox::new("keys: [first]\nbuckets: [{ name: docs }]\n");
    stack.ok(&["up"]);
    let endpoint = stack.variable("AWS_ENDPOINT_URL_S3");
    let (nowhere, project) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(project.path().join("kestack.yaml"), "name: another\nminio: { port: 9 }\n").unwrap();
    for folder in [&nowhere, &project] {
        let run = |arguments: &[&str]| ok_in(folder.path(), &stack, &[&["-n", &stack.name], arguments].concat());
        assert!(run(&["status"]).contains("running"));
        assert!(run(&["env", "--shell", "sh"]).contains(&endpoint));
        assert!(run(&["doctor"]).contains("ok"));
        assert!(run(&["key", "list"]).contains("first"));
        assert!(run(&["plan"]).contains("nothing to change"));
    }
    let run = |arguments: &[&str]| ok_in(nowhere.path(), &stack, &[&["-n", &stack.name], arguments].concat());
    assert!(run(&["up"]).contains("nothing to change"));
    run(&["verify"]);
    run(&["down"]);
    let output = run_in(nowhere.path(), &stack, &["-n", &stack.name, "key", "list"]);
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("`kestack -n {} up`", stack.name)), "{said}");
}

#[test]
#[ignore = "needs an engine"]
fn stacks_without_a_manifest_stand_side_by_side_and_are_listed() {
    let stack = Sandbox::new("");
    let nowhere = tempfile::tempdir().unwrap();
    let names = ["one", "two"].map(|name| format!("{}-{name}", stack.name));
    let run = |name: &str, arguments: &[&str]| ok_in(nowhere.path(), &stack, &[&["-n", name], arguments].concat());
    for name in &names {
        run(name, &["up"]);
    }
    stack.ok(&["up", "--lease", "1h"]);
    let base = stack.base().display().to_string();
    let listed: Value = serde_json::from_str(&stack.ok(&["list", "--dir", &base, "--output", "json"])).unwrap();
    let stacks = listed["stacks"].as_array().unwrap();
    assert_eq!(stacks.len(), 3, "{listed}");
    let of = |name: &str| stacks.iter().find(|found| found["name"] == name).unwrap();
    let mut ports: Vec<u64> = names
        .iter()
        .flat_map(|name| of(name)["ports"].as_object().unwrap().values().map(|port| port.as_u64().unwrap()))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 6, "{listed}");
    for name in &names {
        assert!(of(name)["state"] == "running" && of(name)["manifest"].is_null(), "{listed}");
        let endpoint = format!("127.0.0.1:{}", of(name)["ports"]["s3"]);
        assert!(run(name, &["env", "--shell", "sh"]).contains(&endpoint));
        run(name, &["up"]);
    }
    let own = of(&stack.name);
    let manifest = stack.folder().canonicalize().unwrap().join("kestack.yaml");
    assert_eq!(own["manifest"], manifest.display().to_string());
    assert!(own["expires"].is_string() && own["created"].is_string(), "{listed}");
    let everything: Value = serde_json::from_str(&stack.ok(&["ps", "--output", "json"])).unwrap();
    assert!(everything["stacks"].as_array().unwrap().len() >= 3);
    for alias in ["list", "ls", "ps"] {
        let shown = stack.ok(&[alias, "--dir", &base]);
        assert!(names.iter().all(|name| shown.contains(name)), "{shown}");
    }

    ok_in(nowhere.path(), &stack, &["down", "--all", "--dir", &base]);
    let listed: Value = serde_json::from_str(&stack.ok(&["list", "--dir", &base, "--output", "json"])).unwrap();
    assert!(listed["stacks"].as_array().unwrap().iter().all(|found| found["state"] == "down"), "{listed}");
    ok_in(nowhere.path(), &stack, &["down", "--all", "--data", "--dir", &base]);
    assert_eq!(stack.json(&["list", "--dir", &base])["stacks"], serde_json::json!([]));
    assert!(names.iter().all(|name| !stack.base().join(name).exists()));
}

#[test]
#[ignore = "needs an engine"]
fn stacks_that_come_up_at_the_same_time_get_different_ports() {
    let stack = Sandbox::new("");
    let nowhere = tempfile::tempdir().unwrap();
    let names = ["one", "two", "three"].map(|name| format!("{}-{name}", stack.name));
    let starts = names.each_ref().map(|name| command_in(nowhere.path(), &stack, &["-n", name, "up"]).spawn().unwrap());
    for mut start in starts {
        let output = start.finished();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let base = stack.base().display().to_string();
    let listed: Value = serde_json::from_str(&stack.ok(&["list", "--dir", &base, "--output", "json"])).unwrap();
    let stacks = listed["stacks"].as_array().unwrap();
    assert!(stacks.iter().all(|stack| stack["state"] == "running"), "{listed}");
    let ports = stacks.iter().flat_map(|stack| stack["ports"].as_object().unwrap().values());
    let ports: std::collections::BTreeSet<_> = ports.map(|port| port.as_u64().unwrap()).collect();
    assert_eq!(ports.len(), 9, "{listed}");
    ok_in(nowhere.path(), &stack, &["down", "--all", "--data", "--dir", &base]);
}

#[test]
#[ignore = "needs an engine"]
fn a_stack_without_the_console_comes_up() {
    let stack = Sandbox::new("minio: { env: { MINIO_BROWSER: off } }\n");
    stack.ok(&["up"]);
    stack.ok(&["up"]);
}

#[test]
#[ignore = "needs an engine"]
fn ports_that_are_left_to_kestack_stay_what_they_are() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let stack = Sandbox::new(&format!("kes: {{ port: 0 }}\nminio: {{ port: {port}, console_port: 0 }}\n"));
    let error = stack.fails(&["up"], 6);
    assert!(error.contains("kestack up --port auto"), "{error}");
    stack.ok(&["up", "--port", "auto"]);
    let endpoint = stack.variable("AWS_ENDPOINT_URL_S3");
    assert!(!endpoint.ends_with(&format!(":{port}")));
    drop(taken);
    assert_eq!(stack.json(&["up"])["changed"], 0, "the choice is remembered");
    assert_eq!(stack.variable("AWS_ENDPOINT_URL_S3"), endpoint);
    stack.ok(&["up", "--port", "manifest"]);
    assert!(stack.variable("AWS_ENDPOINT_URL_S3").ends_with(&format!(":{port}")));
}

/// Names of pods are unique on an engine, which several folders may share.
mod containers {
    use super::*;

    #[test]
    #[ignore = "needs Podman or Docker"]
    fn a_stack_of_the_same_name_in_another_folder_is_left_alone() {
        let stack = Sandbox::new("");
        stack.ok(&["up"]);
        stack.put("/encrypted/kept", b"precious");
        let other = Sandbox::named(&stack.name);
        let root = stack.root().canonicalize().unwrap().display().to_string();
        let refuse = |arguments: &[&str]| {
            let error = other.fails(arguments, 6);
            assert!(error.contains(&root) && error.contains("another name"), "{arguments:?}: {error}");
        };
        for arguments in [&["up"][..], &["plan"], &["down"], &["down", "--data"], &["reset", "--hard"]] {
            refuse(arguments);
        }
        assert!(!other.root().exists(), "nothing was made");
        // one that was up before the other took its name
        stack.ok(&["down"]);
        other.ok(&["up"]);
        other.put("/encrypted/other", b"another one");
        other.ok(&["down"]);
        stack.ok(&["up"]);
        for arguments in [
            &["up"][..],
            &["status"],
            &["stop"],
            &["start"],
            &["reset"],
            &["logs"],
            &["snapshot", "save", "theirs"],
            &["chaos", "kes-down", "--for", "1s"],
            &["down", "--data"],
        ] {
            refuse(arguments);
        }
        assert!(other.run(&["doctor"]).stdout.windows(root.len()).any(|part| part == root.as_bytes()));
        assert_eq!(stack.json(&["up"])["changed"], 0);
        assert_eq!(stack.read("/encrypted/kept"), b"precious");
        stack.ok(&["down", "--data"]);
        other.ok(&["up"]);
        assert_eq!(other.read("/encrypted/other"), b"another one");
    }

    #[test]
    #[ignore = "needs Podman or Docker"]
    fn a_stack_whose_folder_moved_or_went_is_still_the_same() {
        let stack = Sandbox::new("");
        stack.ok(&["up"]);
        stack.put("/encrypted/kept", b"precious");
        let there = stack.folder().join("there");
        std::fs::create_dir(&there).unwrap();
        std::fs::rename(stack.root(), there.join(&stack.name)).unwrap();
        let moved = |arguments: &[&str]| stack.ok(&[&["--dir", there.to_str().unwrap()], arguments].concat());
        assert!(moved(&["status"]).contains("running"));
        moved(&["up"]);
        moved(&["verify"]);
        moved(&["down"]);
        std::fs::rename(there.join(&stack.name), stack.root()).unwrap();
        stack.ok(&["up"]);
        assert_eq!(stack.read("/encrypted/kept"), b"precious");
        // removed by hand, with its pod still there
        std::fs::remove_dir_all(stack.root()).unwrap();
        stack.ok(&["up"]);
        stack.put("/encrypted/new", b"content");
    }
}
