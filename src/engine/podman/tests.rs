use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::super::fake::{FakeEngine, Reply};
use super::super::{Mount, PortMapping};
use super::*;

fn podman(engine: &FakeEngine) -> Podman {
    Podman::new(Socket::new(engine.socket()), "4.3.1".to_owned(), false).unwrap()
}

fn pod_spec() -> PodSpec {
    let host_ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    PodSpec {
        name: "s".to_owned(),
        labels: [(LABEL_STACK.to_owned(), "s".to_owned())].into(),
        ports: vec![PortMapping { host_ip, host_port: 17373, container_port: 7373 }],
    }
}

fn container_spec() -> ContainerSpec {
    ContainerSpec {
        name: "s-kes".to_owned(),
        pod: "s".to_owned(),
        image: "localhost/kestack/kes:1".to_owned(),
        command: vec!["server".to_owned()],
        env: [("A".to_owned(), "b".to_owned())].into(),
        labels: [(LABEL_STACK.to_owned(), "s".to_owned())].into(),
        mounts: vec![Mount { source: "/host".into(), target: PathBuf::from("/etc/kes"), read_only: true }],
        capabilities: vec!["IPC_LOCK".to_owned()],
        stop_timeout: 7,
    }
}

#[test]
fn a_pod_is_asked_for_like_this() {
    let expected = json!({
        "name": "s",
        "hostname": "s",
        "labels": { "io.kestack.stack": "s" },
        "portmappings": [{ "host_ip": "127.0.0.1", "host_port": 17373, "container_port": 7373 }],
        "exit_policy": "continue",
        "userns": {},
    });
    assert_eq!(body::pod(&pod_spec(), false), expected);
    let rootless = body::pod(&pod_spec(), true);
    assert_eq!(rootless["userns"], json!({ "nsmode": "keep-id", "value": "uid=1000,gid=1000" }));
}

#[tokio::test]
async fn an_address_of_ipv6_needs_a_network_that_has_it() {
    for (answer, works) in [(r#"{ "ipv6_enabled": false }"#, false), (r#"{ "ipv6_enabled": true }"#, true)] {
        let engine = FakeEngine::start(move |_| Reply::Answer(200, answer));
        let podman = podman(&engine);
        for host in ["::1", "::"] {
            let checked = podman.check_address(host.parse().unwrap()).await;
            assert_eq!(checked.is_ok(), works, "{host}: {checked:?}");
            assert!(checked.is_ok() || checked.unwrap_err().to_string().contains("host: 127.0.0.1"));
        }
        podman.check_address(Ipv4Addr::LOCALHOST.into()).await.unwrap();
        let asked = engine.requests().iter().all(|request| request.contains("/libpod/networks/podman/json"));
        assert!(asked, "{:?}", engine.requests());
    }
}

#[test]
fn ports_of_all_addresses_name_none() {
    let mut spec = pod_spec();
    spec.ports[0].host_ip = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    assert_eq!(body::pod(&spec, false)["portmappings"][0]["host_ip"], "");
}

#[test]
fn a_container_is_asked_for_like_this() {
    let expected = json!({
        "name": "s-kes",
        "pod": "s",
        "image": "localhost/kestack/kes:1",
        "command": ["server"],
        "env": { "A": "b" },
        "labels": { "io.kestack.stack": "s" },
        "user": "1000:1000",
        "cap_drop": ["ALL"],
        "cap_add": ["IPC_LOCK"],
        "no_new_privileges": true,
        "read_only_filesystem": true,
        "mounts": [
            { "type": "bind", "source": "/host", "destination": "/etc/kes",
              "options": ["ro", "rbind", "nosuid", "nodev", "z"] },
            { "type": "tmpfs", "destination": "/tmp", "options": ["size=64m", "mode=1777"] },
        ],
        "stop_timeout": 7,
        "log_configuration": { "driver": "k8s-file", "size": 10_000_000 },
    });
    assert_eq!(body::container(&container_spec(), User::Stack), expected);
    let rootless = body::container(&container_spec(), User::Mapped);
    assert_eq!((&rootless["cap_add"], &rootless["user"]), (&json!([]), &json!("1000:1000")));
    // one who may use root's Podman can give files to nobody
    let caller = User::Caller { uid: 1001, gid: 100 };
    assert_eq!(body::container(&container_spec(), caller)["user"], "1001:100");
    assert_eq!([User::Stack, User::Mapped, caller].map(User::owner), [Some(1000), None, None]);
}

#[tokio::test]
async fn a_pod_and_its_members_become_one_state() {
    let engine = FakeEngine::start(|line| {
        if line.contains("/pods/s/json") {
            Reply::Answer(200, r#"{"Id":"p1","Name":"s","State":"Running","Labels":{"io.kestack.stack":"s"}}"#)
        } else {
            Reply::Answer(
                200,
                r#"[{"Names":["p1-infra"],"Pod":"p1","PodName":"s","IsInfra":true,"State":"running","ImageID":"i0","Labels":null,
                     "Ports":[{"host_ip":"127.0.0.1","host_port":17373,"container_port":7373,"range":2,"protocol":"tcp"}]},
                    {"Names":["s-kes"],"Pod":"p1","PodName":"s","IsInfra":false,"State":"exited","Exited":true,"ExitCode":3,
                     "ImageID":"i1","Labels":{"io.kestack.role":"kes"},"Ports":null},
                    {"Names":["foreign"],"Pod":"p2","IsInfra":false,"State":"running","ImageID":"i2"}]"#,
            )
        }
    });
    let pod = podman(&engine).pod("s").await.unwrap().unwrap();
    assert!(pod.running);
    assert_eq!(
        pod.ports.iter().map(|port| (port.host_port, port.container_port)).collect::<Vec<_>>(),
        [(17373, 7373), (17374, 7374)]
    );
    assert_eq!(pod.containers.len(), 1);
    assert_eq!(pod.containers[0].name, "s-kes");
    assert_eq!(pod.containers[0].exit_code, Some(3));
    assert!(!pod.containers[0].running);
}

#[tokio::test]
async fn an_empty_engine_says_null() {
    let engine = FakeEngine::start(|line| match line {
        line if line.contains("/pods/s/json") => {
            Reply::Answer(404, r#"{"cause":"no such pod","message":"x","response":404}"#)
        }
        _ => Reply::Answer(200, "null"),
    });
    let podman = podman(&engine);
    assert_eq!(podman.pod("s").await.unwrap(), None);
    assert!(podman.pods().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_pod_that_goes_while_podman_looks_is_absent() {
    const GOES: &str = r#"{"cause":"no such pod","message":"no pod with ID 58d8 found in database: no such pod"}"#;
    let engine = FakeEngine::start(|_| Reply::Answer(500, GOES));
    assert_eq!(podman(&engine).pod("s").await.unwrap(), None);
}

#[tokio::test]
async fn a_pod_that_does_not_start_is_removed_again() {
    let engine = FakeEngine::start(|line| match line {
        line if line.contains("/pods/create") => Reply::Answer(201, r#"{"Id":"p1"}"#),
        line if line.contains("/start") => Reply::Answer(
            409,
            r#"{"Errs":["runc create failed: error setting rlimit type 7: operation not permitted"],"Id":"p1"}"#,
        ),
        line if line.contains("/kill") => Reply::Answer(409, ""),
        _ => Reply::Answer(200, r#"{"Err":null,"Id":"p1"}"#),
    });
    let error = podman(&engine).create_pod(&pod_spec()).await.unwrap_err();
    let EngineError::Refused { call, obstacle: Obstacle::Conflict, hint: Some(hint), .. } = error else {
        panic!("{error}")
    };
    assert_eq!(call, "podman pod start s");
    assert!(hint.contains("default_ulimits"), "{hint}");
    let lines: Vec<_> =
        engine.requests().iter().map(|request| request.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "POST /v4.0.0/libpod/pods/create",
            "POST /v4.0.0/libpod/pods/s/start",
            "POST /v4.0.0/libpod/pods/s/kill?signal=SIGTERM",
            "DELETE /v4.0.0/libpod/pods/s?force=true",
        ]
    );
}

#[tokio::test]
async fn removing_is_tried_a_bounded_number_of_times() {
    let engine = FakeEngine::start(|line| match line {
        line if line.starts_with("DELETE") => Reply::Answer(
            500,
            r#"{"cause":"timed out waiting for file","message":"removing: timed out waiting for file","response":500}"#,
        ),
        _ => Reply::Answer(200, "{}"),
    });
    let error = podman(&engine).remove_pod("s").await.unwrap_err().to_string();
    assert!(error.starts_with("podman pod rm --force s: removing: timed out"), "{error}");
    assert_eq!(engine.requests().iter().filter(|request| request.starts_with("DELETE")).count(), REMOVALS);
}

#[tokio::test]
async fn only_rootful_podman_is_asked_for_the_ports_of_what_is_removed() {
    for (rootless, looks) in [(true, 0), (false, 1)] {
        let engine = FakeEngine::start(|line| match line {
            line if line.starts_with("GET") => Reply::Answer(404, "{}"),
            _ => Reply::Answer(200, "{}"),
        });
        let socket = Socket::new(engine.socket());
        Podman::new(socket, "4.3.1".to_owned(), rootless).unwrap().remove_pod("s").await.unwrap();
        let requests = engine.requests();
        assert_eq!(requests.iter().filter(|request| request.starts_with("GET")).count(), looks, "{requests:?}");
        assert_eq!(requests.len(), looks + 2);
    }
}

#[tokio::test]
async fn refusals_keep_the_engines_words() {
    for (body, expected) in [
        (r#"{"cause":"image not known","message":"x: image not known","response":500}"#, "x: image not known"),
        (r#"{"cause":"that name is already in use","message":"creating","response":500}"#, "creating: that name"),
        ("Not Found", "Not Found"),
    ] {
        let engine = FakeEngine::start(move |_| Reply::Answer(500, body));
        let error = podman(&engine).create_container(&container_spec()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn answers_that_make_no_sense_are_reported_as_such() {
    let engine = FakeEngine::start(|_| Reply::Answer(200, "<html>"));
    let error = podman(&engine).pods().await.unwrap_err();
    assert!(matches!(error, EngineError::Answer { .. }), "{error}");
    let engine = FakeEngine::start(|_| Reply::Cut(""));
    let error = podman(&engine).pods().await.unwrap_err();
    assert!(matches!(error, EngineError::Connection { .. }), "{error}");
}

#[tokio::test]
async fn what_is_so_already_is_success() {
    let engine = FakeEngine::start(|line| match line {
        line if line.contains("/absent") => {
            Reply::Answer(404, r#"{"cause":"no such container","message":"no such container","response":404}"#)
        }
        _ => Reply::Answer(304, ""),
    });
    let podman = podman(&engine);
    podman.start_container("running").await.unwrap();
    podman.stop_container("stopped", Duration::from_secs(1)).await.unwrap();
    podman.stop_container("absent", Duration::from_secs(1)).await.unwrap();
    podman.remove_container("absent").await.unwrap();
    podman.remove_pod("absent").await.unwrap();
    assert!(podman.start_container("absent").await.is_err());
    assert_eq!(podman.image("absent").await.unwrap(), None);
}

#[tokio::test]
async fn layers_that_nobody_knows_make_way_for_a_container() {
    const TAKEN: &str = r#"{"cause":"that name is already in use","message":"creating container storage: the container name \"s-kes\" is already in use by 74610809201feab9e036541e0f882951528959f935096a9a467cb951f17df267. You have to remove that container to be able to reuse that name: that name is already in use","response":500}"#;
    for (known, expected) in [(404, 4), (204, 2)] {
        let tries = std::sync::atomic::AtomicUsize::new(0);
        let engine = FakeEngine::start(move |line| match line {
            line if line.contains("/exists") => Reply::Answer(known, "{}"),
            line if line.starts_with("DELETE") => Reply::Answer(200, "[]"),
            _ if tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 => Reply::Answer(500, TAKEN),
            _ => Reply::Answer(201, "{}"),
        });
        let created = podman(&engine).create_container(&container_spec()).await;
        assert_eq!(created.is_ok(), known == 404, "{created:?}");
        assert_eq!(engine.requests().len(), expected);
    }
}
