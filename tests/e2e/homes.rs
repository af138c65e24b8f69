//! A stack moves from one engine to another only when it is down, and takes its data with it. Its ports are known without
//! the engine, whose word counts as soon as the stack's KES does not answer on them.

use std::net::TcpListener;

use crate::bounded::Bounded as _;
use crate::engine::{Kind, free_port, kind};
use crate::sandbox::Sandbox;

#[test]
#[ignore = "needs an engine"]
fn ports_are_known_without_the_engine_and_never_mistaken() {
    let (stack, other) = (Sandbox::new(""), Sandbox::new(""));
    stack.ok(&["up"]);
    other.ok(&["up"]);
    let (endpoint, kes) = (stack.variable("AWS_ENDPOINT_URL_S3"), stack.variable("KES_SERVER"));
    let path = stack.root().join("config/engine");
    let record = std::fs::read_to_string(&path).unwrap();
    let port = kes.rsplit(':').next().unwrap();
    assert!(record.contains(&format!("port 7373 at 127.0.0.1:{port}\n")), "{record}");
    let unreachable = ["sandbox", "list", "--host", "unix:///nowhere/engine.sock"];
    stack.ok(&unreachable);

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free_port();
    let moved = |to: u16| record.replace(&format!(":{port}\n"), &format!(":{to}\n"));
    for (what, wrong) in [
        ("written by an older kestack", record.lines().next().unwrap().to_owned()),
        ("of another stack", std::fs::read_to_string(other.root().join("config/engine")).unwrap()),
        ("of a server that has moved", moved(nobody)),
        ("of a port where nothing answers", moved(silent.local_addr().unwrap().port())),
        ("torn", format!("{}\nport 73", record.lines().next().unwrap())),
    ] {
        std::fs::write(&path, wrong).unwrap();
        assert_eq!(stack.variable("AWS_ENDPOINT_URL_S3"), endpoint, "a record {what}");
        assert!(stack.ok(&["sandbox", "create", "a"]).contains("'a' was created"));
        stack.ok(&["sandbox", "drop", "a"]);
        if kind() != Kind::Process {
            assert!(!stack.run(&unreachable).status.success(), "a record {what} is not believed");
        }
    }
    assert_eq!(other.json(&["sandbox", "list"])["sandboxes"], serde_json::json!([]));
    stack.ok(&["up"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), record, "`up` writes it again");
    stack.ok(&["down"]);
    stack.fails(&["sandbox", "create", "a"], 3);
}

/// From containers to processes and back.
mod containers {
    use super::*;

    #[test]
    #[ignore = "needs Podman or Docker"]
    fn a_stack_is_up_on_one_engine_and_moves_with_its_data() {
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
        let output = stack.command(&["verify"]).env("KESTACK_ENGINE", "process").finished();
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
}
