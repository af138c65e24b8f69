//! Another MinIO on the same data: announced, saved before, proven after, and undone where it does not serve the data.
//! Other releases of MinIO are played by scripts around the one that there is.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::bounded::{Bounded as _, ended};
use crate::faults::{seeded, times};
use crate::sandbox::{Sandbox, text};

const OLD: &str = "RELEASE.2025-04-22T22-12-26Z";
const NEW: &str = "RELEASE.2025-09-07T16-13-09Z";

/// More than MinIO keeps inline.
const BIG: usize = 300_000;

/// A program that says it is that release, does `first` when it serves, and is the real MinIO then.
fn release(stack: &Sandbox, release: &str, first: &str) -> String {
    let path: PathBuf = stack.folder().join(format!("minio-{}", fastrand::u32(..)));
    let minio = std::env::var("MINIO_BINARY").unwrap();
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'minio version {release} (commit-id=0)'; exit; fi\n{first}\n\
         exec '{minio}' \"$@\"\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// `up` with that MinIO: whether it worked, and everything that it said.
fn up(stack: &Sandbox, minio: &str, more: &[&str]) -> (bool, String) {
    let arguments = [&["up"], more].concat();
    let output = stack.command(&arguments).env("MINIO_BINARY", minio).finished();
    (output.status.success(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

fn snapshots(stack: &Sandbox) -> Vec<String> {
    let list = stack.json(&["snapshot", "list"]);
    let names = list["snapshots"].as_array().unwrap().iter();
    names.map(|snapshot| snapshot["name"].as_str().unwrap().to_owned()).collect()
}

/// A stack with two keys and an object under each, on the older release.
fn stack() -> (Sandbox, String) {
    let stack =
        Sandbox::new("keys: [minio-backend-key, second]\nbuckets: [{ name: encrypted }, { name: two, key: second }]\n");
    let old = release(&stack, OLD, "");
    let (worked, said) = up(&stack, &old, &[]);
    assert!(worked && !said.contains("another MinIO"), "{said}");
    stack.put("/encrypted/old", b"first");
    stack.put("/encrypted/newer", b"second");
    stack.put("/two/deep/old", &vec![7; BIG]);
    (stack, old)
}

fn assert_data(stack: &Sandbox) {
    assert_eq!(stack.read("/encrypted/old"), b"first");
    assert_eq!(stack.read("/encrypted/newer"), b"second");
    assert_eq!(stack.read("/two/deep/old"), vec![7; BIG]);
}

#[test]
#[ignore = "needs the process engine"]
fn a_newer_release_is_announced_and_proven() {
    let (stack, old) = stack();
    let new = release(&stack, NEW, "");
    let (worked, said) = up(&stack, &new, &[]);
    assert!(worked, "{said}");
    for part in [format!("another MinIO on this data: MinIO {NEW} instead of MinIO {OLD}"), "2 in all".into()] {
        assert!(said.contains(&part), "{part} is missing in:\n{said}");
    }
    let taken = snapshots(&stack);
    assert!(taken.len() == 1 && taken[0].starts_with("before-minio-"), "{taken:?}");
    assert!(said.contains(&format!("kestack snapshot remove {}", taken[0])), "{said}");
    assert_data(&stack);
    let (_, again) = up(&stack, &new, &[]);
    assert!(again.contains("nothing to change") && !again.contains("another MinIO"), "{again}");
    // back to the older one, by the user's own wish; the same release in another place is not another MinIO
    let (worked, said) = up(&stack, &old, &["--no-snapshot"]);
    assert!(worked && said.contains("another MinIO") && snapshots(&stack) == taken, "{said}");
    let (worked, said) = up(&stack, &release(&stack, OLD, "# elsewhere"), &[]);
    assert!(worked && !said.contains("another MinIO"), "{said}");
    assert_data(&stack);
}

#[test]
#[ignore = "needs the process engine"]
fn an_interface_that_fails_does_not_undo_it() {
    let (stack, _) = stack();
    let file = stack.folder().join("kestack.yaml");
    let wanted = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{wanted}ui: true\n")).unwrap();
    // nobody can read what an interface of the stack must know, once the new MinIO starts
    let new = release(&stack, NEW, &format!("echo 'ui: [' >'{}'", file.display()));
    let (worked, said) = up(&stack, &new, &[]);
    assert!(!worked && said.contains("the HTTP interface does not listen"), "{said}");
    assert!(!said.contains("does not serve") && !said.contains("runs again"), "{said}");
    std::fs::write(&file, &wanted).unwrap();
    stack.put("/encrypted/since", b"third");
    let (worked, said) = up(&stack, &new, &[]);
    assert!(worked && !said.contains("another MinIO"), "{said}");
    assert_eq!(stack.read("/encrypted/since"), b"third");
    assert_data(&stack);
}

/// Of two changes in one edit, the one that fails is named, and nobody distrusts the other.
#[test]
#[ignore = "needs the process engine"]
fn what_fails_for_another_reason_does_not_undo_it() {
    let (stack, _) = stack();
    let file = stack.folder().join("kestack.yaml");
    let wanted = std::fs::read_to_string(&file).unwrap();
    let program = |name: &str, script: &str| {
        let path = stack.folder().join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let new = release(&stack, NEW, "");
    // KES does not start: nobody knows yet whether the new MinIO serves the data
    let kes = program("bad-kes", "#!/bin/sh\nexit 3\n");
    let with_kes = wanted.replace("kes: { port: 0 }", &format!("kes: {{ port: 0, binary: {kes} }}"));
    assert_ne!(with_kes, wanted);
    std::fs::write(&file, with_kes).unwrap();
    let (worked, said) = up(&stack, &new, &[]);
    assert!(!worked && said.contains("another MinIO") && said.contains("KES"), "{said}");
    assert!(!said.contains("does not serve") && !said.contains("runs again"), "{said}");
    let taken = snapshots(&stack);
    // a command fails: the new MinIO is proven all the same
    let seed = program("seed.sh", "#!/bin/sh\nexit 1\n");
    std::fs::write(&file, format!("{wanted}seed: {{ run: [{seed}] }}\n")).unwrap();
    let (worked, said) = up(&stack, &new, &[]);
    assert!(!worked && said.contains("seed.sh") && said.contains("2 in all"), "{said}");
    assert!(!said.contains("does not serve") && !said.contains("runs again"), "{said}");
    stack.put("/encrypted/since", b"third");
    std::fs::write(&file, &wanted).unwrap();
    let (worked, said) = up(&stack, &new, &[]);
    assert!(worked && !said.contains("another MinIO"), "{said}");
    assert_eq!(stack.read("/encrypted/since"), b"third");
    assert_eq!(snapshots(&stack), taken, "one snapshot, of before");
    assert_data(&stack);
}

#[test]
#[ignore = "needs the process engine"]
fn one_that_loses_data_is_undone() {
    let (stack, old) = stack();
    let lost = stack.root().join("minio/two/deep");
    let bad = release(&stack, NEW, &format!("rm -rf '{}'", lost.display()));
    let (worked, said) = up(&stack, &bad, &[]);
    assert!(!worked, "{said}");
    for part in [
        format!(
            "MinIO {NEW} does not serve the data of MinIO {OLD}, so MinIO {OLD} runs again, with the data from before"
        ),
        "object 'deep/old' in bucket 'two', the oldest under key 'second', does not open".into(),
    ] {
        assert!(said.contains(&part), "{part} is missing in:\n{said}");
    }
    assert_data(&stack);
    let (worked, again) = up(&stack, &old, &[]);
    assert!(worked && !again.contains("another MinIO"), "{again}");
    assert!(stack.run(&["verify"]).status.success());
}

#[test]
#[ignore = "needs the process engine"]
fn one_that_does_not_start_is_undone_and_a_former_one_that_is_gone_is_named() {
    let (stack, old) = stack();
    let bad = release(&stack, NEW, "exit 3");
    let (worked, said) = up(&stack, &bad, &[]);
    assert!(!worked && said.contains(&format!("so MinIO {OLD} runs again")), "{said}");
    assert_data(&stack);
    // replaced where it lay: nothing can bring the former one back, but the data
    let kept = format!("{old}-kept");
    std::fs::copy(&old, &kept).unwrap();
    std::fs::remove_file(&old).unwrap();
    std::fs::copy(&bad, &old).unwrap();
    let (worked, said) = up(&stack, &old, &[]);
    assert!(
        !worked && said.contains("is not MinIO") && said.contains("kestack snapshot restore before-minio-"),
        "{said}"
    );
    let (worked, said) = up(&stack, &kept, &[]);
    assert!(worked && !said.contains("another MinIO"), "{said}");
    assert_data(&stack);
}

#[test]
#[ignore = "needs the process engine"]
fn a_change_that_is_killed_is_taken_up_with_the_snapshot_of_before() {
    let (stack, old) = stack();
    let mut dice = seeded();
    for round in 0..times("KESTACK_E2E_KILLS", 5) {
        let lost = stack.root().join("minio/encrypted/old");
        let bad = release(&stack, NEW, &format!("# {round}\nrm -rf '{}'", lost.display()));
        let mut child = stack.command(&["up"]).env("MINIO_BINARY", &bad).spawn().unwrap();
        std::thread::sleep(dice.moment(Duration::from_millis(2500)));
        let _ = child.kill();
        ended(&mut child);
        // the user gives the change up: what the killed one lost is put back
        let (worked, said) = up(&stack, &old, &[]);
        let (worked, said) = if worked { (worked, said) } else { up(&stack, &old, &[]) };
        assert!(worked, "round {round}: {said}");
        assert_data(&stack);
        for name in snapshots(&stack) {
            stack.ok(&["snapshot", "remove", &name]);
        }
    }
}
