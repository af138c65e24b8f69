//! Killed at any moment: the next `up` finishes, `down --data` leaves nothing.

use std::time::{Duration, Instant};

use crate::engine::{cli, has_containers, kind};
use crate::sandbox::{Sandbox, enabled};

/// A small generator, so that a seed replays a run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// A generator with the seed of the environment, else a new one; it is printed.
fn seeded() -> Dice {
    let seed: u64 = std::env::var("KESTACK_E2E_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761 + 1);
    eprintln!("KESTACK_E2E_SEED={seed}");
    Dice(seed)
}

#[test]
fn thirty_kills_of_up_end_in_a_verified_stack() {
    if !enabled() {
        return;
    }
    let kills: u32 = std::env::var("KESTACK_E2E_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let mut dice = seeded();
    let span = full_up();
    for kill in 0..kills {
        let stack = Sandbox::new("");
        let moment = span * u32::try_from(dice.roll() % 1000).unwrap() / 1000;
        let mut child = stack.start(&["up"]);
        std::thread::sleep(moment);
        let _ = child.kill();
        child.wait().unwrap();
        eprintln!("kill {kill} after {moment:?}");
        stack.ok(&["up"]);
        let report = stack.json(&["verify"]);
        assert_eq!(report["proven"], true, "{report}");
        stack.ok(&["down", "--data"]);
        assert!(!stack.root().exists());
        assert_eq!(kind().members(&stack.name), Vec::<String>::new());
    }
}

fn full_up() -> Duration {
    let stack = Sandbox::new("");
    let start = Instant::now();
    stack.ok(&["up"]);
    start.elapsed()
}

#[test]
fn killed_containers_come_back_with_their_data() {
    if !enabled() || !has_containers() {
        return;
    }
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.put("/encrypted/kept", b"precious");
    for container in ["kes-server", "minio-server"] {
        kind().kill(&format!("{}-{container}", stack.name));
        let up = stack.json(&["up"]);
        assert!(up["changed"].as_u64().unwrap() > 0, "{up}");
        assert_eq!(stack.read("/encrypted/kept"), b"precious");
    }
    cli(&["rm", "-f", &format!("{}-minio-server", stack.name)]);
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/kept"), b"precious");
}

#[test]
fn a_killed_verify_or_reset_is_mended_by_up() {
    if !enabled() {
        return;
    }
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let mut dice = seeded();
    for verb in ["verify", "reset", "verify", "verify", "reset", "verify", "verify", "verify"] {
        let mut child = stack.start(&[verb]);
        let moment = Duration::from_millis(20 + dice.roll() % if verb == "verify" { 200 } else { 400 });
        std::thread::sleep(moment);
        let _ = child.kill();
        child.wait().unwrap();
        eprintln!("{verb} killed after {moment:?}");
        stack.ok(&["up"]);
        stack.ok(&["verify"]);
    }
}

#[test]
fn two_ups_at_once_queue() {
    if !enabled() {
        return;
    }
    let stack = Sandbox::new("");
    let mut first = stack.start(&["up"]);
    let mut second = stack.start(&["up"]);
    assert!(first.wait().unwrap().success());
    assert!(second.wait().unwrap().success());
    assert_eq!(stack.json(&["up"])["changed"], 0);
}
