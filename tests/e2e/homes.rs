//! A stack moves from one engine to another only when it is down, and takes its data with it.

use crate::engine::{Kind, kind};
use crate::sandbox::{Sandbox, enabled};

#[test]
fn a_stack_is_up_on_one_engine_and_moves_with_its_data() {
    if !enabled() || kind() == Kind::Process {
        return;
    }
    let here = kind().name();
    let stack = Sandbox::new("");
    stack.ok(&["up"]);
    stack.put("/encrypted/first", b"in a container");
    for arguments in [
        &["up", "--engine", "process"][..],
        &["down", "--data", "--engine", "process"],
        &["status", "--engine", "process"],
    ] {
        let error = stack.fails(arguments, 6);
        assert!(
            error.contains(&format!("is up on {here}")) && error.contains(&format!("kestack down --engine {here}")),
            "{error}"
        );
    }
    assert_eq!(stack.json(&["up", "--engine", "auto"])["changed"], 0, "auto finds what runs");
    stack.ok(&["down"]);
    let elsewhere = |arguments: &[&str]| stack.ok(&[arguments, &["--engine", "process"]].concat());
    elsewhere(&["up"]);
    let output = stack.command(&["verify"]).env("KESTACK_ENGINE", "process").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    elsewhere(&["key", "create", "made-elsewhere"]);
    elsewhere(&["bucket", "create", "elsewhere", "--key", "made-elsewhere"]);
    elsewhere(&["down"]);
    stack.ok(&["up"]);
    assert_eq!(stack.read("/encrypted/first"), b"in a container");
    stack.put("/elsewhere/second", b"under the key of the other engine");
    assert_eq!(stack.read("/elsewhere/second"), b"under the key of the other engine");
    assert_eq!(stack.json(&["verify"])["proven"], true);
}
