//! kestack killed at any moment: the next `up` finishes, `down --data` leaves nothing, nothing acknowledged is lost.
//! `KESTACK_E2E_KILLS` says how often each verb is killed.

use std::time::Duration;

use super::{Dice, PRECIOUS, assert_gone, assert_kept, precious, seeded, span, times};
use crate::bounded::ended;
use crate::sandbox::Sandbox;

/// Starts the verb and kills it at a moment within the span; says when.
fn killed(stack: &Sandbox, verb: &[&str], span: Duration, dice: &mut Dice) {
    let moment = dice.moment(span);
    let mut child = stack.start(verb);
    std::thread::sleep(moment);
    let _ = child.kill();
    ended(&mut child);
    eprintln!("{verb:?} killed after {moment:?}");
}

#[test]
#[ignore = "needs an engine"]
fn kills_of_up_end_in_a_verified_stack() {
    let mut dice = seeded();
    let warm = Sandbox::new("");
    let span = span(|| drop(warm.ok(&["up"])));
    for _ in 0..times("KESTACK_E2E_KILLS", 12) {
        let stack = Sandbox::new("");
        killed(&stack, &["up"], span, &mut dice);
        stack.ok(&["up"]);
        let report = stack.json(&["verify"]);
        assert_eq!(report["proven"], true, "{report}");
        assert_gone(&stack);
    }
}

#[test]
#[ignore = "needs an engine"]
fn kills_of_up_and_down_lose_nothing() {
    let mut dice = seeded();
    let stack = precious();
    let down = span(|| drop(stack.ok(&["down"])));
    let up = span(|| drop(stack.ok(&["up"])));
    for _ in 0..times("KESTACK_E2E_KILLS", 3) {
        killed(&stack, &["down"], down, &mut dice);
        killed(&stack, &["up"], up, &mut dice);
        stack.ok(&["up"]);
        assert_kept(&stack);
    }
    assert_eq!(stack.json(&["verify"])["proven"], true);
    assert_gone(&stack);
}

/// A reset takes what is not declared. Until it does, what is there can be read; after it nothing is in the way.
#[test]
#[ignore = "needs an engine"]
fn kills_of_reset_leave_a_stack_that_works() {
    let mut dice = seeded();
    let stack = precious();
    let span = span(|| drop(stack.ok(&["reset"])));
    for _ in 0..times("KESTACK_E2E_KILLS", 3) {
        stack.put("/encrypted/fleeting", PRECIOUS);
        killed(&stack, &["reset"], span, &mut dice);
        stack.ok(&["up"]);
        let (status, body) = stack.s3("GET", "/encrypted/fleeting", None);
        assert!(status == 404 || (status == 200 && body == PRECIOUS), "{status}");
        stack.put("/encrypted/after", PRECIOUS);
        assert_eq!(stack.read("/encrypted/after"), PRECIOUS);
    }
    stack.ok(&["reset"]);
    assert_eq!(stack.s3("GET", "/encrypted/after", None).0, 404);
    assert!(!stack.root().join("trash").exists());
    assert_eq!(stack.json(&["verify"])["proven"], true);
    assert_gone(&stack);
}

#[test]
#[ignore = "needs an engine"]
fn kills_of_down_with_data_leave_nothing_in_the_way() {
    let mut dice = seeded();
    let warm = precious();
    let span = span(|| drop(warm.ok(&["down", "--data"])));
    for round in 0..times("KESTACK_E2E_KILLS", 3) {
        let stack = Sandbox::new("");
        stack.ok(&["up"]);
        stack.put("/encrypted/fleeting", PRECIOUS);
        killed(&stack, &["down", "--data"], span, &mut dice);
        if round % 2 == 0 {
            stack.ok(&["up"]);
            assert_eq!(stack.json(&["verify"])["proven"], true);
        }
        assert_gone(&stack);
    }
}

#[test]
#[ignore = "needs an engine"]
fn a_killed_verify_is_mended_by_up() {
    let mut dice = seeded();
    let stack = precious();
    for _ in 0..4 {
        killed(&stack, &["verify"], Duration::from_millis(250), &mut dice);
        stack.ok(&["up"]);
        stack.ok(&["verify"]);
    }
    assert_kept(&stack);
}
