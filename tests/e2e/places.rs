//! Whose folders a stack may be in, and under which paths: nobody else gets in, nothing of others is touched.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use crate::bounded::Bounded as _;
use crate::sandbox::{Sandbox, binary, text};

/// Files and folders that others than the owner may read, write or enter, but for public certificates.
fn open_to_others(root: &Path) -> String {
    let mut find = Command::new("find");
    find.arg(root).args([
        "-perm",
        "/077",
        "-not",
        "-type",
        "l",
        "-not",
        "-name",
        "*.cert",
        "-not",
        "-path",
        "*/minio/*",
    ]);
    text(&find.finished().stdout)
}

#[test]
#[ignore = "needs an engine"]
fn a_stack_is_its_owners_alone_whatever_the_umask() {
    let stack = Sandbox::new("");
    let mut up = Command::new("sh");
    up.args(["-c", "umask 000; exec \"$0\" up"]).arg(binary()).current_dir(stack.folder());
    up.env("KESTACK_DIR", stack.base()).env("KESTACK_ENGINE", crate::engine::kind().name());
    let output = up.finished();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(open_to_others(&stack.base()), "");
    // a folder of the release before, which the umask made
    std::fs::set_permissions(stack.root(), Permissions::from_mode(0o755)).unwrap();
    stack.ok(&["up"]);
    assert_eq!(std::fs::metadata(stack.root()).unwrap().mode() & 0o777, 0o700);
    std::fs::set_permissions(stack.root(), Permissions::from_mode(0o777)).unwrap();
    for verb in [&["up"][..], &["status"], &["env"], &["down", "--data"], &["snapshot", "list"]] {
        let error = stack.fails(verb, 6);
        assert!(error.contains(stack.root().to_str().unwrap()) && error.contains("chmod go-w"), "{verb:?}: {error}");
    }
    std::fs::set_permissions(stack.root(), Permissions::from_mode(0o700)).unwrap();
    stack.ok(&["down", "--data"]);
}

#[test]
#[ignore = "needs an engine"]
fn one_stack_is_one_whatever_path_leads_to_it() {
    let stack = Sandbox::new("");
    let link = stack.folder().join("link");
    std::fs::create_dir(stack.base()).unwrap();
    symlink(stack.base(), &link).unwrap();
    let through = |link: &Path| stack.command(&["up", "--output", "json", "--dir", link.to_str().unwrap()]).finished();
    let first = through(&link);
    assert!(first.status.success(), "{first:?}");
    let again: serde_json::Value = serde_json::from_slice(&through(&stack.base()).stdout).unwrap();
    assert_eq!(again["changed"], 0, "{again}");
    stack.ok(&["down", "--data"]);
}

#[test]
#[ignore = "needs an engine"]
fn a_path_that_no_engine_takes_is_refused_before_anything_is_made() {
    let stack = Sandbox::new("");
    let folder = stack.folder().join(OsStr::from_bytes(b"not-\xff-text"));
    let output = stack.command(&["up", "--dir"]).arg(&folder).finished();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    assert!(text(&output.stderr).contains("not UTF-8"), "{output:?}");
    assert!(!folder.exists());
}

#[test]
#[ignore = "needs an engine"]
fn what_kestack_did_not_make_is_never_removed() {
    let stack = Sandbox::new("");
    for folder in ["config", "certs", "src", "trash", "restore"] {
        std::fs::create_dir_all(stack.root().join(folder)).unwrap();
        std::fs::write(stack.root().join(folder).join("mine"), "").unwrap();
    }
    for verb in [&["down", "--data"][..], &["reset", "--hard"], &["up"]] {
        let error = stack.fails(verb, 6);
        assert!(error.contains(stack.root().to_str().unwrap()), "{verb:?}: {error}");
    }
    for folder in ["config", "certs", "src", "trash", "restore"] {
        assert!(stack.root().join(folder).join("mine").exists(), "{folder}");
    }
}

#[test]
#[ignore = "needs an engine"]
fn a_long_temporary_folder_and_empty_variables_change_nothing() {
    let stack = Sandbox::new("");
    let long = stack.folder().join("long".repeat(40));
    std::fs::create_dir(&long).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = stack.command(arguments);
        for name in [
            "KESTACK_NAME",
            "KESTACK_FILE",
            "KESTACK_OUTPUT",
            "KESTACK_HOST",
            "KESTACK_KEYSTORE",
            "DOCKER_HOST",
            "CONTAINER_HOST",
        ] {
            // the tier of Docker names its own daemon
            if std::env::var_os(name).is_none() {
                command.env(name, "");
            }
        }
        let output = command.env("TMPDIR", &long).finished();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    run(&["up"]);
    let script = run(&["env", "--shell", "bash"]);
    let check = "printf '%s|%s|%s' \"$AWS_SESSION_TOKEN\" \"$AWS_PROFILE\" \"$AWS_DEFAULT_REGION\"";
    let mut sh = Command::new("sh");
    sh.args(["-c", &format!("{script}\n{check}")]).env("AWS_SESSION_TOKEN", "old").env("AWS_PROFILE", "old");
    assert_eq!(text(&sh.finished().stdout), "||us-east-1");
    assert!(run(&["env", "--json"]).contains("schema_version"));
    run(&["down", "--data"]);
    assert!(run(&["env", "--unset", "--shell", "zsh"]).starts_with("unset AWS_ACCESS_KEY_ID "));
    assert_eq!(std::fs::read_dir(&long).unwrap().count(), 0);
}

/// Only root can give files to somebody else.
mod root {
    use super::*;

    #[test]
    #[ignore = "needs an engine, and root"]
    fn a_folder_of_another_owner_is_refused_with_its_name() {
        let stack = Sandbox::new("");
        std::fs::create_dir_all(stack.root()).unwrap();
        for foreign in [stack.root(), stack.base()] {
            chown(&foreign, Some(4242), Some(4242)).unwrap();
            for verb in [&["up"][..], &["status"], &["env"], &["doctor"], &["down", "--data"], &["reset", "--hard"]] {
                let error = stack.fails(verb, 6);
                let named = error.contains(foreign.to_str().unwrap()) && error.contains("uid 4242");
                assert!(named, "{verb:?}: {error}");
            }
            chown(&foreign, Some(0), Some(0)).unwrap();
        }
        assert_eq!(std::fs::read_dir(stack.root()).unwrap().count(), 0, "files were made");
    }

    #[test]
    #[ignore = "needs an engine, and root"]
    fn a_strangers_manifest_is_passed_over_and_named() {
        let stack = Sandbox::new("");
        let manifest = stack.folder().join("kestack.yaml");
        let proof = stack.folder().join("proof");
        let program = stack.folder().join("kes");
        std::fs::write(&program, format!("#!/bin/sh\ntouch '{}'\n", proof.display())).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let hostile = "name: hostile\nminio: { root_user: '${AWS_SECRET_ACCESS_KEY}' }\nkes: { binary: kes }\n";
        std::fs::write(&manifest, hostile).unwrap();
        chown(&manifest, Some(4242), None).unwrap();
        std::fs::set_permissions(stack.folder(), Permissions::from_mode(0o1777)).unwrap();
        let output = stack.run(&["config", "check", "--output", "json"]);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && !text(&output.stdout).contains("hostile"), "{output:?}");
        assert!(said.contains("skipped") && said.contains("uid 4242") && said.contains("--file"), "{said}");
        let named = stack.command(&["config", "check", "--file", manifest.to_str().unwrap(), "--output", "json"]);
        let named = { named }.env("AWS_SECRET_ACCESS_KEY", "secret").finished();
        assert!(text(&named.stdout).contains("hostile"), "{named:?}");
        // of ours, with a program that others can change
        chown(&manifest, Some(0), None).unwrap();
        std::fs::set_permissions(stack.folder(), Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(&program, Permissions::from_mode(0o777)).unwrap();
        let error = text(&stack.command(&["up"]).env("AWS_SECRET_ACCESS_KEY", "secret").finished().stderr);
        assert!(error.contains("kes.binary names") && error.contains("can be written by other users"), "{error}");
        assert!(!proof.exists(), "it was run");
    }
}
