//! With `minio: { tls: true }` every export for one machine gives MinIO its certificate.

use crate::exported::{Exported, manifest};

/// Exports a stack whose S3 speaks TLS.
fn exported(target: &str) -> Exported {
    let folder = manifest("fs", "");
    let path = folder.path().join("kestack.yaml");
    let text = std::fs::read_to_string(&path).unwrap().replace("minio: { ", "minio: { tls: true, ");
    std::fs::write(path, text).unwrap();
    Exported::of(folder, &[target])
}

#[test]
fn minio_gets_its_certificate() {
    for (target, file, certificates) in [
        ("compose", "compose.yaml", "/certs/s3"),
        ("kube", "pod.yaml", "/certs/s3"),
        ("quadlet", "stack-minio-server.container", "/certs/s3"),
        ("systemd", "minio.service", "${CREDENTIALS_DIRECTORY}"),
    ] {
        let exported = exported(target);
        let text = exported.file(file);
        assert!(text.contains("--certs-dir") && text.contains(certificates), "{target}: {text}");
        for name in ["public.crt", "private.key"] {
            assert!(text.contains(name), "{target}: {text}");
            assert!(!exported.file(&format!("stack/certs/s3/{name}")).is_empty());
        }
        assert_eq!(exported.mode("stack/certs/s3/private.key"), 0o600);
    }
    let install = exported("systemd");
    assert!(
        install
            .file("install")
            .contains("install -m 600 \"$stack/certs/s3/private.key\" \"$root/etc/minio/private.key\"")
    );
}

#[test]
fn without_tls_there_is_none() {
    for target in ["compose", "systemd"] {
        let exported = Exported::new("fs", &[target]);
        let file = if target == "compose" { "compose.yaml" } else { "minio.service" };
        assert!(!exported.file(file).contains("certs-dir") && !exported.out().join("stack/certs/s3").exists());
    }
}
