//! Folders of other versions of kestack: a former one is taken over, a later one is left as it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bounded::Bounded as _;
use crate::engine::{Kind, kind, rootless};
use crate::sandbox::{Sandbox, text};

mod containers;

/// What `stack.json` in a stack's folder says.
fn marker(stack: &Sandbox) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(stack.root().join("stack.json")).unwrap()).unwrap()
}

/// Every file below a folder, with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
#[ignore = "needs an engine"]
fn a_folder_of_a_later_kestack_is_left_as_it_is_by_every_verb() {
    let stack = Sandbox::new("");
    let folder = stack.root();
    for path in ["certs", "config", "keys", "minio"] {
        std::fs::create_dir_all(folder.join(path)).unwrap();
        std::fs::write(folder.join(path).join("later"), "of a form that nobody knows yet").unwrap();
    }
    let mark = |layout: u32| {
        let marker = serde_json::json!({ "layout": layout, "kestack": "0.9.0", "name": stack.name });
        std::fs::write(folder.join("stack.json"), marker.to_string()).unwrap();
    };
    mark(3);
    let before = files(&folder);
    let verbs = [
        "up",
        "down",
        "down --data",
        "start",
        "stop",
        "reset",
        "reset --hard",
        "status",
        "logs",
        "env",
        "plan",
        "verify",
        "doctor",
        "images",
        "inventory",
        "key list",
        "key create a",
        "key delete a",
        "bucket list",
        "bucket create abc",
        "bucket encrypt abc",
        "bucket delete abc",
        "sandbox create a",
        "sandbox list",
        "sandbox drop a",
        "chaos kes-down",
        "chaos heal",
        "gc",
        "bundle save out.tar",
        "snapshot save a",
        "snapshot list",
        "snapshot restore a",
        "snapshot remove a",
        "export compose --output-dir out",
    ];
    for verb in verbs {
        let arguments: Vec<_> = verb.split(' ').collect();
        let said = stack.fails(&arguments, 6);
        for part in ["layout 3, which kestack 0.9.0 wrote", concat!("this is kestack ", env!("CARGO_PKG_VERSION"))] {
            assert!(said.contains(part), "{verb}: {part} is missing in: {said}");
        }
    }
    assert_eq!(files(&folder), before);
    assert!(!stack.folder().join("out.tar").exists() && !stack.folder().join("out").exists());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A folder as kestack 0.1.0 left it after `down`: no number of its layout, no record of a manifest, of content or of MinIO.
/// One object on the drive, another one since the snapshot.
fn folder_of_0_1_0(stack: &Sandbox) {
    std::fs::create_dir_all(stack.base()).unwrap();
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/testdata/folder-0.1.0.tar.gz");
    let unpacked = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(stack.base()).finished();
    assert!(unpacked.status.success(), "{}", text(&unpacked.stderr));
    std::fs::rename(stack.base().join("former"), stack.root()).unwrap();
    // as the containers of root had it
    if kind() != Kind::Process && !rootless() {
        for folder in ["minio", "keys"] {
            let owned = Command::new("chown").args(["-R", "1000:1000"]).arg(stack.root().join(folder)).finished();
            assert!(owned.status.success(), "{}", text(&owned.stderr));
        }
    }
}

#[test]
#[ignore = "needs an engine"]
fn a_folder_of_0_1_0_comes_up_with_its_data() {
    let stack = Sandbox::new("");
    folder_of_0_1_0(&stack);
    let list = stack.json(&["snapshot", "list"]);
    assert_eq!((&list["snapshots"][0]["name"], &list["snapshots"][0]["keys"]), (&"first".into(), &1.into()), "{list}");
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), b"written by 0.1.0");
    assert_eq!(stack.read("/encrypted/later"), b"written later");
    assert_eq!(stack.json(&["up"])["changed"], 0);
    let list = stack.json(&["snapshot", "list"]);
    assert_eq!(list["snapshots"].as_array().unwrap().len(), 1, "the same MinIO does not count as another one: {list}");
    stack.ok(&["verify"]);
    let marker = marker(&stack);
    assert_eq!((&marker["layout"], &marker["kestack"]), (&2.into(), &env!("CARGO_PKG_VERSION").into()));
    stack.ok(&["snapshot", "restore", "first"]);
    assert_eq!(stack.read("/encrypted/kept"), b"written by 0.1.0");
    assert_eq!(stack.s3("GET", "/encrypted/later", None).0, 404);
    stack.ok(&["snapshot", "remove", "first"]);
    stack.ok(&["down", "--data"]);
    assert!(!stack.root().exists());
}

#[test]
#[ignore = "needs an engine"]
fn a_folder_of_0_1_0_is_removed_without_being_brought_up() {
    let stack = Sandbox::new("");
    folder_of_0_1_0(&stack);
    stack.ok(&["snapshot", "remove", "first"]);
    stack.ok(&["down", "--data"]);
    assert!(!stack.root().exists());
}
