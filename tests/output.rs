//! What happens where output cannot be written, and whose stack is meant; needs no engine.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_methods, reason = "test")]

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
        &["version"][..],
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

/// What a call printed on standard error, as JSON: one document per line.
fn documents(output: &std::process::Output) -> Vec<serde_json::Value> {
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn errors_are_documents_where_answers_are() {
    let folder = tempfile::tempdir().unwrap();
    let schema = kestack(folder.path(), &["schema", "error"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for (arguments, kind, code) in [
        (&["env", "--json"][..], "not_running", 3),
        (&["--output", "json", "status"], "not_running", 3),
        (&["config", "check", "-o", "json"], "usage", 2),
        (&["-o", "json", "destroy"], "usage", 2),
        (&["--json", "key", "create"], "usage", 2),
        (&["--output=json", "up", "--host", "unix:///nonexistent.sock"], "engine", 6),
    ] {
        let output = kestack(folder.path(), arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let said = documents(&output);
        let error = said.last().unwrap();
        assert!(schema.is_valid(error), "{arguments:?}: {error}");
        assert_eq!((&error["error"]["kind"], &error["error"]["exit_code"]), (&kind.into(), &code.into()), "{error}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(!message.contains('{') && !message.starts_with("error"), "{message}");
    }
    let output = kestack(folder.path(), &["env"]).env("KESTACK_OUTPUT", "json").output().unwrap();
    assert_eq!(documents(&output)[0]["error"]["hint"], "start it with `kestack up`");
}

#[test]
fn messages_are_coloured_only_where_they_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let said = |variables: &[(&str, &str)]| {
        let mut command = kestack(folder.path(), &["env"]);
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        let output = command.envs(variables.iter().copied()).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let plain = "error: stack 'minio-kes' is not running\n  start it with `kestack up`\n";
    assert_eq!(said(&[]), plain, "no terminal, no colours");
    assert_eq!(said(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]), plain);
    assert_eq!(said(&[("CLICOLOR_FORCE", "0")]), plain);
    assert!(said(&[("CLICOLOR_FORCE", "1")]).starts_with("\u{1b}[31;1merror:\u{1b}[0m stack"));
}

#[test]
fn a_manifest_is_written_once_and_can_be_checked() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| kestack(folder.path(), arguments).output().unwrap();
    assert_eq!(run(&["config", "check"]).status.code(), Some(2), "there is none yet");
    assert!(run(&["init"]).status.success());
    let checked = run(&["config", "check", "--json"]);
    let checked: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    let file = folder.path().canonicalize().unwrap().join("kestack.yaml");
    assert_eq!((&checked["file"], &checked["valid"]), (&file.to_str().unwrap().into(), &true.into()));
    std::fs::write(&file, "name: mine\n").unwrap();
    let again = run(&["init"]);
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "name: mine\n", "what is there stays");
    let other = run(&["init", "--file", "other.yaml"]);
    assert!(other.status.success() && folder.path().join("other.yaml").is_file());
}

#[test]
fn manual_pages_are_written_for_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    let page = kestack(folder.path(), &["man"]).output().unwrap();
    assert!(String::from_utf8_lossy(&page.stdout).contains(".TH kestack 1"));
    assert!(kestack(folder.path(), &["man", "pages"]).status().unwrap().success());
    for page in ["kestack.1", "kestack-up.1", "kestack-key-create.1"] {
        assert!(folder.path().join("pages").join(page).is_file(), "{page}");
    }
}

#[test]
fn the_version_names_release_commit_and_target() {
    let folder = tempfile::tempdir().unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let said = kestack(folder.path(), &["--version"]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.starts_with(&format!("kestack {version} (commit ")) && said.ends_with("-linux-gnu)\n"), "{said}");
    let answer = kestack(folder.path(), &["version", "--json"]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!((&answer["name"], &answer["version"]), (&"kestack".into(), &version.into()));
    assert!(answer["target"].as_str().unwrap().ends_with("-linux-gnu") && answer.get("commit").is_some(), "{answer}");
}
