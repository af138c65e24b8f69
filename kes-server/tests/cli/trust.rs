//! The CAs that the environment names, in every form that MinIO takes for its own variable.

use std::fs;

use crate::support::{Folder, stderr};

/// The end of `kes ls` with a variable, next to the system's roots in a file.
fn ls(folder: &Folder, variable: &str, path: &str, system: &str) -> (Option<i32>, String) {
    let mut command = folder.command(&["ls"]);
    let output = command.env(variable, folder.path(path)).env("SSL_CERT_FILE", folder.path(system)).output().unwrap();
    (output.status.code(), stderr(&output))
}

#[test]
fn a_ca_is_a_file_or_a_folder_and_for_minio_not_the_only_one() {
    let folder = Folder::new();
    let _server = folder.serve();
    let made = folder.kes(&["identity", "new", "--key", "other.key", "--cert", "other.crt"]);
    assert!(made.status.success());
    for (name, certificates) in [("CAs", &["other.crt", "server.crt"][..]), ("others", &["other.crt"]), ("none", &[])] {
        fs::create_dir_all(folder.path(&format!("{name}/sub"))).unwrap();
        for certificate in certificates {
            fs::copy(folder.path(certificate), folder.path(&format!("{name}/{certificate}"))).unwrap();
        }
    }
    let (ours, minios) = ("KES_CA_PATH", "MINIO_KMS_KES_CAPATH");
    for (variable, path, system, is_trusted) in [
        (ours, "server.crt", "other.crt", true),
        (ours, "CAs", "other.crt", true),
        (ours, "others", "server.crt", false),
        (minios, "server.crt", "other.crt", true),
        (minios, "CAs", "other.crt", true),
        (minios, "others", "server.crt", true),
        (minios, "none", "server.crt", true),
        (minios, "none", "other.crt", false),
        (minios, "nowhere", "server.crt", true),
        (minios, "nowhere", "other.crt", false),
    ] {
        let (code, told) = ls(&folder, variable, path, system);
        assert_eq!(code, Some(i32::from(!is_trusted)), "{variable}={path}, SSL_CERT_FILE={system}: {told}");
        assert!(is_trusted || told.contains("failed to verify certificate"), "{variable}={path}: {told}");
    }
    let (code, told) = ls(&folder, ours, "nowhere", "server.crt");
    assert_eq!(code, Some(1));
    assert!(told.contains("set KES_CA_PATH to a PEM file, or a folder of them"), "{told}");
    let (_, told) = ls(&folder, ours, "none", "server.crt");
    assert!(told.contains("no usable CA certificates"), "{told}");
}
