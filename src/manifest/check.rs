//! From the tree to the manifest, with every mistake on the way.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use kes_server::auth::KeyName;
use serde_json::{Value, json};

use super::sections::{kes, minio};
use super::tree::{self, Node, Reader};
use super::variables::{AUTO_ENCRYPTION, is_on};
use super::{Bucket, BucketEncryption, EngineKind, Environment, Manifest, PortRules, Said, seed};
use crate::keystore::{KeystoreKind, MASTER_KEYS};

const ENCRYPTIONS: [(&str, BucketEncryption); 3] =
    [("sse-kms", BucketEncryption::SseKms), ("sse-s3", BucketEncryption::SseS3), ("none", BucketEncryption::None)];

pub(super) fn read(text: &str, folder: &Path, env: Environment<'_>) -> Result<Manifest, Vec<String>> {
    let mut reader = Reader::new(env);
    let mut manifest = Manifest::default();
    match tree::load(text) {
        Ok(Some(node)) => manifest_of(&mut reader, &node, folder, &mut manifest),
        Ok(None) => {}
        Err(mistake) => reader.mistakes.push(mistake),
    }
    if reader.mistakes.is_empty() {
        return Ok(manifest);
    }
    reader.mistakes.sort();
    Err(reader.mistakes.iter().map(ToString::to_string).collect())
}

fn manifest_of(reader: &mut Reader<'_>, node: &Node, folder: &Path, to: &mut Manifest) {
    const KNOWN: [&str; 13] = [
        "version",
        "name",
        "engine",
        "dir",
        "host",
        "keystore",
        "keys",
        "kes",
        "minio",
        "buckets",
        "auto_encryption",
        "ui",
        "seed",
    ];
    let entries = reader.entries(node, "the manifest", &KNOWN);
    let find = |name: &str| entries.iter().find(|(key, _)| key == name).map(|(_, node)| *node);
    if let Some(node) = find("version") {
        reader.word(node, "version", &[("v1", ())]);
    }
    if let Some(name) = find("name").and_then(|node| reader.parsed(node, "name")) {
        to.name = name;
        to.is_named = true;
    }
    if let Some(engine) = find("engine").and_then(|node| reader.word(node, "engine", &EngineKind::CHOICES)) {
        to.engine = engine;
    }
    to.dir = find("dir").and_then(|node| reader.text(node, "dir")).map(|dir| folder.join(dir));
    if let Some(host) = find("host").and_then(|node| host(reader, node)) {
        to.host = host;
    }
    if let Some(node) = find("keystore") {
        keystore(reader, node, folder, to);
    }
    if let Some(node) = find("keys") {
        to.keys = keys(reader, node);
    }
    default_key(reader, find("minio"), to);
    if let Some(node) = find("kes") {
        to.kes = kes(reader, node, folder, to.kes.clone());
    }
    if let Some(node) = find("minio") {
        to.minio = minio(reader, node, folder, to.minio.clone());
    }
    let gives = |section: &str, port: &str| find(section).is_some_and(|node| tree::entry(node, port).is_some());
    to.ports = PortRules {
        kes: gives("kes", "port"),
        s3: gives("minio", "port"),
        console: gives("minio", "console_port"),
        any: false,
        elsewhere: false,
    };
    if let Some(node) = find("buckets") {
        to.buckets = buckets(reader, node, &to.keys);
    }
    if let Some(node) = find("seed") {
        to.seed = seed::read(reader, node, folder, &to.buckets);
    }
    auto_encryption(reader, find("auto_encryption"), find("minio"), to);
    to.ui = find("ui").and_then(|node| reader.boolean(node, "ui")).unwrap_or_default();
    seal(reader, find("kes"), to);
    agreement(reader, node, find("minio"), to);
}

/// Ports are bound to an address; a name could stand for several, on each machine others.
fn host(reader: &mut Reader<'_>, node: &Node) -> Option<IpAddr> {
    let text = reader.text(node, "host")?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&text);
    let found = bare.parse().ok();
    if found.is_none() {
        let advice = match bare {
            "localhost" => "write 127.0.0.1",
            _ => "write 127.0.0.1 for this machine alone, 0.0.0.0 for all its addresses, or one of them",
        };
        reader.wrong(node, format!("host must be an IP address, and '{text}' is not one: {advice}"));
    }
    found
}

/// The setting, which is also taken as MinIO's own variable. It does not go together with a bucket that must not encrypt.
fn auto_encryption(reader: &mut Reader<'_>, setting: Option<&Node>, minio: Option<&Node>, to: &mut Manifest) {
    to.auto_encryption = setting.and_then(|node| reader.boolean(node, "auto_encryption"));
    let variable = to.minio.env.remove(AUTO_ENCRYPTION).map(|value| is_on(&value));
    if let (Some(node), Some(one), Some(other)) = (minio, to.auto_encryption, variable)
        && one != other
    {
        reader.wrong(node, format!("{AUTO_ENCRYPTION} in minio.env contradicts auto_encryption: remove it there"));
    }
    to.auto_encryption = to.auto_encryption.or(variable);
    let plain = to.buckets.iter().find(|bucket| !bucket.encrypts());
    if let (Some(node), Some(true), Some(plain)) = (setting.or(minio), to.auto_encryption, plain) {
        let why = "MinIO then encrypts every bucket, and knows no exception";
        reader.wrong(
            node,
            format!("auto_encryption does not go with bucket '{}', which has encryption: none: {why}", plain.name),
        );
    }
}

/// kestack changes no keys outside the stack's folder, and a section of the user's says itself how its keys are sealed.
fn seal(reader: &mut Reader<'_>, kes: Option<&Node>, to: &Manifest) {
    let Some(node) = kes.and_then(|kes| tree::entry(kes, "seal")).filter(|_| to.kes.seal == Some(true)) else { return };
    if !to.keystore_is_fs() {
        reader.wrong(node, "kes.seal is for keys in a folder; this keystore protects its keys itself");
    } else if to.fs_path().is_some() || to.keystore.pointer("/fs/encryption").is_some() {
        let advice = "seal it with `kes seal`, and name the master key in keystore.fs.encryption";
        reader.wrong(
            node,
            format!("kes.seal is for the stack's own folder of keys, not for one that keystore.fs names: {advice}"),
        );
    }
}

/// Mistakes that only show in the combination of parts.
fn agreement(reader: &mut Reader<'_>, root: &Node, minio: Option<&Node>, manifest: &Manifest) {
    let ports = manifest.kes.ports().chain([manifest.minio.port, manifest.minio.console_port]);
    let mut seen = BTreeSet::new();
    for port in ports.filter(|port| *port != 0) {
        if !seen.insert(port) {
            reader.wrong(minio.unwrap_or(root), format!("port {port} is given to two servers"));
        }
    }
}

/// `minio.default_key`, else the first of the keys.
fn default_key(reader: &mut Reader<'_>, minio: Option<&Node>, to: &mut Manifest) {
    if let Some(first) = to.keys.first() {
        to.default_key = first.clone();
    }
    let Some(node) = minio.and_then(|minio| tree::entry(minio, "default_key")) else { return };
    let Some(key) = reader.parsed::<KeyName>(node, "minio.default_key") else { return };
    if to.keys.contains(&key) {
        to.default_key = key;
    } else {
        reader.wrong(node, format!("default_key '{key}' is not among the keys"));
    }
}

fn keystore(reader: &mut Reader<'_>, node: &Node, folder: &Path, to: &mut Manifest) {
    let before = reader.mistakes.len();
    let words = KeystoreKind::ALL.map(KeystoreKind::word);
    let kinds = reader.entries(node, "keystore", &words);
    if kinds.len() != 1 && reader.mistakes.len() == before {
        reader.wrong(node, format!("keystore must name exactly one of {}", words.join(", ")));
    }
    let mut section = reader.json(node);
    if let Some(fs) = section.get_mut("fs") {
        match fs {
            Value::Null => *fs = json!({}),
            Value::Object(_) => {}
            _ => reader.wrong(node, "keystore.fs must be a mapping"),
        }
    }
    for place in ["/fs/path"].into_iter().chain(MASTER_KEYS) {
        if let Some(Value::String(path)) = section.pointer_mut(place) {
            *path = folder.join(path.as_str()).display().to_string();
        }
    }
    to.keystore = section;
}

fn keys(reader: &mut Reader<'_>, node: &Node) -> Vec<KeyName> {
    let mut keys = Vec::new();
    let items = reader.items(node, "keys");
    for item in &items {
        let Some(key) = reader.parsed::<KeyName>(item, "key") else { continue };
        if keys.contains(&key) {
            reader.wrong(item, format!("key '{key}' is named twice"));
        } else {
            keys.push(key);
        }
    }
    if items.is_empty() {
        reader.wrong(node, "keys must name at least one key");
    }
    keys
}

fn buckets(reader: &mut Reader<'_>, node: &Node, keys: &[KeyName]) -> Vec<Bucket> {
    let mut buckets: Vec<Bucket> = Vec::new();
    for item in reader.items(node, "buckets") {
        let Some(bucket) = bucket(reader, item, keys) else { continue };
        if buckets.iter().any(|other| other.name == bucket.name) {
            reader.wrong(item, format!("bucket '{}' is named twice", bucket.name));
        } else {
            buckets.push(bucket);
        }
    }
    buckets
}

fn bucket(reader: &mut Reader<'_>, node: &Node, keys: &[KeyName]) -> Option<Bucket> {
    let entries = reader.entries(node, "a bucket", &["name", "encryption", "key", "versioning"]);
    let find = |name: &str| entries.iter().find(|(key, _)| key == name).map(|(_, node)| *node);
    let Some(name) = find("name") else {
        reader.wrong(node, "a bucket needs a name");
        return None;
    };
    let mut bucket = Bucket::named(reader.parsed(name, "bucket")?);
    bucket.said = Said {
        encryption: find("encryption").or_else(|| find("key")).is_some(),
        versioning: find("versioning").is_some(),
    };
    if let Some(encryption) = find("encryption").and_then(|node| reader.word(node, "encryption", &ENCRYPTIONS)) {
        bucket.encryption = encryption;
    }
    if let Some(node) = find("key") {
        bucket.key = reader.parsed(node, "key");
        if let Some(key) = bucket.key.as_ref().filter(|key| !keys.contains(key)) {
            reader.wrong(node, format!("key '{key}' is not among the keys"));
        }
        if bucket.encryption != BucketEncryption::SseKms {
            reader.wrong(node, "a key is for encryption: sse-kms only");
        }
    }
    if let Some(versioning) = find("versioning").and_then(|node| reader.boolean(node, "versioning")) {
        bucket.versioning = versioning;
    }
    Some(bucket)
}

#[cfg(test)]
mod tests {
    use super::super::schema::schema;
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        read(text, Path::new("/here"), &|name| (name == "SET").then(|| "value".into())).err().unwrap_or_default()
    }

    #[test]
    fn a_mapping_takes_over_another() {
        let text = "minio: &m { port: 7001 }\nkes: { <<: { port: 7000 } }";
        let manifest = read(text, Path::new("/here"), &|_| None).unwrap();
        assert_eq!((manifest.kes.port, manifest.minio.port), (7000, 7001));
    }

    /// Eight lines of aliases stand for a hundred million values.
    #[test]
    fn aliases_that_repeat_each_other_are_bounded() {
        let below = |level: u32| vec![format!("*a{}", level - 1); 10].join(", ");
        let lines: Vec<_> = (1..8).map(|level| format!("    a{level}: &a{level} [{}]\n", below(level))).collect();
        let text = format!("keystore:\n  vault:\n    a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{}", lines.concat());
        let said = mistakes(&text).join("\n");
        assert!(said.contains("more than 100000 values") && said.len() < 1000, "{said}");
    }

    #[test]
    fn every_mistake_has_its_line_and_its_words() {
        for (text, expected) in [
            ("bukets: []", "1:1: 'bukets' is not known in the manifest, did you mean 'buckets'?"),
            ("version: v2", "1:10: 'v2' is not known in version, did you mean 'v1'?"),
            ("name: A B", "1:7: name: 'A B' is not a valid name of a stack: 1 to 48 lower-case letters"),
            ("engine: lxc", "1:9: 'lxc' is not known in engine; known are: auto, podman, docker, process"),
            ("host: here", "1:7: host must be an IP address, and 'here' is not one: write 127.0.0.1 for this machine"),
            ("host: localhost", "1:7: host must be an IP address, and 'localhost' is not one: write 127.0.0.1"),
            ("keystore: { etcd: {} }", "1:13: 'etcd' is not known in keystore; known are: fs, vault, aws"),
            ("kes: { env: { AZURE_CLIENT_SECRET: s } }", "1:13: 'AZURE_CLIENT_SECRET' shows in the container's"),
            ("kes: { names: [kes:7373] }", "1:16: kes.names: 'kes:7373' is neither an IP address nor a DNS name"),
            ("keystore: { fs: {}, aws: {} }", "1:11: keystore must name exactly one of fs, vault"),
            ("keystore: { vault: { endpoint: '${UNSET}' } }", "1:32: the variable 'UNSET' is not set"),
            ("name: a\nname: b", "2:1: 'name' is in the manifest twice, first in line 1"),
            ("keystore: { vault: { a: 1, a: 2 } }", "1:28: 'a' is in this mapping twice, first in line 1"),
            ("name: a\x00b", "1:8: control characters are not allowed"),
            ("keys: *a", "unknown anchor"),
            ("keys: [a b]", "1:8: key: 'a b' is empty, too long or contains invalid characters"),
            ("keys: [a, a]", "1:11: key 'a' is named twice"),
            ("keys: []", "1:7: keys must name at least one key"),
            ("keys: one", "1:7: keys must be a list"),
            ("kes: { port: 70000 }", "1:14: kes.port must be a port number"),
            (
                "kes: { seal: true }\nkeystore: { fs: { path: keys } }",
                "1:14: kes.seal is for the stack's own folder of keys",
            ),
            ("kes: { seal: true }\nkeystore: { vault: { endpoint: x } }", "1:14: kes.seal is for keys in a folder"),
            ("kes: { seal: 1 }", "1:14: kes.seal must be true or false"),
            ("kes: { replicas: 0 }", "1:18: kes.replicas must be a number from 1 to 9"),
            ("kes: { replicas: 3 }\nminio: { port: 7375 }", "2:8: port 7375 is given to two servers"),
            ("minio: { port: 7373 }", "1:8: port 7373 is given to two servers"),
            ("minio: { root_password: short }", "1:25: minio.root_password must have at least 8 characters"),
            ("minio: { default_key: other }", "1:23: default_key 'other' is not among the keys"),
            ("minio: [1]", "1:8: minio must be a mapping"),
            ("buckets:\n  - { key: x }", "2:5: a bucket needs a name"),
            ("buckets:\n  - { name: Up }", "2:13: bucket: 'Up' is not a valid name of a bucket"),
            ("buckets:\n  - { name: abc, key: other }", "2:23: key 'other' is not among the keys"),
            ("buckets:\n  - { name: abc, encryption: aes }", "2:30: 'aes' is not known in encryption"),
            ("buckets:\n  - { name: abc, versioning: 1 }", "2:30: versioning must be true or false"),
            ("buckets: [{ name: abc }, { name: abc }]", "bucket 'abc' is named twice"),
            ("ui: 9002", "1:5: ui must be true or false"),
            ("auto_encryption: yes", "1:18: auto_encryption must be true or false"),
            (
                "auto_encryption: true\nbuckets: [{ name: abc, encryption: none }]",
                "1:18: auto_encryption does not go with bucket 'abc', which has encryption: none",
            ),
            (
                "auto_encryption: false\nminio: { env: { MINIO_KMS_AUTO_ENCRYPTION: on } }",
                "2:8: MINIO_KMS_AUTO_ENCRYPTION in minio.env contradicts auto_encryption",
            ),
            ("minio: { env: { MINIO_CERTS_DIR: /certs } }", "1:15: minio.env: MINIO_CERTS_DIR: has no effect"),
            ("minio: { tls: maybe }", "1:15: minio.tls must be true or false"),
            ("minio: { tls: true, names: [a b] }", "1:29: minio.names: 'a b' is neither"),
            ("minio: { names: [a] }", "1:17: minio.names are the names in MinIO's certificate"),
            ("seed: { objcts: [] }", "1:9: 'objcts' is not known in seed, did you mean 'objects'?"),
            ("seed: { objects: [{ from: a }] }", "1:19: bucket is missing"),
            ("seed: { objects: [{ from: a, bucket: other }] }", "1:38: bucket 'other' is not among the buckets"),
            ("seed: { objects: [{ from: a, bucket: encrypted, prefix: ../ }] }", "1:57: prefix must not begin with"),
            ("seed: { policies: [{ name: readonly, file: a }] }", "policy 'readonly' is built into MinIO"),
            ("seed: { users: [{ name: a/b }] }", "'a/b' is not a valid name of a user"),
            ("seed: { users: [{ name: alice, password: short }] }", "password must have 8 to 128 characters"),
            (
                "seed: { users: [{ name: alice, policies: [none] }] }",
                "policy 'none' is neither in seed.policies nor one of",
            ),
            ("seed: { access_keys: [{ name: app, user: alice }] }", "user 'alice' is not in seed.users"),
            ("seed: { lifecycle: [{ bucket: encrypted }] }", "a rule needs expire_days"),
            ("seed: { notifications: [{ bucket: encrypted, target: x, events: [put] }] }", "target must be an ARN"),
            ("seed: { run: [] }", "seed.run must be a list of a program"),
            ("seed: { run: [a], run_timeout: 2h }", "'2h' is not a valid time"),
            ("minio: { env: { MINIO_BROWSR: off } }", "did you mean MINIO_BROWSER?"),
            ("name: [", "2:1"),
            ("- a", "1:1: the manifest must be a mapping"),
        ] {
            let found = mistakes(text);
            assert!(found.iter().any(|mistake| mistake.contains(expected)), "{text}\n{found:#?}");
        }
    }

    #[test]
    fn all_mistakes_are_reported_in_the_order_of_lines() {
        let found = mistakes("bukets: []\nkeys: [a b]\nminio: { port: x }\nname: UP\n");
        let lines: Vec<_> = found.iter().map(|mistake| mistake.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["1", "2", "3", "4"], "{found:#?}");
    }

    #[test]
    fn everything_has_a_default_and_can_be_said() {
        for text in ["", "# nothing\n", "version: v1\n"] {
            let manifest = read(text, Path::new("/here"), &|_| None).unwrap();
            assert_eq!(manifest.name.as_str(), "minio-kes");
            assert_eq!(manifest.default_key.as_str(), "minio-backend-key");
            assert_eq!(manifest.buckets[0].name.to_string(), "encrypted");
        }
        let manifest = read("kes: { replicas: 3, port: 8000 }", Path::new("/here"), &|_| None).unwrap();
        assert_eq!(manifest.kes.ports().collect::<Vec<_>>(), [8000, 8001, 8002]);
        let text = "name: other\nengine: podman\ndir: data\nhost: 0.0.0.0\nkeystore: { fs: { path: keys } }\nkeys: [a, b]\n\
                    kes: { port: 0, binary: bin/kes, names: [kes.example.org] }\nminio: { port: 1, console_port: 2, root_user: '${SET}', default_key: b, \
                    env: { MINIO_SITE_NAME: 1 } }\nbuckets: [{ name: abc, key: a, versioning: true }]\n";
        let manifest = read(text, Path::new("/here"), &|_| Some("value".into())).unwrap();
        assert_eq!(manifest.dir.as_deref(), Some(Path::new("/here/data")));
        assert_eq!(manifest.fs_path(), Some("/here/keys".into()));
        assert_eq!(manifest.minio.root_user.as_deref(), Some("value"));
        assert_eq!(manifest.default_key.as_str(), "b");
        assert_eq!(manifest.minio.env["MINIO_SITE_NAME"], "1");
        assert_eq!(manifest.kes.binary.as_deref(), Some(Path::new("/here/bin/kes")));
        assert_eq!(manifest.kes.names, ["kes.example.org".parse().unwrap()]);
    }

    #[test]
    fn a_new_stack_encrypts_every_bucket_unless_one_must_not() {
        let decided = |text: &str, former| read(text, Path::new("/"), &|_| None).unwrap().auto_encryption(former);
        assert!(decided("", None), "a new stack");
        assert!(!decided("", Some(false)), "a stack that exists stays as it is");
        assert!(decided("auto_encryption: true", Some(false)));
        assert!(!decided("auto_encryption: false", Some(true)));
        let plain = "buckets: [{ name: abc, encryption: none }]";
        assert!(!decided(plain, None) && !decided(plain, Some(true)), "MinIO knows no exception");
        let variable = "minio: { env: { MINIO_KMS_AUTO_ENCRYPTION: 'on' } }";
        assert!(decided(variable, Some(false)));
        assert!(!decided(&variable.replace("on", "off"), None));
    }

    #[test]
    fn the_schema_knows_what_the_reader_knows() {
        let schema = schema();
        let properties =
            |value: &Value| -> Vec<String> { value["properties"].as_object().unwrap().keys().cloned().collect() };
        for key in properties(&schema) {
            let found = mistakes(&format!("{key}: ~"));
            assert!(!found.iter().any(|mistake| mistake.contains("is not known in the manifest")), "{key}");
        }
        assert_eq!(properties(&schema).len(), 13);
        assert_eq!(properties(&schema["$defs"]["SeedFile"]).len(), 8);
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(properties(&schema["$defs"]["MinioFile"]).len(), 10);
    }
}
