//! The metadata on a drive, read by another parser than ours, to see what a rotation changes in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rmpv::Value;
use rmpv::decode::read_value;

pub(super) const KEY_ID: &str = "X-Minio-Internal-Server-Side-Encryption-S3-Kms-Key-Id";
const DATA_KEY: &str = "X-Minio-Internal-Server-Side-Encryption-S3-Kms-Sealed-Key";

/// Every metadata file of a drive, without MinIO's own.
pub(super) type Drive = BTreeMap<PathBuf, File>;

/// One of them.
#[derive(Debug, PartialEq)]
pub(super) struct File {
    /// The header of each version: its ID, its time, its kind.
    headers: Vec<Value>,
    /// Every value of each version, by its names from the outermost to the innermost.
    versions: Vec<BTreeMap<String, Value>>,
    /// What is stored inline.
    inline: Vec<u8>,
}

/// Reads a drive.
pub(super) fn read(drive: &Path) -> Drive {
    let mut files = Drive::new();
    let mut folders = vec![drive.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with(".minio.sys") {
                folders.push(path);
            } else if path.ends_with("xl.meta") {
                files.insert(path.strip_prefix(drive).unwrap().to_owned(), file(&std::fs::read(&path).unwrap()));
            }
        }
    }
    files
}

fn file(bytes: &[u8]) -> File {
    let mut rest = bytes.strip_prefix(b"XL2 \x01\0\x03\0").unwrap();
    let meta = read_value(&mut rest).unwrap();
    let (_checksum, mut meta) = (read_value(&mut rest).unwrap(), meta.as_slice().unwrap());
    let mut number = || read_value(&mut meta).unwrap().as_u64().unwrap();
    let (_headers, _entries, count) = (number(), number(), number());
    let mut file = File { headers: vec![], versions: vec![], inline: rest.to_vec() };
    for _ in 0..count {
        file.headers.push(read_value(&mut meta).unwrap());
        let entry = read_value(&mut meta).unwrap();
        let mut values = BTreeMap::new();
        flatten("", read_value(&mut entry.as_slice().unwrap()).unwrap(), &mut values);
        file.versions.push(values);
    }
    assert!(meta.is_empty());
    file
}

fn flatten(name: &str, value: Value, to: &mut BTreeMap<String, Value>) {
    match value {
        Value::Map(map) => {
            for (key, value) in map {
                flatten(&format!("{name}/{}", key.as_str().unwrap()), value, to);
            }
        }
        value => drop(to.insert(name.to_owned(), value)),
    }
}

/// The versions whose key was replaced, after nothing else was seen to differ.
pub(super) fn replaced(before: &Drive, after: &Drive, old: &str, new: &str) -> usize {
    assert!(before.keys().eq(after.keys()));
    let mut replaced = 0;
    for ((path, before), after) in before.iter().zip(after.values()) {
        let path = path.display();
        assert_eq!((&before.headers, &before.inline), (&after.headers, &after.inline), "{path}");
        assert_eq!(before.versions.len(), after.versions.len(), "{path}");
        for (before, after) in before.versions.iter().zip(&after.versions) {
            assert!(before.keys().eq(after.keys()), "{path}");
            let differ: BTreeSet<_> = before.keys().filter(|name| before[*name] != after[*name]).cloned().collect();
            let has_old = key(before) == Some(old.as_bytes());
            let expected = [KEY_ID, DATA_KEY].map(|name| format!("/V2Obj/MetaSys/{name}"));
            assert_eq!(differ, if has_old { expected.into() } else { BTreeSet::new() }, "{path}");
            if has_old {
                assert_eq!(key(after), Some(new.as_bytes()), "{path}");
                replaced += 1;
            }
        }
    }
    replaced
}

fn key(version: &BTreeMap<String, Value>) -> Option<&[u8]> {
    version.get(&format!("/V2Obj/MetaSys/{KEY_ID}"))?.as_slice()
}

/// The names of a version's values in which that text stands, of all files.
pub(super) fn names(drive: &Drive, part: &str) -> usize {
    let versions = drive.values().flat_map(|file| &file.versions);
    versions.flat_map(BTreeMap::keys).filter(|name| name.contains(part)).count()
}
