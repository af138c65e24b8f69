//! Several at once: they queue, and never mix.

use super::{assert_kept, precious, seeded, span, until};
use crate::bounded::ended;
use crate::engine::kind;
use crate::sandbox::Sandbox;

#[test]
#[ignore = "needs an engine"]
fn two_ups_at_once_queue() {
    let stack = Sandbox::new("");
    let mut first = stack.start(&["up"]);
    let mut second = stack.start(&["up"]);
    assert!(ended(&mut first).success());
    assert!(ended(&mut second).success());
    assert_eq!(stack.json(&["up"])["changed"], 0);
}

/// Whoever comes first: at the end the stack is as the second left it.
#[test]
#[ignore = "needs an engine"]
fn down_during_up_waits_and_leaves_the_data() {
    let mut dice = seeded();
    let stack = precious();
    stack.ok(&["down"]);
    let span = span(|| drop(stack.ok(&["up"])));
    for _ in 0..3 {
        stack.ok(&["down"]);
        let mut up = stack.start(&["up"]);
        std::thread::sleep(dice.moment(span));
        stack.ok(&["down"]);
        assert!(ended(&mut up).success());
        stack.ok(&["up"]);
        assert_kept(&stack);
    }
}

#[test]
#[ignore = "needs an engine"]
fn down_with_data_during_up_leaves_all_or_nothing() {
    let stack = Sandbox::new("");
    let mut up = stack.start(&["up"]);
    until("`up` has begun", || stack.root().join("certs").exists());
    stack.ok(&["down", "--data"]);
    assert!(ended(&mut up).success(), "it had the lock, and finished before");
    assert!(!stack.root().exists());
    assert_eq!(kind().members(&stack.name), Vec::<String>::new());
}
