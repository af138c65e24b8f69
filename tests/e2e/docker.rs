//! What can die only under Docker: the container that holds the network, a container's shim. Its daemon's death is in
//! `faults/daemon.rs`.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::bounded::Bounded as _;
use crate::engine::{cli, kill};
use crate::faults::{assert_mended, precious, until};
use crate::sandbox::{Sandbox, binary, text};

#[test]
#[ignore = "needs Docker"]
fn labels_that_an_image_chose_have_nothing_removed() {
    let stack = precious();
    let project = stack.folder().join("project");
    for folder in ["config", "certs", "keys", "minio"] {
        std::fs::create_dir_all(project.join(folder)).unwrap();
        std::fs::write(project.join(folder).join("mine"), "").unwrap();
    }
    let image = cli(&["inspect", "--format", "{{.Config.Image}}", &format!("{}-infra", stack.name)]);
    let victim = stack.root();
    for (pod, folder) in [("project", &project), (stack.name.as_str(), &victim)] {
        for container in [format!("shop-{pod}"), "project-infra".to_owned()] {
            let labels = [
                format!("io.kestack.stack={pod}"),
                format!("io.kestack.pod={pod}"),
                "io.kestack.role=infra".to_owned(),
                "io.kestack.expires=2020-01-01T00:00:00Z".to_owned(),
                format!("io.kestack.folder={}", folder.display()),
            ];
            let labels = labels.iter().flat_map(|label| ["--label", label.as_str()]);
            let arguments: Vec<_> =
                ["create", "--name", &container].into_iter().chain(labels).chain([image.trim()]).collect();
            cli(&arguments);
            assert_eq!(stack.json(&["gc"])["stacks"], serde_json::json!([]), "{container}");
            cli(&["rm", &container]);
        }
    }
    assert!(["config", "certs", "keys", "minio"].iter().all(|folder| project.join(folder).join("mine").exists()));
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
}

#[test]
#[ignore = "needs Docker"]
fn a_killed_shim_is_mended_by_up() {
    let stack = precious();
    for member in ["kes-server", "minio-server", "infra"] {
        let container = format!("{}-{member}", stack.name);
        let pid = cli(&["inspect", "--format", "{{.State.Pid}}", &container]);
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap();
        let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
        let name = std::fs::read_to_string(format!("/proc/{shim}/comm")).unwrap();
        assert!(name.starts_with("containerd-shim"), "{name}");
        kill(&[shim]);
        // the server lives on until containerd notices
        until("the container ends", || {
            cli(&["inspect", "--format", "{{.State.Running}}", &container]).trim() == "false"
        });
        assert_mended(&stack);
    }
}

#[test]
#[ignore = "needs Docker"]
fn a_killed_or_restarted_infra_is_mended_by_up() {
    let stack = precious();
    let infra = format!("{}-infra", stack.name);
    for arguments in [vec!["kill", &infra], vec!["restart", &infra], vec!["rm", "--force", &infra]] {
        cli(&arguments);
        assert_mended(&stack);
    }
}

/// A user who is not root but may use Docker: the servers run as that user, and all files stay the user's.
#[test]
#[ignore = "needs Docker"]
fn a_user_who_may_use_docker_owns_all_of_the_stack() {
    let socket = std::env::var("DOCKER_HOST").unwrap().replace("unix://", "");
    let (uid, group) = (23_456, std::fs::metadata(&socket).unwrap().gid());
    let stack = Sandbox::new("");
    chown(stack.folder(), Some(uid), Some(group)).unwrap();
    // the programs may lie where this user cannot go
    let programs = tempfile::tempdir().unwrap();
    std::fs::set_permissions(programs.path(), Permissions::from_mode(0o755)).unwrap();
    let minio = std::env::var("MINIO_BINARY").unwrap().into();
    for program in [binary(), binary().with_file_name("kes"), minio] {
        std::fs::copy(&program, programs.path().join(program.file_name().unwrap())).unwrap();
    }
    let run = |arguments: &[&str]| {
        let usual = stack.command(arguments);
        let mut command = Command::new(programs.path().join("kestack"));
        command.args(arguments).current_dir(stack.folder()).envs(usual.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command.env("MINIO_BINARY", programs.path().join("minio")).env("HOME", stack.folder()).uid(uid).gid(group);
        let output = command.stdin(Stdio::null()).finished();
        assert!(output.status.success(), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    };
    run(&["up"]);
    run(&["verify"]);
    for server in ["kes-server", "minio-server"] {
        let pid = cli(&["inspect", "--format", "{{.State.Pid}}", &format!("{}-{server}", stack.name)]);
        assert_eq!(std::fs::metadata(format!("/proc/{}", pid.trim())).unwrap().uid(), uid);
    }
    let stored = stack.root().join("keys/minio-backend-key");
    assert_eq!(std::fs::metadata(stored).unwrap().uid(), uid);
    run(&["down", "--data"]);
    assert!(!stack.root().exists());
}

/// As where the socket of a host's Docker is mounted into a container: another process space, and other files.
#[test]
#[ignore = "needs Docker"]
fn a_docker_outside_must_see_the_folder_and_makes_none() {
    let stack = Sandbox::new("");
    std::fs::create_dir(stack.base()).unwrap();
    let inside = |files: &str, arguments: &[&str]| {
        let usual = stack.command(arguments);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c"]);
        command.arg(format!("{files} exec \"$@\"")).arg(stack.base()).arg(usual.get_program()).args(arguments);
        command.current_dir(stack.folder()).envs(usual.get_envs().filter_map(|(k, v)| Some((k, v?))));
        command.stdin(Stdio::null()).finished()
    };
    let output = inside("mount -t tmpfs tmpfs \"$0\" &&", &["up"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{error}");
    assert!(error.contains("does not see") && error.contains("--dir or KESTACK_DIR"), "{error}");
    assert!(stack.base().read_dir().unwrap().next().is_none(), "Docker made folders");
    assert!(!cli(&["ps", "--all"]).contains("kestack-probe"));
    let output = inside("", &["up"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // its processes have other numbers here
    let output = inside("", &["chaos", "keystore-full", "--for", "1s"]);
    assert!(!output.status.success(), "{}", text(&output.stdout));
    stack.put("/encrypted/kept", b"precious");
    stack.ok(&["verify"]);
}
