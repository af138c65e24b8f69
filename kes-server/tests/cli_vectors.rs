//! The command line against recorded runs of the reference (docs/kes-protocol.md §9, §12): same output, same exit code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

mod support;

use std::collections::HashMap;

use serde::Deserialize;
use support::{ADMIN_API_KEY, Folder, stderr, stdout};

/// Where our output differs, and why.
const DIFFERENT: [(&str, &str); 4] = [
    ("--version", "our own version, runtime, licence and copyright; the four labels are the same"),
    ("key encrypt -k cv-4 Hello World", "ciphertexts are random"),
    ("key dek -k cv-4", "keys and ciphertexts are random"),
    ("key dek -k cv-4 Y3R4", "keys and ciphertexts are random"),
];

#[derive(Deserialize)]
struct Vectors {
    identities: Vec<IdentityVector>,
    api_key_errors: Vec<ApiKeyError>,
    cli: Vec<Run>,
    tls_files: HashMap<String, String>,
}

#[derive(Deserialize)]
struct IdentityVector {
    label: String,
    identity: String,
    certificate_pem: String,
    private_key_pem: Option<String>,
}

#[derive(Deserialize)]
struct ApiKeyError {
    api_key: String,
    error: String,
}

#[derive(Deserialize)]
struct Run {
    args: Vec<String>,
    env: HashMap<String, Option<String>>,
    stdout: String,
    stderr: String,
    exit_code: i32,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("data/kes-vectors.json")).unwrap()
}

#[test]
fn commands_answer_as_the_reference_does() {
    let vectors = vectors();
    let folder = Folder::new();
    let admin = vectors.identities.iter().find(|identity| identity.label == "admin").unwrap();
    folder.write("admin.crt", &admin.certificate_pem);
    folder.write("admin.key", admin.private_key_pem.as_deref().unwrap());
    let _server = folder.serve();
    import_chacha20_key(&folder);

    let mut differences = Vec::new();
    for run in &vectors.cli {
        let arguments: Vec<&str> = run.args.iter().map(String::as_str).collect();
        let mut command = folder.command(&arguments);
        for (name, value) in &run.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.output().unwrap();
        let line = run.args.join(" ");
        let actual = (output.status.code().unwrap(), stdout(&output), stderr(&output));
        let expected = (run.exit_code, run.stdout.clone(), run.stderr.clone());
        if shape(&line, &actual, &folder) != shape(&line, &expected, &folder) {
            differences.push(format!("kes {line}\n  expected {expected:?}\n  got      {actual:?}"));
        }
    }
    assert_eq!(vectors.cli.len(), 53);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn the_readme_names_every_exception() {
    for (line, _) in DIFFERENT {
        assert!(include_str!("../README.md").contains(&format!("`{line}`")), "{line}");
    }
}

/// What must be the same: all of it but times, the port, the wording of help, and what `DIFFERENT` lists.
fn shape(line: &str, (code, stdout, stderr): &(i32, String, String), folder: &Folder) -> (i32, String, String) {
    let stdout = without_times(stdout).replace("127.0.0.1:27373", &folder.address);
    let stdout = match DIFFERENT.iter().find(|(different, _)| *different == line) {
        Some(("--version", _)) => stdout.lines().filter_map(|line| line.split(' ').next()).collect(),
        Some(_) => json_shape(&stdout),
        None => stdout,
    };
    let stderr = if *code == 2 { String::from("(usage text)") } else { stderr.clone() };
    (*code, stdout, stderr)
}

/// Field names and lengths, in the order of the text.
fn json_shape(text: &str) -> String {
    text.split('"').map(|part| if part.len() > 12 { format!("<{}>", part.len()) } else { part.to_owned() }).collect()
}

/// Dates and clock times become `#`; nothing else looks like them.
fn without_times(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let length = time_length(rest);
        if length > 0 {
            masked.push('#');
            rest = &rest[length..];
        } else {
            masked.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    masked
}

/// Length of the time that the text begins with, or 0.
fn time_length(text: &str) -> usize {
    let pattern = "0000-00-00?00:00:00";
    let fits = text.len() >= pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            b'?' => byte == b'T' || byte == b' ',
            _ => byte == wanted,
        });
    if !fits {
        return 0;
    }
    let fraction = text[pattern.len()..].bytes().take_while(|byte| byte.is_ascii_digit() || b".Z".contains(byte));
    pattern.len() + fraction.count()
}

/// The recorded server had one; the command line of KES imports AES keys only.
fn import_chacha20_key(folder: &Folder) {
    use kes_server::{
        auth::ApiKey,
        client::{Client, Credentials, Timeouts, Trust},
    };

    let api_key: ApiKey = ADMIN_API_KEY.parse().unwrap();
    let credentials = Credentials::new(vec![api_key.certificate().unwrap()], api_key.private_key());
    let client = Client::new(&[&folder.address], credentials, &Trust::Insecure, Timeouts::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(client.import_key("imp-cha", &[7; 32], "ChaCha20")).unwrap();
}

#[test]
fn identities_of_all_kinds_of_certificates() {
    let folder = Folder::new();
    for identity in vectors().identities {
        folder.write("a.crt", &identity.certificate_pem);
        assert_eq!(stdout(&folder.kes(&["identity", "of", "a.crt"])), identity.identity, "{}", identity.label);
        assert_eq!(stdout(&folder.kes(&["identity", "a.crt"])), identity.identity, "{}", identity.label);
    }
}

#[test]
fn bad_api_keys_are_refused_with_the_words_of_the_reference() {
    let folder = Folder::new();
    for ApiKeyError { api_key, error } in vectors().api_key_errors {
        let output = folder.kes(&["identity", "of", &api_key]);
        assert_eq!((stderr(&output).trim_end(), output.status.code()), (error.as_str(), Some(1)), "{api_key}");
    }
}

#[test]
fn recorded_encrypted_keys_are_read() {
    use kes_server::crypto::encrypted_pem::{EncryptedPemError, decrypt, is_encrypted};

    let files = vectors().tls_files;
    let (plain, encrypted) = (pem::parse(&files["srv.key"]).unwrap(), pem::parse(&files["enc.key"]).unwrap());
    assert!(is_encrypted(&encrypted) && !is_encrypted(&plain));
    assert_eq!(decrypt(&encrypted, "secret").unwrap().as_slice(), plain.contents());
    assert_eq!(decrypt(&encrypted, "guess"), Err(EncryptedPemError::Password));
}
