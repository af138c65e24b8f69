//! Whatever happens to a stack: the next `up` repairs it, or says what to do; data and keys are never touched. What was
//! done to which engine, and how often, stands in `tests/README.md`.

use std::time::{Duration, Instant};

use crate::sandbox::Sandbox;

mod daemon;
mod dice;
mod engine;
mod hand;
mod host;
mod interrupted;
mod proxy;
mod signals;
mod together;

pub(crate) use dice::{Dice, seeded};

/// How often something random is done: what the environment says, else this.
pub(crate) fn times(variable: &str, default: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What must survive every fault.
const PRECIOUS: &[u8] = b"precious";

/// A stack that is up, with an object under its own key and one under another.
pub(crate) fn precious() -> Sandbox {
    let stack = Sandbox::new("");
    fill(&stack);
    stack
}

/// Brings a stack up and stores in it what must survive.
fn fill(stack: &Sandbox) {
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", PRECIOUS);
    stack.ok(&["bucket", "create", "other", "--key", "another"]);
    stack.put("/other/kept", PRECIOUS);
}

/// Nothing that was acknowledged is lost.
fn assert_kept(stack: &Sandbox) {
    for path in ["/encrypted/kept", "/other/kept"] {
        assert_eq!(stack.read(path), PRECIOUS, "{path}");
    }
}

/// `up` repairs whatever happened, has then nothing more to do, and nothing is lost.
pub(crate) fn assert_mended(stack: &Sandbox) {
    stack.ok(&["up"]);
    assert_kept(stack);
    assert_eq!(stack.json(&["verify"])["proven"], true);
    assert_eq!(stack.json(&["up"])["changed"], 0);
}

/// Nothing of the stack is left.
fn assert_gone(stack: &Sandbox) {
    let said = stack.ok(&["down", "--data"]);
    let left: Vec<_> =
        std::fs::read_dir(stack.root()).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    assert!(!stack.root().exists(), "{left:?}\n{said}");
    assert_eq!(crate::engine::kind().members(&stack.name), Vec::<String>::new());
}

/// How long something takes when nothing happens to it.
fn span(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Waits for something that must come.
pub(crate) fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}
