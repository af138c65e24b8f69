use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::super::fake::{FakeEngine, Reply};
use super::super::{LABEL_ROLE, Mount, PortMapping};
use super::*;

const API: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };
const INFRA_RUNS: &str = r#"{"Id":"i","Name":"/s-infra","Image":"sha256:00","State":{"Status":"running","ExitCode":0},
    "Config":{"Labels":{"io.kestack.pod":"s","io.kestack.role":"infra","io.kestack.stack":"s","io.kestack.digest":"d"}},
    "HostConfig":{"PortBindings":{"7373/tcp":[{"HostIp":"127.0.0.1","HostPort":"17373"}],"53/udp":null}}}"#;
const KES_ENDED: &str = r#"{"Id":"k","Name":"/s-kes","Image":"sha256:01","State":{"Status":"exited","ExitCode":137},
    "Config":{"Labels":{"io.kestack.pod":"s","io.kestack.role":"kes","io.kestack.stack":"s","io.kestack.digest":"e"}},
    "HostConfig":{"PortBindings":null}}"#;
const KES_CREATED: &str = r#"{"Id":"k","Name":"/s-kes","Image":"sha256:01","State":{"Status":"created","ExitCode":0},
    "Config":{"Labels":{"io.kestack.pod":"s"}},"HostConfig":{"PortBindings":{}}}"#;
const FOREIGN: &str = r#"{"Id":"f","Name":"/s-infra","Image":"sha256:02","State":{"Status":"running"},
    "Config":{"Labels":null},"HostConfig":{"PortBindings":{}}}"#;

fn docker(engine: &FakeEngine) -> Docker {
    Docker::new(Socket::new(engine.socket()), "20.10.24".to_owned(), API, User::Stack).unwrap()
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

/// The request lines, without bodies.
fn lines(engine: &FakeEngine) -> Vec<String> {
    engine.requests().iter().map(|request| request.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn an_infra_container_is_asked_for_like_this() {
    let expected = json!({
        "Image": "localhost/kestack/pause:1",
        "Hostname": "s",
        "Labels": { "io.kestack.stack": "s", "io.kestack.pod": "s", "io.kestack.role": "infra" },
        "User": "65534:65534",
        "ExposedPorts": { "7373/tcp": {} },
        "StopSignal": "SIGKILL",
        "HostConfig": {
            "PortBindings": { "7373/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "17373" }] },
            "LogConfig": { "Type": "none" },
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": true,
            "UsernsMode": "host",
        },
    });
    assert_eq!(body::infra(&pod_spec(), "localhost/kestack/pause:1"), expected);
}

#[test]
fn a_member_is_asked_for_like_this() {
    let expected = json!({
        "Image": "localhost/kestack/kes:1",
        "Cmd": ["server"],
        "Env": ["A=b"],
        "Labels": { "io.kestack.stack": "s", "io.kestack.pod": "s" },
        "User": "1000:1000",
        "StopTimeout": 7,
        "HostConfig": {
            "NetworkMode": "container:s-infra",
            "Binds": ["/host:/etc/kes:ro,z"],
            "Tmpfs": { "/tmp": "size=64m,mode=1777" },
            "LogConfig": { "Type": "json-file", "Config": { "max-size": "10m", "max-file": "1" } },
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": true,
            "UsernsMode": "host",
        },
    });
    assert_eq!(body::member(&container_spec(), "container:s-infra", User::Stack).unwrap(), expected);
    let caller = User::Caller { uid: 501, gid: 20 };
    assert_eq!(body::member(&container_spec(), "n", caller).unwrap()["User"], "501:20");
    assert_eq!(body::member(&container_spec(), "n", User::Mapped).unwrap()["User"], "0:0");
}

#[tokio::test]
async fn a_path_that_docker_cannot_mount_is_refused_before_anything_is_asked() {
    let engine = FakeEngine::start(|_| Reply::Answer(500, ""));
    let mut spec = container_spec();
    spec.mounts[0].source = "/with:colon".into();
    let error = docker(&engine).create_container(&spec).await.unwrap_err().to_string();
    assert!(error.contains("'/with:colon'"), "{error}");
    assert!(engine.requests().is_empty());
}

#[tokio::test]
async fn what_carries_the_pods_name_becomes_one_state() {
    let engine = FakeEngine::start(|line| match line {
        line if line.contains("containers/json") => Reply::Answer(200, r#"[{"Id":"k"},{"Id":"i"},{"Id":"gone"}]"#),
        line if line.contains("/i/json") => Reply::Answer(200, INFRA_RUNS),
        line if line.contains("/k/json") => Reply::Answer(200, KES_ENDED),
        _ => Reply::Answer(404, r#"{"message":"No such container: gone"}"#),
    });
    let docker = docker(&engine);
    let pod = docker.pod("s").await.unwrap().unwrap();
    assert!(pod.running);
    assert_eq!(pod.labels, [(LABEL_STACK.to_owned(), "s".to_owned()), ("io.kestack.digest".into(), "d".into())].into());
    assert_eq!(pod.ports, pod_spec().ports);
    assert_eq!(pod.containers.len(), 1);
    assert_eq!((pod.containers[0].name.as_str(), pod.containers[0].exit_code), ("s-kes", Some(137)));
    assert_eq!(pod.containers[0].image, "01");
    assert_eq!(pod.containers[0].labels[LABEL_ROLE], "kes");
    assert!(!pod.containers[0].running);
    assert_eq!(docker.pods().await.unwrap(), [pod]);
}

#[tokio::test]
async fn members_without_their_network_are_a_pod_that_must_be_made_again() {
    let engine = FakeEngine::start(|line| match line {
        line if line.contains("containers/json") => Reply::Answer(200, r#"[{"Id":"k"}]"#),
        _ => Reply::Answer(200, KES_ENDED),
    });
    let pod = docker(&engine).pod("s").await.unwrap().unwrap();
    assert!(!pod.running && pod.ports.is_empty());
    assert_eq!(pod.labels[LABEL_STACK], "s");
    assert!(!pod.labels.contains_key(super::super::LABEL_DIGEST));
}

#[tokio::test]
async fn a_foreign_container_of_the_infras_name_is_a_foreign_pod() {
    let engine = FakeEngine::start(|line| match line {
        line if line.contains("containers/json") => Reply::Answer(200, "[]"),
        line if line.contains("/s-infra/json") => Reply::Answer(200, FOREIGN),
        _ => Reply::Answer(404, r#"{"message":"No such container: x"}"#),
    });
    let docker = docker(&engine);
    assert!(!docker.pod("s").await.unwrap().unwrap().labels.contains_key(LABEL_STACK));
    assert_eq!(docker.pod("other").await.unwrap(), None);
}

#[tokio::test]
async fn the_image_of_the_infra_is_brought_in_when_it_is_missing() {
    let creations = std::sync::atomic::AtomicUsize::new(0);
    let engine = FakeEngine::start(move |line| match line {
        line if line.contains("/containers/create") => {
            match creations.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => Reply::Answer(404, r#"{"message":"No such image: localhost/kestack/pause:1"}"#),
                _ => Reply::Answer(201, r#"{"Id":"i"}"#),
            }
        }
        line if line.contains("/images/localhost") => Reply::Answer(404, r#"{"message":"No such image"}"#),
        line if line.contains("/images/load") => Reply::Cut("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        _ => Reply::Answer(204, ""),
    });
    docker(&engine).create_pod(&pod_spec()).await.unwrap();
    let lines = lines(&engine);
    assert!(lines.iter().any(|line| line.contains("/images/load")), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "POST /v1.41/containers/s-infra/start");
}

#[tokio::test]
async fn what_a_killed_kestack_created_is_replaced_and_nothing_else() {
    for (holder, replaced) in [(KES_CREATED, true), (KES_ENDED, false), (FOREIGN, false)] {
        let creations = std::sync::atomic::AtomicUsize::new(0);
        let engine = FakeEngine::start(move |line| match line {
            line if line.contains("/containers/create") => {
                match creations.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                    0 => {
                        Reply::Answer(409, r#"{"message":"The container name \"/s-kes\" is already in use by \"k\""}"#)
                    }
                    _ => Reply::Answer(201, r#"{"Id":"k"}"#),
                }
            }
            line if line.starts_with("DELETE") => Reply::Answer(204, ""),
            _ => Reply::Answer(200, holder),
        });
        let created = docker(&engine).create_container(&container_spec()).await;
        assert_eq!(created.is_ok(), replaced, "{created:?}");
        assert_eq!(lines(&engine).iter().any(|line| line.starts_with("DELETE")), replaced);
    }
}

/// A killed kestack's request is under way: the name is taken, but no container has it yet.
#[tokio::test]
async fn what_comes_into_being_is_waited_for_and_replaced() {
    let requests = std::sync::atomic::AtomicUsize::new(0);
    let engine = FakeEngine::start(move |line| {
        let count = requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match line {
            line if line.contains("/containers/create") && count < 6 => {
                Reply::Answer(409, r#"{"message":"The container name \"/s-kes\" is already in use by \"k\""}"#)
            }
            line if line.contains("/containers/create") => Reply::Answer(201, r#"{"Id":"k"}"#),
            line if line.starts_with("DELETE") => Reply::Answer(204, ""),
            _ if count < 5 => Reply::Answer(404, r#"{"message":"No such container: s-kes"}"#),
            _ => Reply::Answer(200, KES_CREATED),
        }
    });
    docker(&engine).create_container(&container_spec()).await.unwrap();
    let methods: Vec<_> = lines(&engine).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(methods, ["POST", "GET", "POST", "GET", "POST", "GET", "DELETE", "POST"]);
}

#[tokio::test]
async fn a_pod_whose_port_is_taken_names_the_holder_and_is_removed_again() {
    let engine = FakeEngine::start(|line| match line {
        line if line.contains("/containers/create") => Reply::Answer(201, r#"{"Id":"i"}"#),
        line if line.contains("/start") => {
            Reply::Answer(500, r#"{"message":"Bind for 127.0.0.1:17373 failed: port is already allocated"}"#)
        }
        line if line.contains("containers/json") && line.contains("publish") => Reply::Answer(200, r#"[{"Id":"i"}]"#),
        line if line.contains("containers/json") => Reply::Answer(200, r#"[{"Id":"j"}]"#),
        line if line.starts_with("GET") => Reply::Answer(200, INFRA_RUNS),
        _ => Reply::Answer(204, ""),
    });
    let error = docker(&engine).create_pod(&pod_spec()).await.unwrap_err().to_string();
    assert!(error.contains("pod 's' publishes port 17373: stop it with `docker stop s-infra`"), "{error}");
    assert!(lines(&engine).last().unwrap().starts_with("DELETE /v1.41/containers/i?"), "{:?}", lines(&engine));
}

#[tokio::test]
async fn a_removal_that_is_under_way_is_waited_for() {
    let engine = FakeEngine::start(|line| match line {
        line if line.starts_with("DELETE") => {
            Reply::Answer(409, r#"{"message":"removal of container x is already in progress"}"#)
        }
        _ => Reply::Answer(200, r#"{"StatusCode":137}"#),
    });
    docker(&engine).remove_container("x").await.unwrap();
    assert_eq!(lines(&engine).last().unwrap(), "POST /v1.41/containers/x/wait?condition=removed");
}

/// Containers inherit the labels of their image, whoever runs it.
#[tokio::test]
async fn a_container_that_only_has_the_labels_is_in_no_pod() {
    let engine = FakeEngine::start(|line| match line {
        line if line.contains("containers/json") => Reply::Answer(200, r#"[{"Id":"h"}]"#),
        line if line.contains("/containers/s-infra/") => Reply::Answer(404, r#"{"message":"No such container"}"#),
        line if line.starts_with("GET") => Reply::Answer(
            200,
            r#"{"Id":"h","Name":"/shop","Image":"sha256:02","State":{"Status":"running"},"HostConfig":{},"Config":{"Labels":
               {"io.kestack.stack":"s","io.kestack.pod":"s","io.kestack.role":"infra","io.kestack.expires":"2020-01-01T00:00:00Z",
                "io.kestack.folder":"/home/victim/project"}}}"#,
        ),
        _ => Reply::Answer(204, ""),
    });
    let docker = docker(&engine);
    assert_eq!(docker.pods().await.unwrap(), []);
    assert_eq!(docker.pod("s").await.unwrap(), None);
    docker.remove_pod("s").await.unwrap();
    assert!(lines(&engine).iter().all(|line| line.starts_with("GET")), "{:?}", lines(&engine));
}

#[tokio::test]
async fn removing_is_tried_a_bounded_number_of_times() {
    let engine = FakeEngine::start(|line| match line {
        line if line.starts_with("DELETE") => Reply::Answer(500, r#"{"message":"driver failed to remove"}"#),
        line if line.contains("containers/json") => Reply::Answer(200, r#"[{"Id":"i"}]"#),
        _ => Reply::Answer(200, INFRA_RUNS),
    });
    let error = docker(&engine).remove_pod("s").await.unwrap_err().to_string();
    assert!(error.contains("driver failed to remove"), "{error}");
    assert_eq!(lines(&engine).iter().filter(|line| line.starts_with("DELETE")).count(), REMOVALS);
}

#[tokio::test]
async fn what_is_so_already_is_success() {
    let engine = FakeEngine::start(|line| match line {
        line if line.contains("containers/json") => Reply::Answer(200, "[]"),
        line if line.contains("absent") => Reply::Answer(404, r#"{"message":"No such container: absent"}"#),
        _ => Reply::Answer(304, ""),
    });
    let docker = docker(&engine);
    docker.start_container("running").await.unwrap();
    docker.stop_container("stopped", Duration::from_secs(1)).await.unwrap();
    docker.stop_container("absent", Duration::from_secs(1)).await.unwrap();
    docker.remove_container("absent").await.unwrap();
    docker.remove_pod("absent").await.unwrap();
    assert!(docker.start_container("absent").await.is_err());
    assert_eq!(docker.pod("absent").await.unwrap(), None);
    assert_eq!(docker.image("absent").await.unwrap(), None);
}

#[tokio::test]
async fn one_image_is_pulled_and_not_every_tag() {
    let engine = FakeEngine::start(|line| match line {
        line if line.contains("/images/create") => Reply::Answer(200, ""),
        _ => Reply::Answer(404, r#"{"message":"No such image"}"#),
    });
    let docker = docker(&engine);
    for (reference, tag) in [
        ("quay.io/minio/minio", Some("latest")),
        ("localhost:5000/minio", Some("latest")),
        ("minio:1", None),
        ("localhost:5000/a/minio:1", None),
        ("minio@sha256:00", None),
    ] {
        // the fake does not have it afterwards
        assert!(docker.images().unwrap().pull(reference).await.is_err());
        let asked = lines(&engine).into_iter().rfind(|line| line.contains("/images/create")).unwrap();
        let found = asked.split(['?', '&']).find_map(|pair| pair.strip_prefix("tag=")).filter(|tag| !tag.is_empty());
        assert_eq!(found, tag, "{asked}");
    }
}
