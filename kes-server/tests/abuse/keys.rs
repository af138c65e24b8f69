//! Password-protected keys of the server (docs/kes-protocol.md §2).

use std::process::Command;

use crate::support::{Folder, read};

/// How OpenSSL writes the key, and the password in the configuration.
const FORMS: [(&[&str], &str); 6] = [
    (&["pkcs8", "-topk8", "-nocrypt"], "ignored"),
    (&["ec", "-aes256", "-passout", "pass:sesame"], "sesame"),
    (&["ec", "-des3", "-passout", "pass:sesame"], "sesame"),
    (&["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:sesame"], "sesame"),
    (&["pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512", "-passout", "pass:sesame"], "sesame"),
    (&["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-scrypt", "-passout", "pass:sesame"], "sesame"),
];

fn openssl(folder: &Folder, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder.dir.path()).output().expect("openssl");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// A folder with a P-256 key and a certificate for it.
fn folder() -> Folder {
    let folder = Folder::new();
    openssl(&folder, &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "plain.key"]);
    let subject = ["-subj", "/CN=kes", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"];
    openssl(&folder, &[&["req", "-x509", "-new", "-key", "plain.key", "-out", "server.crt"][..], &subject].concat());
    folder
}

fn with_password(folder: &Folder, password: &str) {
    let tls = format!("tls:\n  password: {password}\n");
    folder.write("config.yaml", &folder.config("keys").replace("tls:\n", &tls));
}

#[test]
fn keys_with_a_password_are_read() {
    let folder = folder();
    for (form, password) in FORMS {
        openssl(&folder, &[form, &["-in", "plain.key", "-out", "server.key"]].concat());
        with_password(&folder, password);
        let server = folder.serve();
        assert_eq!(server.terminate(), Some(0), "{form:?}");
    }
}

#[test]
fn a_wrong_or_missing_password_is_told() {
    let folder = folder();
    for (form, _) in &FORMS[1..] {
        openssl(&folder, &[*form, &["-in", "plain.key", "-out", "server.key"]].concat());
        for (config, expected) in [("wrong", "x509: decryption password incorrect"), ("''", "password required")] {
            with_password(&folder, config);
            let output = folder.kes(&["server", "--config", "config.yaml"]);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && told.contains(expected), "{form:?}, {config}: {told}");
            assert!(told.contains("failed to read TLS certificate: "), "{told}");
        }
    }
    assert!(read(&folder.dir.path().join("server.key")).contains("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
}
