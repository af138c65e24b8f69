//! Secrets stand in 0600 files and nowhere else.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::engine::{Kind, cli, kind};
use crate::sandbox::{Sandbox, text};

/// The secrets of a stack: MinIO's credentials, every private key's lines, the EK's stored form.
fn secrets(stack: &Sandbox) -> Vec<String> {
    let mut all = vec![stack.variable("AWS_SECRET_ACCESS_KEY"), stack.variable("AWS_ACCESS_KEY_ID")];
    for key in ["ca", "kes-server", "minio-kes", "admin"] {
        let pem = std::fs::read_to_string(stack.root().join(format!("certs/{key}.key"))).unwrap();
        all.extend(pem.lines().filter(|line| !line.starts_with('-') && line.len() > 30).map(str::to_owned));
    }
    let stored = std::fs::read_to_string(stack.root().join("keys/minio-backend-key")).unwrap();
    all.push(stored.trim().to_owned());
    all.push(std::fs::read_to_string(stack.root().join("config/digest.key")).unwrap());
    assert!(all.len() >= 8 && all.iter().all(|secret| secret.len() >= 16), "{}", all.len());
    all
}

/// What the container engine shows of pod, containers and images; nothing where there are none.
fn inspected(stack: &Sandbox) -> Vec<(&'static str, String)> {
    if kind() == Kind::Process {
        return vec![];
    }
    let mut seen = Vec::new();
    if kind() == Kind::Podman {
        seen.push(("pod inspect", cli(&["pod", "inspect", &stack.name])));
    }
    for container in cli(&["ps", "-a", "--format", "{{.Names}}"]).lines().filter(|name| name.contains(&stack.name)) {
        seen.push(("inspect", cli(&["inspect", container])));
    }
    for image in cli(&["images", "--format", "{{.ID}}"]).lines() {
        seen.push(("image inspect", cli(&["image", "inspect", image])));
    }
    seen
}

#[test]
#[ignore = "needs an engine"]
fn no_secret_leaves_its_file() {
    let stack = Sandbox::new("");
    let up = stack.run(&["up", "-vv"]);
    assert!(up.status.success());
    let verify = stack.run(&["verify", "-vv"]);
    let mut seen = vec![
        ("up", text(&up.stdout) + &text(&up.stderr)),
        ("verify", text(&verify.stdout) + &text(&verify.stderr)),
        ("plan", stack.ok(&["plan", "--all", "--output", "json"])),
        ("status", stack.ok(&["status", "--output", "json"])),
        ("logs", stack.ok(&["logs"])),
    ];
    seen.extend(inspected(&stack));
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            // kestack's own file-borne settings may be in MinIO's memory, never in what the kernel shows of it
            seen.push((file, text(&std::fs::read(process.path().join(file)).unwrap_or_default())));
        }
    }
    for secret in secrets(&stack) {
        for (place, text) in &seen {
            assert!(!text.contains(&secret), "a secret stands in {place}");
        }
    }
}

#[test]
#[ignore = "needs an engine"]
fn secret_files_are_readable_by_their_owner_only() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let mut private = 0;
    for folder in ["certs", "config", "keys"] {
        let folder = stack.root().join(folder);
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let public = entry.path().extension().is_some_and(|extension| extension == "cert");
            if !public {
                private += 1;
                assert_eq!(mode(&entry.path()), 0o600, "{}", entry.path().display());
            }
        }
    }
    assert!(private >= 8, "{private}");
    assert_eq!(
        std::fs::metadata(stack.root().join("certs/admin.key")).unwrap().uid(),
        rustix::process::geteuid().as_raw()
    );
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
