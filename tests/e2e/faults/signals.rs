//! kestack asked to end by SIGINT, SIGTERM or SIGHUP: what it changed for a while is given back, the exit code says which
//! signal it was, and the engine answers everybody else. `KESTACK_E2E_SIGNALS` says how often `up` is interrupted.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{assert_gone, assert_kept, precious, seeded, span, times, until};
use crate::bounded::{Bounded as _, ended};
use crate::drill::{assert_nothing_left, evidence};
use crate::engine::{Kind, kind};
use crate::sandbox::{Sandbox, text};

const SIGNALS: [(Signal, i32); 3] = [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)];

fn tell(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// True if the program handles the signal, or has ended: `SigCgt` in proc(5).
fn handles(child: &Child, signal: Signal) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
    let caught = u64::from_str_radix(caught.trim(), 16).unwrap();
    caught & 1 << (signal.as_raw() - 1) != 0 || status.contains("State:\tZ")
}

/// Starts the verb, tells it the signal after a moment, and returns its exit code and its output.
fn interrupted(stack: &Sandbox, verb: &[&str], moment: Duration, signal: Signal) -> (Option<i32>, String) {
    let mut child = stack.command(verb).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until("its handlers are there", || handles(&child, signal));
    std::thread::sleep(moment);
    tell(&child, signal);
    let output = child.finished();
    let (status, said) = (output.status, text(&output.stderr));
    assert_eq!(status.signal(), None, "{verb:?} was ended by {signal:?} itself: {said}");
    eprintln!("{verb:?} got {signal:?} after {moment:?}: {:?}", status.code());
    (status.code(), said)
}

/// The engine answers its own program while kestack's service ends.
fn assert_engine_answers() {
    let program = match kind() {
        Kind::Podman => "podman",
        Kind::Docker => "docker",
        Kind::Process => return,
    };
    let start = Instant::now();
    let listed = Command::new(program).args(["ps", "--all"]).finished();
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    assert!(start.elapsed() < Duration::from_secs(2), "{program} ps took {:?}", start.elapsed());
}

#[test]
#[ignore = "needs an engine"]
fn an_interrupted_up_leaves_the_engine_to_others() {
    let mut dice = seeded();
    let warm = Sandbox::new("");
    let span = span(|| drop(warm.ok(&["up"])));
    let stack = Sandbox::new("");
    let rounds = usize::try_from(times("KESTACK_E2E_SIGNALS", 6)).unwrap();
    for (round, (signal, code)) in SIGNALS.into_iter().cycle().take(rounds).enumerate() {
        let (ended, said) = interrupted(&stack, &["up"], dice.moment(span), signal);
        assert_engine_answers();
        assert!(ended == Some(code) || ended == Some(0), "{ended:?}: {said}");
        assert!(ended == Some(0) || said.contains("interrupted by SIG") && said.contains("kestack up"), "{said}");
        if round % 2 == 0 {
            stack.ok(&["down", "--data"]);
        }
    }
    stack.ok(&["up"]);
    assert_eq!(stack.json(&["verify"])["proven"], true);
    assert_gone(&stack);
}

/// Objects of proofs and trials that are in the bucket.
fn canaries(stack: &Sandbox) -> Vec<String> {
    let (status, listing) = stack.s3("GET", "/encrypted?list-type=2&prefix=kestack-", None);
    let listing = text(&listing);
    assert_eq!(status, 200, "{listing}");
    listing.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())).collect()
}

#[test]
#[ignore = "needs an engine"]
fn an_interrupted_proof_gives_everything_back() {
    let mut dice = seeded();
    let stack = precious();
    let span = span(|| drop(stack.ok(&["verify"])));
    for (signal, code) in SIGNALS.into_iter().cycle().take(12) {
        let (ended, said) = interrupted(&stack, &["verify"], dice.moment(span), signal);
        assert!(ended == Some(code) || ended == Some(0), "{ended:?}: {said}");
        assert!(!said.contains("kestack up"), "{said}");
        assert_eq!(canaries(&stack), [""; 0], "after {signal:?}");
        stack.put("/encrypted/after", b"written while nothing is taken away");
    }
    // half a minute of faults, one after the other
    for (signal, code) in SIGNALS {
        let (ended, said) = interrupted(&stack, &["verify", "--faults"], dice.moment(Duration::from_secs(8)), signal);
        assert_eq!(ended, Some(code), "{said}");
        assert_eq!(canaries(&stack), [""; 0], "after {signal:?}");
        assert_kept(&stack);
    }
    assert_gone(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn what_a_killed_proof_left_goes_with_the_next_one() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.put("/encrypted/kestack-verify-0123456789abcdef", b"left");
    stack.put("/encrypted/kestack-drill-7-kes-down-3", b"left");
    stack.put("/encrypted/kestack-drill-notes.txt", b"a user's");
    stack.ok(&["verify"]);
    assert_eq!(canaries(&stack), ["kestack-drill-notes.txt"]);
    assert_gone(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn an_interrupted_fault_is_undone() {
    let mut dice = seeded();
    let stack = precious();
    for (fault, (signal, code)) in ["kes-down", "kes-deny", "kes-slow", "kes-flap"].iter().zip(SIGNALS.iter().cycle()) {
        let moment = Duration::from_millis(500) + dice.moment(Duration::from_secs(1));
        let (ended, said) = interrupted(&stack, &["chaos", fault, "--for", "60s"], moment, *signal);
        assert_eq!(ended, Some(*code), "{said}");
        assert!(!said.contains("kestack up"), "{said}");
        assert_kept(&stack);
    }
    assert_gone(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn an_interrupted_snapshot_leaves_the_servers_running() {
    let mut dice = seeded();
    let stack = precious();
    let span = span(|| drop(stack.ok(&["snapshot", "save", "first"])));
    for (round, (signal, code)) in SIGNALS.into_iter().cycle().take(6).enumerate() {
        let name = format!("s{round}");
        let (ended, said) = interrupted(&stack, &["snapshot", "save", &name], dice.moment(span), signal);
        assert!(ended == Some(code) || ended == Some(0), "{ended:?}: {said}");
        assert_kept(&stack);
    }
    let listed = stack.json(&["snapshot", "list"]);
    let names = listed["snapshots"].as_array().unwrap().iter().map(|snapshot| snapshot["name"].as_str().unwrap());
    stack.ok(&[vec!["snapshot", "remove"], names.collect()].concat());
    assert_gone(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn an_interrupted_deletion_of_a_key_leaves_the_servers_running() {
    let mut dice = seeded();
    let stack = precious();
    let named = |round: usize| format!("spare-{round}");
    let names: Vec<_> = (0..=6).map(named).collect();
    stack.ok(&[vec!["key", "create"], names.iter().map(String::as_str).collect()].concat());
    let span = span(|| drop(stack.ok(&["key", "delete", &named(6)])));
    for (round, (signal, code)) in SIGNALS.into_iter().cycle().take(6).enumerate() {
        let (ended, said) = interrupted(&stack, &["key", "delete", &named(round)], dice.moment(span), signal);
        assert!(ended == Some(code) || ended == Some(0), "{ended:?}: {said}");
        assert_kept(&stack);
    }
    assert_eq!(stack.json(&["up"])["changed"], 0);
    assert_gone(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn an_interrupted_drill_leaves_the_stack_and_nothing_else() {
    let mut dice = seeded();
    let stack = precious();
    let span = span(|| drop(stack.ok(&["drill"])));
    for (round, (signal, code)) in SIGNALS.into_iter().enumerate() {
        let name = format!("evidence-{round}.json");
        let verb = ["drill", "--evidence", &name];
        let (ended, said) = interrupted(&stack, &verb, dice.moment(span), signal);
        assert!(ended == Some(code) || ended == Some(0), "{ended:?}: {said}");
        assert_kept(&stack);
        assert_nothing_left(&stack);
        // a signal before there is anything to tell leaves none
        let written = stack.folder().join(name);
        if written.exists() {
            assert_eq!(evidence(&written)["verdict"] == "proven", ended == Some(0), "{said}");
        }
    }
    assert_gone(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn logs_that_are_followed_end_quietly() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    for (signal, _) in SIGNALS {
        let (ended, said) = interrupted(&stack, &["logs", "--follow"], Duration::from_millis(700), signal);
        assert_eq!((ended, said.as_str()), (Some(0), ""), "after {signal:?}");
    }
    assert_gone(&stack);
}

/// `nohup` ignores SIGHUP for what it starts, and kestack leaves it so.
#[test]
#[ignore = "needs an engine"]
fn a_signal_that_was_ignored_stays_ignored() {
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    let chaos = stack.command(&["chaos", "kes-deny", "--for", "3s"]);
    let mut nohup = Command::new("nohup");
    nohup.arg(chaos.get_program()).args(chaos.get_args()).current_dir(stack.folder());
    nohup.envs(chaos.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = nohup.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    tell(&child, Signal::HUP);
    assert!(ended(&mut child).success());
    assert_gone(&stack);
}
