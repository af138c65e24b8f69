//! Imports between the modules of this crate point one way: a test holds them against a table.

use std::path::Path;

use imports::Rules;

mod imports;

/// Each module of the crate, and the modules that it imports. All of those are further up: there is no cycle.
const MAY_IMPORT: [(&str, &[&str]); 19] = [
    ("auth", &[]),
    ("json", &[]),
    ("listen", &[]),
    ("memory", &[]),
    ("outbound", &[]),
    ("process", &[]),
    ("release", &[]),
    ("yaml", &[]),
    ("child", &[]),
    ("completion", &[]),
    ("config", &["auth", "yaml"]),
    ("crypto", &["json", "memory"]),
    ("client", &["crypto", "json", "outbound"]),
    ("metrics", &["memory", "process"]),
    ("keystore", &["auth", "config", "crypto", "json", "outbound"]),
    ("log", &["config", "metrics"]),
    ("api", &["auth", "config", "crypto", "json", "keystore", "log", "metrics", "process"]),
    (
        "server",
        &["api", "auth", "child", "config", "crypto", "keystore", "listen", "log", "memory", "metrics", "process"],
    ),
    (
        "cli",
        &[
            "api",
            "auth",
            "child",
            "client",
            "completion",
            "config",
            "crypto",
            "keystore",
            "process",
            "release",
            "server",
        ],
    ),
];

/// Modules that nothing imports: they show others the inside of modules.
const OUTSIDE: [&str; 4] = ["direction", "fuzzing", "lib", "main"];

#[test]
fn imports_point_one_way() {
    let rules = Rules { table: &MAY_IMPORT, outside: &OUTSIDE };
    rules.check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
}
