//! A keystore folder that is sealed: made, served, given another master key, opened again, and killed meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../crash/random.rs"]
mod random;

mod kills;
mod rotation;
mod sources;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kes_server::crypto::{Algorithm, Key};
use support::{Folder, read, stderr, stdout};

/// A configuration whose folder `keys` is sealed in this way.
fn config(folder: &Folder, encryption: &str) -> String {
    format!("{}    encryption: {encryption}\n", folder.config("keys"))
}

/// Keys of the same form as a server writes them, in clear.
fn write_keys(folder: &Folder, names: impl Iterator<Item = String>) {
    fs::create_dir_all(folder.path("keys")).unwrap();
    for name in names {
        let key = Key::generate(Algorithm::Aes256, "somebody").unwrap();
        folder.write(&format!("keys/{name}"), std::str::from_utf8(&key.encode()).unwrap());
    }
}

/// Every file of the folder of keys that is a key, by its name.
fn stored(folder: &Folder) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder.path("keys")).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    let mut found: Vec<_> =
        named.filter(|(name, _)| !name.starts_with('.')).map(|(name, path)| (name, fs::read(path).unwrap())).collect();
    found.sort();
    found
}

/// Asserts that no file below a folder holds 16 bytes of the keys, as bytes, in base64 or in hexadecimal digits.
fn assert_no_key_in_clear(folder: &Path, keys: &[(String, Vec<u8>)]) {
    let secrets: Vec<Vec<u8>> = keys
        .iter()
        .flat_map(|(_, stored)| {
            let message = STANDARD.decode(stored).unwrap();
            // field 1, in it field 1: the secret; field 2, in it field 1: the HMAC key
            let at = message.windows(2).enumerate().filter(|(_, tag)| *tag == [0x0a, 0x20]).map(|(at, _)| at + 2);
            let secrets: Vec<_> = at.filter_map(|at| Some(message.get(at..at + 32)?.to_vec())).collect();
            assert!(secrets.len() >= 2, "both secrets of a key are found");
            let digits = secrets.iter().map(|secret| hex::encode(secret).into_bytes());
            digits.chain(secrets.clone()).chain([stored.clone(), message.clone()]).collect::<Vec<_>>()
        })
        .collect();
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let content = fs::read(&path).unwrap();
        for run in secrets.iter().flat_map(|secret| secret.windows(16)) {
            assert!(!content.windows(16).any(|found| found == run), "{} holds a key", path.display());
        }
        files += 1;
    }
    assert!(files > keys.len(), "every file was looked at, and the marker");
}

fn fails(output: &Output, words: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(stderr(output).contains(words), "{words} is not in\n{}", stderr(output));
}

/// The text that a server ends with instead of serving.
fn refusal(folder: &Folder) -> String {
    let ended = folder.kes(&["server", "--config", "config.yaml"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    stderr(&ended)
}

#[test]
fn a_plain_folder_is_sealed_served_and_opened_again() {
    let folder = Folder::new();
    let server = folder.serve();
    for name in ["one", "two", "three"] {
        assert!(folder.kes(&["key", "create", "-k", name]).status.success());
    }
    let sealed_key = stdout(&folder.kes(&["key", "dek", "-k", "one"]));
    assert_eq!(server.terminate(), Some(0));
    let clear = stored(&folder);

    let made = folder.kes(&["seal", "keys", "--new-master-key", "master.key"]);
    let told = stdout(&made);
    assert!(told.contains("Recovery sheet") && told.contains("Sealed 3 keys under master key"), "{told}");
    assert_eq!(fs::metadata(folder.path("master.key")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_no_key_in_clear(folder.path("keys").as_ref(), &clear);
    fails(&folder.kes(&["seal", "keys", "--new-master-key", "master.key"]), "already exists: to use it");
    let again = stdout(&folder.kes(&["seal", "keys", "--master-key", "master.key"]));
    assert!(again.starts_with("Sealed 0 keys (3 already) under master key"), "{again}");

    assert!(refusal(&folder).contains("is sealed under master key"), "{}", refusal(&folder));
    folder.write("config.yaml", &config(&folder, "{ masterKeyPath: master.key }"));
    let server = folder.serve();
    let banner = read(folder.path("stdout").as_ref());
    assert!(banner.contains("(sealed: master key "), "{banner}");
    let sealed_key: serde_json::Value = serde_json::from_str(&sealed_key).unwrap();
    let ciphertext = sealed_key["ciphertext"].as_str().unwrap();
    let opened = folder.kes(&["key", "decrypt", "-k", "one", ciphertext]);
    assert!(opened.status.success(), "{opened:?}");
    assert!(folder.kes(&["key", "create", "-k", "four"]).status.success());
    assert_eq!(stdout(&folder.kes(&["key", "ls", "-k"])).lines().count(), 5, "a header and the keys, no marker");
    assert!(read(format!("{}/four", folder.path("keys")).as_ref()).starts_with("kes-sealed:v1:"));
    assert_eq!(server.terminate(), Some(0));

    assert!(folder.kes(&["unseal", "--config", "config.yaml"]).status.success());
    assert_eq!(stored(&folder).iter().filter(|found| clear.contains(found)).count(), 3, "to the byte");
    assert!(refusal(&folder).contains("holds keys in clear: run `kes seal"), "{}", refusal(&folder));
    folder.write("config.yaml", &folder.config("keys"));
    drop(folder.serve());
}

#[test]
fn a_wrong_master_key_is_refused_before_anything_else() {
    let folder = Folder::new();
    write_keys(&folder, ["one".to_owned()].into_iter());
    assert!(folder.kes(&["seal", "keys", "--new-master-key", "right.key"]).status.success());
    let sealed = stored(&folder);
    assert!(folder.kes(&["seal", "--new-master-key", "wrong.key"]).status.success());
    folder.write("config.yaml", &config(&folder, "{ masterKeyPath: wrong.key }"));

    let marker = read(format!("{}/.kes-sealed", folder.path("keys")).as_ref());
    let expected = marker.split('"').nth(5).unwrap().to_owned();
    assert!(refusal(&folder).contains(&format!("is sealed under master key {expected}, but")), "{}", refusal(&folder));
    for verb in ["seal", "unseal"] {
        fails(&folder.kes(&[verb, "keys", "--master-key", "wrong.key"]), &expected);
    }
    assert_eq!(stored(&folder), sealed, "nothing is changed");
    // a copy of the keys without the marker
    fs::remove_file(format!("{}/.kes-sealed", folder.path("keys"))).unwrap();
    assert!(refusal(&folder).contains(&expected), "{}", refusal(&folder));
    folder.write("config.yaml", &config(&folder, "{ masterKeyPath: right.key }"));
    drop(folder.serve());
    assert_eq!(read(format!("{}/.kes-sealed", folder.path("keys")).as_ref()), marker, "and the marker is back");
}

#[test]
fn a_file_of_the_other_kind_is_an_error_that_says_what_to_do() {
    let folder = Folder::new();
    write_keys(&folder, ["one".to_owned()].into_iter());
    let clear = stored(&folder);
    assert!(folder.kes(&["seal", "keys", "--new-master-key", "master.key"]).status.success());
    let sealed = stored(&folder);
    folder.write("config.yaml", &config(&folder, "{ masterKeyPath: master.key }"));
    folder.write("keys/two", std::str::from_utf8(&clear[0].1).unwrap());
    folder.write("keys/moved", std::str::from_utf8(&sealed[0].1).unwrap());
    let server = folder.serve();
    assert!(folder.kes(&["key", "dek", "-k", "one"]).status.success());
    for (name, words) in [
        ("two", "is in clear among sealed ones: if it is a key of yours, run `kes seal "),
        ("moved", "sealed under another name"),
    ] {
        assert!(!folder.kes(&["key", "dek", "-k", name]).status.success());
        let log = read(folder.path("stderr").as_ref());
        assert!(log.contains(words), "{log}");
    }
    assert_eq!(server.terminate(), Some(0));
    fails(
        &folder.kes(&["seal", "keys", "--master-key", "master.key"]),
        "sealed under another name; nothing was changed",
    );
    fs::remove_file(folder.path("keys/moved")).unwrap();
    assert!(folder.kes(&["seal", "keys", "--master-key", "master.key"]).status.success());
    drop(folder.serve());

    // and a sealed one among those in clear
    fs::remove_file(folder.path("keys/.kes-sealed")).unwrap();
    folder.write("config.yaml", &folder.config("keys"));
    let _server = folder.serve();
    assert!(!folder.kes(&["key", "dek", "-k", "one"]).status.success());
    let log = read(folder.path("stderr").as_ref());
    assert!(log.contains("key 'one' is sealed: add `encryption` to keystore.fs"), "{log}");
}

#[test]
fn what_is_no_key_is_named_and_nothing_is_changed() {
    let folder = Folder::new();
    write_keys(&folder, ["one".to_owned()].into_iter());
    let clear = stored(&folder);
    folder.write("keys/notes", "what I must not forget");
    fails(&folder.kes(&["seal", "keys", "--new-master-key", "master.key"]), "keys/notes' is not a key: move it");
    fs::remove_file(folder.path("keys/notes")).unwrap();
    std::os::unix::fs::symlink("one", folder.path("keys/link")).unwrap();
    fails(&folder.kes(&["seal", "keys", "--master-key", "master.key"]), "'link' in 'keys' is a link");
    fs::remove_file(folder.path("keys/link")).unwrap();
    fails(&folder.kes(&["seal", "keys", "--new-master-key", "keys/master.key"]), "is in the folder that it seals");
    fails(&folder.kes(&["seal", "keys"]), "no master key (--master-key, --new-master-key or --config) specified");
    assert_eq!(stored(&folder), clear);
    fs::hard_link(folder.path("keys/one"), folder.path("copy")).unwrap();
    fs::create_dir(folder.path("keys/old")).unwrap();
    let sealed = folder.kes(&["seal", "keys", "--master-key", "master.key"]);
    assert!(stderr(&sealed).contains("key 'one' has another name on this disk"), "{sealed:?}");
    assert!(stderr(&sealed).contains("keys/old' is a folder and was left as it is"), "{sealed:?}");
    assert_eq!(fs::read(folder.path("copy")).unwrap(), clear[0].1, "a hard link is not overwritten");
}
