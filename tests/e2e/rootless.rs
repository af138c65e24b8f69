//! What a user who is not root must have: files of their own, a service of their own, and no promise that the kernel
//! does not keep. Run with `tests/as-user`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process_group};

use crate::bounded::{Bounded as _, ended};
use crate::engine::cli;
use crate::sandbox::{Sandbox, text};

/// Everything in a folder, at any depth.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if fs::symlink_metadata(&entry).unwrap().is_dir() {
            found.extend(tree(&entry));
        } else {
            found.push(entry);
        }
    }
    found
}

fn status_of(server: &str) -> String {
    let pid = cli(&["inspect", "--format", "{{.State.Pid}}", server]);
    fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap()
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim()
}

#[test]
#[ignore = "needs rootless Podman"]
fn every_file_is_the_users_and_can_be_removed_without_podman() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.put("/encrypted/object", &vec![7; 2_000_000]);
    stack.ok(&["key", "create", "another"]);
    stack.ok(&["verify"]);
    let files = tree(&stack.root());
    assert!(files.iter().any(|file| file.ends_with("keys/another")) && files.len() > 30, "{files:#?}");
    for file in &files {
        let meta = fs::symlink_metadata(file).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (geteuid().as_raw(), geteuid().as_raw()), "{}", file.display());
    }
    for key in ["minio-backend-key", "another"] {
        let mode = fs::metadata(stack.root().join("keys").join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    stack.ok(&["down"]);
    fs::remove_dir_all(stack.root()).unwrap();
}

#[test]
#[ignore = "needs rootless Podman"]
fn servers_are_the_users_processes_without_any_capability() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    for server in ["kes-server", "minio-server"] {
        let status = status_of(&format!("{}-{server}", stack.name));
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(&status, set), "0000000000000000", "{server} {set}");
        }
        assert_eq!(field(&status, "NoNewPrivs:"), "1");
        assert_eq!(field(&status, "Uid:").split_whitespace().next(), Some(geteuid().as_raw().to_string().as_str()));
    }
}

/// `status` and `doctor` say what the kernel says, and KES says the same.
#[test]
#[ignore = "needs rootless Podman"]
fn what_is_locked_is_said_and_nothing_more() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let proc_status = status_of(&format!("{}-kes-server", stack.name));
    let locked: u64 = field(&proc_status, "VmLck:").trim_end_matches(" kB").parse().unwrap();
    assert!(locked > 0, "{proc_status}");
    let status = stack.json(&["status"]);
    assert_eq!(status["kes_locked_kib"], locked);
    assert!(status["engine"].as_str().unwrap().ends_with(", rootless"), "{status}");
    assert!(stack.ok(&["status"]).contains(&format!("KES has locked {locked} KiB")));
    let doctor = stack.json(&["doctor"]);
    let memory = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["what"] == "memory").unwrap();
    assert_eq!(memory["state"], "good", "{doctor}");
    let said = stack.ok(&["logs", "kes"]);
    assert!(said.contains("MLock       secrets only ("), "{said}");
}

#[test]
#[ignore = "needs rootless Podman"]
fn the_users_socket_is_found_before_a_service_is_started() {
    let folder = PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").unwrap()).join("podman");
    fs::create_dir_all(&folder).unwrap();
    let socket = folder.join("podman.sock");
    let mut service = Command::new("podman");
    service.args(["system", "service", "--time", "0"]).arg(format!("unix://{}", socket.display()));
    service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut service, 0);
    let mut service = service.spawn().unwrap();
    let start = Instant::now();
    while std::os::unix::net::UnixStream::connect(&socket).is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "podman system service does not open its socket");
        std::thread::sleep(Duration::from_millis(20));
    }
    let stack = Sandbox::new("");
    let found = text(&stack.run(&["doctor"]).stdout);
    let up = stack.json(&["up"]);
    // rootless Podman serves in a second process of the group
    kill_process_group(Pid::from_child(&service), Signal::TERM).unwrap();
    ended(&mut service);
    assert!(found.contains(&format!("rootless at unix://{}", socket.display())), "{found}");
    assert!(up["changed"].as_u64().unwrap() > 0, "{up}");
    // its containers live on, and are found by a service of kestack's own
    assert_eq!(stack.json(&["up"])["changed"], 0);
    fs::remove_file(&socket).unwrap_or_default();
}

#[test]
#[ignore = "needs rootless Podman"]
fn a_port_below_1024_is_refused_before_anything_is_made() {
    let stack = Sandbox::new("minio: { port: 443, console_port: 0 }\n");
    let error = stack.fails(&["up"], 6);
    assert!(error.contains("port 127.0.0.1:443 for S3") && error.contains("only ports from 1024 on"), "{error}");
    assert!(!stack.base().exists());
}

/// Without `--dir` the folder is in the home, and only its owner may look into what is secret.
#[test]
#[ignore = "needs rootless Podman"]
fn the_stack_lives_in_the_home() {
    let stack = Sandbox::new("");
    let home = |arguments: &[&str]| {
        let output = stack.command(arguments).env_remove("KESTACK_DIR").finished();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    };
    home(&["up"]);
    let folder = PathBuf::from(std::env::var_os("HOME").unwrap()).join(".local/share/kestack").join(&stack.name);
    for secret in ["certs", "config", "keys", "minio"] {
        assert_eq!(fs::metadata(folder.join(secret)).unwrap().permissions().mode() & 0o777, 0o700, "{secret}");
    }
    home(&["verify"]);
    home(&["down", "--data"]);
    assert!(!folder.exists());
}
