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
    assert!(error.contains("Podman 4.3 has no quadlet: use `kestack export kube`"), "{error}");
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
    // with --force it is written next to what is there, and written again it is the same
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

/// The error of an export from a kestack.yaml in which something is replaced.
fn refused_with(from: &str, to: &str, arguments: &[&str]) -> String {
    let folder = manifest("fs", "");
    let path = folder.path().join("kestack.yaml");
    let changed = std::fs::read_to_string(&path).unwrap().replace(from, to);
    assert!(changed.contains(to));
    std::fs::write(&path, changed).unwrap();
    let output = export(folder.path(), arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    assert!(!folder.path().join("out").exists(), "something was written");
    text(&output.stderr)
}

#[test]
fn paths_that_lead_nowhere_on_the_other_machine() {
    for target in ["compose", "kube", "quadlet", "systemd"] {
        for at in ["srv/stack", "~/stack"] {
            let error = refusal("fs", "", &[target, "-d", "out", "--at", at]);
            assert!(error.contains(&format!("--at '{at}' is not an absolute path")), "{error}");
        }
    }
    let error = refusal("fs", "", &["quadlet", "-d", "out", "--at", "/srv/a:b"]);
    assert!(error.contains("/srv/a:b/") && error.contains("has a colon"), "{error}");
    let error = refused_with("{ fs: {} }", "{ fs: { path: '/srv/k:y' } }", &["quadlet", "-d", "out"]);
    assert!(error.contains("cannot mount '/srv/k:y'"), "{error}");
}

#[test]
fn keys_that_a_unit_does_not_see() {
    for keys in ["/home/me/keys", "/root/keys", "/run/user/1000/keys", "/tmp/keys", "/var/tmp/keys", "./keys"] {
        let keystore = format!("{{ fs: {{ path: {keys} }} }}");
        let error = refused_with("{ fs: {} }", &keystore, &["systemd", "-d", "out"]);
        assert!(error.contains("KES's unit sees nothing below") && error.contains("/var/lib/kes"), "{error}");
    }
}

#[test]
fn master_keys_that_no_container_has() {
    for master in ["masterKeyCommand: [cat, /master]", "masterKeyCredential: kes-master-key"] {
        let keystore = format!("{{ fs: {{ path: /srv/keys, encryption: {{ {master} }} }} }}");
        for target in ["compose", "kube", "quadlet"] {
            let error = refused_with("{ fs: {} }", &keystore, &[target, "-d", "out"]);
            assert!(error.contains("KES runs in a container") && error.contains("export systemd"), "{error}");
        }
    }
}

#[test]
fn keys_in_clear_for_which_a_master_key_is_named() {
    let live = tempfile::tempdir().unwrap();
    std::fs::write(live.path().join("stack-key"), "{}").unwrap();
    let (folder, master) = (live.path().display(), "encryption: { masterKeyPath: '${KEY}' }");
    let keystore = format!("{{ fs: {{ path: '{folder}', {master} }} }}");
    for target in ["compose", "systemd"] {
        let error = refused_with("{ fs: {} }", &keystore, &[target, "-d", "out"]);
        assert!(error.contains("holds keys in clear") && error.contains("kes seal"), "{error}");
    }
}

#[test]
fn certificates_survive_a_second_export() {
    for target in ["kube", "systemd"] {
        let folder = manifest("fs", "");
        let read = || std::fs::read_to_string(folder.path().join("out/stack/certs/kes-server.cert")).unwrap();
        assert!(export(folder.path(), &[target, "-d", "out"]).status.success());
        let first = read();
        assert!(export(folder.path(), &[target, "-d", "out", "--force"]).status.success());
        assert_eq!(first, read(), "{target}");
    }
}

#[test]
fn what_cannot_work_in_a_cluster() {
    for (keystore, more, arguments, reason) in [
        ("fs", "", &["tenant"][..], "the fs keystore cannot serve a cluster"),
        ("fs", "", &["kubernetes"], "`kes migrate` brings the keys over"),
        ("aws-role", "", &["tenant"], "give --workload-identity ROLE-ARN"),
        ("azure-workload", "", &["kubernetes"], "give --workload-identity CLIENT-ID"),
        ("gcp-workload", "", &["tenant"], "give --workload-identity SERVICE-ACCOUNT-EMAIL"),
        ("aws-static", "", &["tenant", "--workload-identity", "arn:x"], "one of them would not be used"),
        (
            "aws-static",
            "",
            &["kubernetes", "--certificates", "cluster"],
            "only MinIO's Operator asks the cluster for certificates",
        ),
        ("aws-static", "", &["tenant", "--certificates", "cert-manager"], "cert-manager needs an issuer"),
        ("aws-static", "", &["tenant", "--issuer", "ca"], "--issuer is for --certificates cert-manager only"),
        ("aws-static", "", &["tenant", "--servers", "2", "--volumes", "1"], "2 servers of 1 volumes"),
        ("aws-static", "", &["kubernetes", "--servers", "3", "--volumes", "1"], "at least 4 drives, and these are 3"),
        ("aws-static", "", &["tenant", "--servers", "1", "--volumes", "3"], "at least 4 drives, or a single one"),
        ("aws-static", "", &["tenant", "--kes-replicas", "0"], "0 of KES cannot work"),
        ("aws-static", "", &["tenant", "--kes-replicas", "0"], "give --kes-replicas 1 or more"),
        ("aws-static", "", &["tenant", "--namespace", "Up"], "--namespace 'Up' cannot name things"),
        ("aws-static", "", &["tenant", "--kes-image", "localhost/kestack/kes:1"], "image of KES that it can pull"),
        ("aws-static", "", &["tenant", "--storage", "big"], "'big' is not a valid size"),
        (
            "aws-static",
            "",
            &["tenant", "--certificates", "own", "--helm-values", "-d", "out"],
            "cannot express externalClient",
        ),
    ] {
        let error = refusal(keystore, more, arguments);
        assert!(error.contains(reason), "{arguments:?}: {error}");
    }
}

#[test]
fn an_endpoint_without_tls_in_a_cluster() {
    let folder = manifest("aws-static", "");
    let path = folder.path().join("kestack.yaml");
    let plain = std::fs::read_to_string(&path).unwrap().replace("endpoint: secrets", "endpoint: http://secrets");
    std::fs::write(&path, plain).unwrap();
    let output = export(folder.path(), &["tenant"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("has no TLS: keys would cross the network unencrypted"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn values_that_config_env_cannot_carry() {
    for (password, carried) in
        [("p4ssword\\\"", false), ("\\\"p4ssword", false), ("p4ss\\\"word", true), ("p4ss word", true)]
    {
        let folder = manifest("aws-static", "");
        let path = folder.path().join("kestack.yaml");
        let text_of = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text_of.replace("s3cret-root", &format!("\"{password}\""))).unwrap();
        let output = export(folder.path(), &["tenant"]);
        assert_eq!(output.status.success(), carried, "{password}: {}", text(&output.stderr));
        assert!(carried || text(&output.stderr).contains("cannot carry the value of MINIO_ROOT_PASSWORD"));
        assert!(!text(&output.stderr).contains("p4ss"), "the error shows the password");
    }
}
