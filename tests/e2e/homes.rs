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

/// Several engines of one kind.
mod engines {
    use super::*;

    /// The same record, as if the stack were up on an engine at that address.
    fn record_at(stack: &Sandbox, address: &str) {
        let path = stack.root().join("config/engine");
        let record = std::fs::read_to_string(&path).unwrap();
        let (line, ports) = record.split_once('\n').unwrap();
        let (home, _) = line.split_once(" at ").unwrap();
        std::fs::write(&path, format!("{home} at {address}\n{ports}")).unwrap();
    }

    mod containers {
        use super::*;
        use crate::engine::cli;

        #[test]
        #[ignore = "needs Podman or Docker"]
        fn a_stack_is_on_one_engine_of_its_kind() {
            let stack = Sandbox::new("");
            stack.ok(&["up"]);
            stack.put("/encrypted/kept", b"precious");
            let path = stack.root().join("config/engine");
            let record = std::fs::read_to_string(&path).unwrap();
            // whoever has the pod is the engine, by whichever address
            record_at(&stack, "tcp://192.0.2.7:2376");
            assert!(stack.ok(&["status"]).contains("running"));
            stack.ok(&["up"]);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), record);
            match kind() {
                Kind::Docker => drop(cli(&["rm", "--force", &format!("{}-infra", stack.name)])),
                _ => drop(cli(&["pod", "rm", "--force", &stack.name])),
            }
            if kind() == Kind::Docker {
                for server in ["kes-server", "minio-server"] {
                    cli(&["rm", "--force", &format!("{}-{server}", stack.name)]);
                }
            }
            record_at(&stack, "tcp://192.0.2.7:2376");
            for arguments in [&["up"][..], &["down"], &["down", "--data"], &["status"]] {
                let error = stack.fails(arguments, 6);
                assert!(error.contains("at tcp://192.0.2.7:2376") && error.contains("--host tcp://"), "{error}");
            }
            // one on this machine that ended, and one of an older kestack, which may be any
            record_at(&stack, "unix:///nowhere/engine.sock");
            assert!(stack.ok(&["plan"]).contains("create"));
            std::fs::write(&path, format!("{}\n", record.split_once(" at ").unwrap().0.split(" on ").next().unwrap()))
                .unwrap();
            stack.ok(&["up"]);
            let written = std::fs::read_to_string(&path).unwrap();
            assert_eq!(written.lines().next(), record.lines().next());
            assert_eq!(stack.read("/encrypted/kept"), b"precious");
        }
    }
}
