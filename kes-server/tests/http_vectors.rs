//! Every exchange that was recorded with MinIO KES, sent to ours by curl: status, headers and body to the byte,
//! but for what is random, a time, or listed in [`DIFFERENT`].
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

mod support;

use std::collections::BTreeMap;
use std::process::Command;

use rcgen::{CertificateParams, IsCa, KeyPair};
use serde_json::Value;
use support::{ADMIN, Folder};

/// Where ours differs on purpose: label of the vector, what it answers, why.
const DIFFERENT: [(&str, &str, &str); 4] = [
    ("missing trailing slash", "200", "the listing is answered instead of a redirect to it"),
    ("list prefix with star", "200", "Q2: one trailing star means the prefix"),
    ("hmac", "200", "the HMAC key of an imported key is random"),
    ("api list", "200", "the order is random in MinIO KES"),
];

/// Headers that are compared; a length only where the body is.
const HEADERS: [&str; 5] = ["content-type", "content-length", "location", "accept", "x-content-type-options"];

fn vectors() -> Value {
    serde_json::from_str(include_str!("data/kes-vectors.json")).unwrap()
}

/// A folder with MinIO KES's keys, policies and the clients' certificates.
fn folder(all: &Value) -> Folder {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("keys")).unwrap();
    for file in all["key_files"].as_array().unwrap() {
        folder.write(&format!("keys/{}", file["name"].as_str().unwrap()), file["content"].as_str().unwrap());
    }
    folder.write("keys/legacy-nohmac", r#"{"bytes":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}"#);
    folder.write("keys/corrupt", "not a key");
    let mut pems = BTreeMap::new();
    for identity in all["identities"].as_array().unwrap() {
        let label = identity["label"].as_str().unwrap();
        let pem = |field: &str| identity[field].as_str().unwrap_or_default().to_owned();
        pems.insert(label, pem("certificate_pem"));
        folder.write(&format!("{label}.crt"), &pem("certificate_pem"));
        folder.write(&format!("{label}.key"), &pem("private_key_pem"));
    }
    let admin_key = std::fs::read_to_string(folder.path("admin.key")).unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = ca.self_signed(&KeyPair::from_pem(&admin_key).unwrap()).unwrap().pem();
    let chains = [
        ("adm-isca", ca),
        ("two", pems["admin"].clone() + &pems["app"]),
        ("chain", pems["admin"].clone() + &pems["testca"]),
    ];
    for (label, chain) in chains {
        folder.write(&format!("{label}.crt"), &chain);
        folder.write(&format!("{label}.key"), &admin_key);
    }
    folder.write("config.yaml", &config(all, &folder));
    folder
}

fn config(all: &Value, folder: &Folder) -> String {
    let identity = |label: &Value| {
        let known = all["identities"].as_array().unwrap();
        known.iter().find(|identity| identity["label"] == *label).unwrap()["identity"].clone()
    };
    let mut policies = all["policy_config"].clone();
    for policy in policies.as_object_mut().unwrap().values_mut() {
        for holder in policy["identities"].as_array_mut().unwrap() {
            *holder = identity(holder);
        }
    }
    format!(
        "address: {}\nadmin: {{ identity: {ADMIN} }}\ntls: {{ key: server.key, cert: server.crt }}\npolicy: {policies}\n\
         api: {{ /v1/ready: {{ skip_auth: true }} }}\nkeys: [{{ name: predefined-1 }}]\nkeystore: {{ fs: {{ path: keys }} }}\n",
        folder.address
    )
}

struct Answer {
    status: String,
    headers: BTreeMap<String, String>,
    body: String,
}

fn ask(folder: &Folder, vector: &Value) -> Answer {
    let mut curl = Command::new("curl");
    curl.current_dir(folder.dir.path()).args(["-sSik", "--http1.1", "--path-as-is", "--globoff", "--max-time", "20"]);
    if let Some(client) = vector["client"].as_str() {
        curl.args(["--cert", &format!("{client}.crt"), "--key", &format!("{client}.key")]);
    }
    match vector["method"].as_str().unwrap() {
        "HEAD" => curl.arg("--head"),
        method => curl.args(["-X", method]),
    };
    if let Some(body) = body_of(vector) {
        folder.write("body", &body);
        curl.args(["-H", "Content-Type: application/json", "-H", "Expect:", "--data-binary", "@body"]);
    }
    let output = curl.arg(format!("https://{}{}", folder.address, vector["path"].as_str().unwrap())).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{vector}: {output:?}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Answer { status, headers: lines.filter_map(header).collect(), body: body.to_owned() }
}

/// The recorded body; the two large ones are only described in the file.
fn body_of(vector: &Value) -> Option<String> {
    let length = match vector["label"].as_str().unwrap() {
        "encrypt body of 1000000 bytes" => 1_000_000,
        "encrypt body of 1000001 bytes" => 1_000_001,
        _ => return vector["request_body"].as_str().map(str::to_owned),
    };
    let frame = r#"{"plaintext":""}"#.len();
    Some(format!(r#"{{"plaintext":"{}"}}"#, "A".repeat((length - frame) / 4 * 4)) + &" ".repeat((length - frame) % 4))
}

/// Takes out what is random or a time.
fn masked(body: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(body) else { return body.to_owned() };
    let mut random = false;
    for (name, value) in &mut fields {
        if ["created_at", "ciphertext", "plaintext", "hmac"].contains(&name.as_str()) && value != "0001-01-01T00:00:00Z"
        {
            random |= value != "aGVsbG8=";
            *value = if value == "aGVsbG8=" { value.take() } else { Value::from("*") };
        }
    }
    if random { Value::Object(fields).to_string() } else { body.to_owned() }
}

#[test]
fn exchanges_are_those_of_the_original() {
    let all = vectors();
    let folder = folder(&all);
    // one of the recorded policies denies what no path has
    let _server = folder.serve_with(&["--allow-dead-rules"]);
    let exchanges = all["http"].as_array().unwrap();
    assert_eq!(exchanges.len(), 113);
    let mut wrong = Vec::new();
    for vector in exchanges {
        let label = vector["label"].as_str().unwrap();
        if label == "list all" {
            // they were gone by then
            std::fs::remove_file(folder.path("keys/legacy-nohmac")).unwrap();
            std::fs::remove_file(folder.path("keys/corrupt")).unwrap();
        }
        let answer = ask(&folder, vector);
        let expected = vector["status_line"].as_str().unwrap().split(' ').nth(1).unwrap();
        if let Some((_, status, _)) = DIFFERENT.iter().find(|(other, ..)| *other == label) {
            assert_eq!(answer.status, *status, "{label}");
            assert!(include_str!("../README.md").contains(&format!("`{label}`")), "{label} is not in the README");
            continue;
        }
        let about_itself = label.starts_with("version") || label.starts_with("status") && expected == "200";
        let recorded = vector["body"].as_str().unwrap_or_default();
        let described = recorded.starts_with('(');
        let same_body = about_itself || described || masked(&answer.body) == masked(recorded);
        let exact = !about_itself && !described && masked(recorded) == recorded;
        let headers = differences(vector, &answer, exact);
        if answer.status != expected || !same_body || !headers.is_empty() {
            wrong.push(format!(
                "{label}: {} {:?} {headers:?}, recorded {expected} {recorded:?}",
                answer.status, answer.body
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of 113 differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn differences(vector: &Value, answer: &Answer, exact: bool) -> Vec<String> {
    let recorded: BTreeMap<_, _> = vector["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_str().unwrap().to_ascii_lowercase(), pair[1].as_str().unwrap().to_owned()))
        .collect();
    let names = HEADERS.iter().filter(|name| exact || **name != "content-length");
    names
        .filter(|name| recorded.get(**name) != answer.headers.get(**name))
        .map(|name| format!("{name}: {:?} recorded {:?}", answer.headers.get(*name), recorded.get(*name)))
        .collect()
}
