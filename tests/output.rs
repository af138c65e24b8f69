//! What happens where output cannot be written, and whose stack is meant; needs no engine.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "test")]

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;

/// The tool in that folder, with its stacks below it.
fn kestack(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kestack"));
    command.args(arguments).current_dir(folder).env("KESTACK_DIR", folder.join("stacks"));
    for variable in ["KESTACK_NAME", "KESTACK_FILE", "KESTACK_OUTPUT", "KESTACK_ENGINE", "KESTACK_HOST"] {
        command.env_remove(variable);
    }
    command
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for verb in [
        &["config", "check"][..],
        &["config", "schema"],
        &["completion", "bash"],
        &["snapshot", "list"],
        &["--help"],
        &["--version"],
        &["up", "--help"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = kestack(folder.path(), verb).stdout(full).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{verb:?}: {said}");
        assert!(said.contains("cannot write to standard output: No space left"), "{verb:?}: {said}");
    }
}

#[test]
fn whoever_stops_reading_has_read_enough() {
    let folder = tempfile::tempdir().unwrap();
    for verb in [&["config", "schema"][..], &["completion", "bash"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = kestack(folder.path(), verb).stdout(writer).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{verb:?}: {output:?}");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = kestack(folder.path(), &["env"]).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(3), "an error that nobody reads is the same error");
}

/// The name that the stack of a folder has.
fn name(folder: &Path) -> String {
    let output = kestack(folder, &["config", "check", "--output", "json"]);
    let output = { output }.env("KESTACK_DIR", folder.parent().unwrap().join("stacks")).output().unwrap();
    let checked: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    checked["name"].as_str().unwrap().to_owned()
}

#[test]
fn a_stack_is_called_like_the_folder_of_its_manifest() {
    let base = tempfile::tempdir().unwrap();
    let project = |name: &str, manifest: &str| {
        let folder = base.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("kestack.yaml"), manifest).unwrap();
        folder
    };
    let (shop, blog) = (project("My Shop", "version: v1\n"), project("blog", "version: v1\n"));
    let named = project("named", "name: by-hand\n");
    let names = || [&shop, &blog, &named].map(|folder| name(folder));
    assert_eq!(names(), ["myshop", "blog", "by-hand"]);
    // what an older kestack brought up is found
    let former = base.path().join("stacks/minio-kes");
    std::fs::create_dir_all(&former).unwrap();
    assert_eq!(names(), ["minio-kes", "minio-kes", "by-hand"]);
    // once it is known whose it is, it is nobody else's
    let owner = shop.canonicalize().unwrap().join("kestack.yaml");
    let origin = serde_json::json!({ "version": 1, "manifest": owner, "created": "2026-01-01T00:00:00Z" });
    std::fs::write(former.join("origin.json"), origin.to_string()).unwrap();
    assert_eq!(names(), ["minio-kes", "blog", "by-hand"]);
    std::fs::create_dir_all(base.path().join("stacks/myshop")).unwrap();
    assert_eq!(names(), ["myshop", "blog", "by-hand"]);
}

#[test]
fn commands_in_messages_repeat_what_the_user_gave() {
    let folder = tempfile::tempdir().unwrap();
    let said = |arguments: &[&str]| {
        let output = kestack(folder.path(), arguments).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said(&["env"]).contains("start it with `kestack up`"));
    assert!(said(&["-n", "a", "env"]).contains("start it with `kestack -n a up`"));
    let all = said(&["env", "--dir", "my stacks", "--engine", "process", "--name", "a"]);
    assert!(all.contains("start it with `kestack -n a --dir 'my stacks' --engine process up`"), "{all}");
}
