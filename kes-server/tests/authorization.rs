//! Who may call what: every endpoint with every kind of caller. The table in README.md is what this test saw.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

mod support;

use std::fmt::Write as _;
use std::process::Command;

use support::{Folder, stdout};

/// Method, path and body of one call per endpoint. Those that make or remove come in an order that works.
const CALLS: [(&str, &str, &str); 22] = [
    ("GET", "/version", ""),
    ("GET", "/v1/ready", ""),
    ("GET", "/v1/status", ""),
    ("GET", "/v1/metrics", ""),
    ("GET", "/v1/api", ""),
    ("PUT", "/v1/key/create/made", ""),
    ("PUT", "/v1/key/import/taken", r#"{"key":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","cipher":"AES256"}"#),
    ("GET", "/v1/key/describe/there", ""),
    ("GET", "/v1/key/list/", ""),
    ("PUT", "/v1/key/generate/there", "{}"),
    ("PUT", "/v1/key/encrypt/there", r#"{"plaintext":"aGVsbG8="}"#),
    ("PUT", "/v1/key/decrypt/there", r#"{"ciphertext":"aGVsbG8="}"#),
    ("PUT", "/v1/key/hmac/there", r#"{"message":"aGVsbG8="}"#),
    ("DELETE", "/v1/key/delete/gone", ""),
    ("GET", "/v1/policy/describe/all", ""),
    ("GET", "/v1/policy/read/all", ""),
    ("GET", "/v1/policy/list/", ""),
    ("GET", "/v1/identity/describe/IDENTITY", ""),
    ("GET", "/v1/identity/list/", ""),
    ("GET", "/v1/identity/self/describe", ""),
    ("GET", "/v1/log/error", ""),
    ("GET", "/v1/log/audit", ""),
];

/// Who calls, in the order of the table's columns.
const CALLERS: [&str; 6] = ["none", "unknown", "other", "denied", "allowed", "admin"];

/// A server that also listens to clients without certificate; `admin` is the identity of the admin.
fn serve(admin: &str) -> (Folder, support::Server, Vec<String>) {
    let folder = Folder::new();
    let identities: Vec<_> = CALLERS
        .iter()
        .map(|name| {
            let (key, cert) = (format!("{name}.key"), format!("{name}.crt"));
            assert!(folder.kes(&["identity", "new", "--key", &key, "--cert", &cert]).status.success());
            stdout(&folder.kes(&["identity", "of", &cert]))
        })
        .collect();
    let admin = if admin.is_empty() { &identities[5] } else { admin };
    folder.write(
        "config.yaml",
        &format!(
            "address: {}\nadmin: {{ identity: {admin} }}\ntls: {{ key: server.key, cert: server.crt }}\n\
             policy:\n  none-of-it: {{ allow: [/v1/other/*], identities: [{}] }}\n  \
             denied: {{ allow: ['*'], deny: ['/v1/*'], identities: [{}] }}\n  \
             all: {{ allow: ['/v1/*'], identities: [{}] }}\n\
             # without it the handshake already ends for clients that have no certificate\n\
             api: {{ /nothing: {{ skip_auth: true }} }}\nkeys: [{{ name: there }}, {{ name: gone }}]\nkeystore: {{ fs: {{ path: keys }} }}\n",
            folder.address, identities[2], identities[3], identities[4],
        ),
    );
    let server = folder.serve();
    (folder, server, identities)
}

/// The status of a call. Logs are followed for a moment only.
fn status(folder: &Folder, caller: &str, identity: &str, (method, path, body): (&str, &str, &str)) -> String {
    let mut curl = Command::new("curl");
    curl.current_dir(folder.dir.path()).args(["-sk", "-o", "/dev/null", "-w", "%{http_code}", "-X", method]);
    curl.args(["--max-time", if path.starts_with("/v1/log") { "0.3" } else { "20" }]);
    if caller != "none" {
        curl.args(["--cert", &format!("{caller}.crt"), "--key", &format!("{caller}.key")]);
    }
    if !body.is_empty() {
        curl.args(["-H", "Content-Type: application/json", "--data", body]);
    }
    let url = format!("https://{}{}", folder.address, path.replace("IDENTITY", identity));
    String::from_utf8(curl.arg(url).output().unwrap().stdout).unwrap()
}

#[test]
fn every_endpoint_answers_every_caller_as_the_readme_says() {
    let (folder, _server, identities) = serve("");
    let (closed, _other, _) = serve("disabled");
    let mut table = String::from(
        "| endpoint | no certificate | unknown identity | policy without it | deny rule | policy with it | disabled admin | admin |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for call in CALLS {
        let mut row = format!("| `{} {}` |", call.0, call.1.replace("IDENTITY", "<identity>"));
        for caller in CALLERS {
            if caller == "admin" {
                write!(row, " {} |", status(&closed, caller, &identities[4], call)).unwrap();
                // the policy's caller was here before
                folder.kes(&["identity"]);
                let _ = std::fs::remove_file(folder.path("keys/made"));
                let _ = std::fs::remove_file(folder.path("keys/taken"));
                std::fs::copy(folder.path("keys/there"), folder.path("keys/gone")).unwrap();
            }
            write!(row, " {} |", status(&folder, caller, &identities[4], call)).unwrap();
        }
        table.push_str(&row);
        table.push('\n');
    }
    let readme = include_str!("../README.md");
    assert!(readme.contains(&table), "README.md lacks this table:\n{table}");
}
