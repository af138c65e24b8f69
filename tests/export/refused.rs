//! What cannot work is refused before anything is written.

use crate::exported::{export, manifest, text};

/// Exports, which must fail with code 2 and write nothing; returns the error.
pub(crate) fn refusal(keystore: &str, more: &str, arguments: &[&str]) -> String {
    let folder = manifest(keystore, more);
    let output = export(folder.path(), arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    assert!(!folder.path().join("out").exists(), "something was written");
    assert!(output.stdout.is_empty(), "something was printed");
    text(&output.stderr)
}

#[test]
fn ports_must_be_fixed() {
    let folder = manifest("fs", "");
    std::fs::write(folder.path().join("kestack.yaml"), "kes: { port: 0, image: x:y }\n").unwrap();
    let output = export(folder.path(), &["compose", "-d", "out"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("kes.port is 0"), "{}", text(&output.stderr));
    assert!(!folder.path().join("out").exists());
}

#[test]
fn a_podman_without_quadlet() {
    let error = refusal("fs", "", &["quadlet", "--podman", "4.3.1", "-d", "out"]);
    assert!(error.contains("Podman 4.3 has no quadlet: take `kestack export kube`"), "{error}");
}

#[test]
fn a_token_that_only_pods_have() {
    for target in ["compose", "kube", "quadlet", "systemd"] {
        let error = refusal("vault-kubernetes", "", &[target, "-d", "out"]);
        assert!(error.contains("only a pod of a cluster has") && error.contains("approle"), "{error}");
    }
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let folder = manifest("fs", "");
    let out = folder.path().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("mine"), "precious").unwrap();
    let output = export(folder.path(), &["compose", "-d", "out"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("give --force"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);
    // with --force it is written beside what is there, and written again it is the same
    for _ in 0..2 {
        let output = export(folder.path(), &["compose", "-d", "out", "--force"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    assert_eq!(std::fs::read_to_string(out.join("mine")).unwrap(), "precious");
}

#[test]
fn paths_that_a_unit_file_cannot_carry() {
    let folder = manifest("fs", "");
    let output = export(folder.path(), &["quadlet", "-d", "out", "--at", "/srv/my stack"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("a unit file cannot carry '/srv/my stack"), "{}", text(&output.stderr));
    assert!(!folder.path().join("out").exists());
}

#[test]
fn certificates_survive_a_second_export() {
    let folder = manifest("fs", "");
    let read = || std::fs::read_to_string(folder.path().join("out/stack/certs/kes-server.cert")).unwrap();
    assert!(export(folder.path(), &["kube", "-d", "out"]).status.success());
    let first = read();
    assert!(export(folder.path(), &["kube", "-d", "out", "--force"]).status.success());
    assert_eq!(first, read());
}
