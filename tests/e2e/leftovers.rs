//! What is left when it is over: nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use rustix::process::geteuid;

use crate::engine::kind;
use crate::sandbox::{Sandbox, text};

/// Panics if others can make stacks here: [`census`] would count theirs.
fn assert_alone() {
    let first = text(&std::fs::read("/proc/1/cmdline").unwrap());
    let alone = ["tests/with-podman", "tests/with-docker", "tests/as-user"].iter().any(|script| first.contains(script));
    assert!(
        alone,
        "this test counts all processes, ports and mounts: run it with tests/with-podman, tests/with-docker or tests/as-user"
    );
}

/// Everything that a stack could leave in these namespaces, and everything that the engine keeps.
fn census() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut add = |kind: &str, listing: String| {
        all.extend(listing.lines().map(|line| format!("{kind} {line}")));
    };
    for (what, listing) in kind().leftovers() {
        add(what, listing);
    }
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
    let of_engine = |line: &&str| ["containers", "overlay", "netns"].iter().any(|word| line.contains(word));
    add("mount", mounts.lines().filter(of_engine).collect::<Vec<_>>().join("\n"));
    let processes = Command::new("ps").args(["-eo", "comm="]).output().unwrap();
    let programs =
        ["conmon", "minio", "kes", "kestack", "catatonit", "podman", "pause", "docker-proxy", "containerd-shim"];
    let ours = |name: &&str| programs.contains(name);
    add("process", text(&processes.stdout).lines().map(str::trim).filter(ours).collect::<Vec<_>>().join("\n"));
    let sockets = Command::new("ss").args(["-Hltn"]).output().unwrap();
    // from 32768 on ports are the system's to give, and never a stack's
    let address = |line: &str| {
        let address = line.split_whitespace().nth(3)?;
        (address.rsplit(':').next()?.parse::<u16>().ok()? < 32768).then(|| address.to_owned())
    };
    add("port", text(&sockets.stdout).lines().filter_map(address).collect::<Vec<_>>().join("\n"));
    // folders of the scripts that run tests, next to these, on other engines
    let scripts = ["kestack-podman-", "kestack-dockerd-", "kestack-user-", "/kestack-image-"];
    for folder in ["/tmp", "/run/lock", "/var/tmp", "/run/kestack"] {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let own = entries.filter(|entry| entry.metadata().is_ok_and(|found| found.uid() == geteuid().as_raw()));
        let names = own.map(|entry| entry.path().display().to_string());
        let names = names.filter(|path| path.contains("kestack") && !scripts.iter().any(|name| path.contains(name)));
        add("file", names.collect::<Vec<_>>().join("\n"));
    }
    all
}

#[test]
#[ignore = "needs an engine"]
fn fifty_cycles_leave_nothing() {
    assert_alone();
    let cycles: u32 = std::env::var("KESTACK_E2E_CYCLES").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    // the first brings in the two images and what the engine makes for itself
    let warm = Sandbox::new("");
    warm.ok(&["up"]);
    warm.ok(&["down", "--data"]);
    drop(warm);
    let before = census();
    for cycle in 0..cycles {
        let stack = Sandbox::new("");
        stack.ok(&["up"]);
        stack.put("/encrypted/object", format!("cycle {cycle}").as_bytes());
        stack.ok(&["down", "--data"]);
        assert!(!stack.base().join(&stack.name).exists());
    }
    let after = census();
    let left: Vec<_> = after.difference(&before).collect();
    assert!(left.is_empty(), "left after {cycles} cycles: {left:#?}");
}
