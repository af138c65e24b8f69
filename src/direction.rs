//! Imports between the rooms of this crate point one way: a test holds them against a table (docs/architecture.md §2.1).

use std::path::Path;

use imports::Rules;

#[path = "../kes-server/src/direction/imports.rs"]
mod imports;

/// Each room, and those that it imports. All of those are further up: there is no cycle.
const MAY_IMPORT: [(&str, &[&str]); 17] = [
    ("host", &[]),
    ("keystore", &["host"]),
    ("manifest", &["host", "keystore"]),
    ("template", &["host", "manifest"]),
    ("pki", &[]),
    ("servers", &["manifest"]),
    ("engine", &["host", "manifest"]),
    ("supply", &["engine", "host", "manifest"]),
    ("error", &["engine", "host", "manifest", "pki", "servers", "supply", "template"]),
    ("data", &["error", "host", "keystore", "manifest"]),
    ("resource", &["data", "engine", "error", "host", "keystore", "manifest", "servers", "supply"]),
    (
        "stack",
        &[
            "data", "engine", "error", "host", "keystore", "manifest", "pki", "resource", "servers", "supply",
            "template",
        ],
    ),
    (
        "operate",
        &[
            "data", "engine", "error", "host", "keystore", "manifest", "resource", "servers", "stack", "supply",
            "template",
        ],
    ),
    (
        "transfer",
        &[
            "data", "engine", "error", "host", "keystore", "manifest", "operate", "pki", "resource", "stack", "supply",
            "template",
        ],
    ),
    ("testing", &["engine", "error", "host", "manifest", "operate", "resource", "stack"]),
    (
        "interface",
        &["data", "engine", "error", "host", "manifest", "operate", "resource", "servers", "stack", "template"],
    ),
    (
        "cli",
        &[
            "data",
            "engine",
            "error",
            "host",
            "interface",
            "manifest",
            "operate",
            "resource",
            "servers",
            "stack",
            "supply",
            "transfer",
        ],
    ),
];

/// Rooms that nothing imports.
const OUTSIDE: [&str; 3] = ["direction", "lib", "main"];

#[test]
fn imports_point_one_way() {
    let rules = Rules { table: &MAY_IMPORT, outside: &OUTSIDE };
    rules.check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
}

#[test]
fn the_documented_rooms_are_those_of_the_code() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("### 2.1 kestack").unwrap();
    let (section, _) = section.split_once("### 2.2").unwrap();
    let rooms: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let table: Vec<_> = MAY_IMPORT.iter().rev().map(|(room, _)| *room).collect();
    assert_eq!(rooms, table, "left: the table in docs/architecture.md, from top to bottom; right: the rooms");
}
