//! Every export for every keystore, as files in `tests/export/golden`. A keystore's golden holds only the files that
//! differ from those of the first keystore. `KESTACK_BLESS=1` writes them again; read the difference.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use crate::exported::{Exported, REPLICAS, manifest_with_kes};
use crate::keystores;

const MACHINE: [(&str, &[&str]); 5] = [
    ("compose", &["compose"]),
    ("kube", &["kube"]),
    ("quadlet-4.4", &["quadlet", "--podman", "4.4"]),
    ("quadlet-5.0", &["quadlet"]),
    ("systemd", &["systemd"]),
];

#[test]
fn exports_for_one_machine() {
    for (target, arguments) in MACHINE {
        let first = Exported::new("fs", arguments).redacted();
        compare(&format!("{target}-fs"), &first, &BTreeMap::new());
        let replicas = Exported::of(manifest_with_kes("fs", REPLICAS, ""), arguments).redacted();
        compare(&format!("{target}-replicas"), &replicas, &first);
        for keystore in keystores::of_machines().filter(|name| *name != "fs") {
            compare(&format!("{target}-{keystore}"), &Exported::new(keystore, arguments).redacted(), &first);
        }
    }
}

/// Compares the files that are not as in `known` with a golden.
pub(crate) fn compare(name: &str, files: &BTreeMap<String, String>, known: &BTreeMap<String, String>) {
    let mut text = String::new();
    for (path, content) in files.iter().filter(|(path, content)| known.get(*path) != Some(content)) {
        write!(text, "==> {path}\n{content}").unwrap();
    }
    for path in known.keys().filter(|path| !files.contains_key(*path)) {
        writeln!(text, "==> {path}\n(not there)").unwrap();
    }
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/export/golden/{name}.txt"));
    if std::env::var_os("KESTACK_BLESS").is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let expected = std::fs::read_to_string(&golden).unwrap_or_default();
    let wrong = expected.lines().zip(text.lines()).find(|(expected, found)| expected != found);
    assert!(expected == text, "{}: first difference: {wrong:#?}", golden.display());
}
