//! What happens where output cannot be written; needs no engine.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "test")]

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
