//! Which engine to use: the first that answers, in a fixed order, and a useful text if none does.
//!
//! `--host` or `KESTACK_HOST`, then `CONTAINER_HOST`, then `DOCKER_HOST` name a socket; what is named is used or
//! complained about, never passed over. Then rootless Podman's socket, rootful Podman's, and at last a Podman
//! service that we start ourselves (containers.md §6).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::{HeaderMap, Method};
use rustix::process::geteuid;

use super::host::{Host, find_program};
use super::podman::Podman;
use super::service::{Env, Service};
use super::transport::{self, Socket, TransportError};
use super::{Engine, EngineError};
use crate::manifest::EngineKind;

/// How long a socket may take to say who answers; one activated by systemd starts the engine first.
const PING: Duration = Duration::from_secs(10);
/// Where rootful Podman listens.
const ROOTFUL: &str = "/run/podman/podman.sock";
/// Where Docker listens.
const DOCKER: &str = "/var/run/docker.sock";
/// What to do if nothing answers.
const ADVICE: &str = "do one of these:\n  \
    install Podman: kestack then starts its service by itself (`apt install podman`, `dnf install podman`)\n  \
    systemctl --user enable --now podman.socket       # rootless\n  \
    sudo systemctl enable --now podman.socket         # as root\n  \
    name a socket: --host unix:///path/podman.sock";

/// An engine that answers.
#[derive(Debug)]
pub struct Connection {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// Our own Podman service, which ends when this is dropped.
    _service: Option<Service>,
}

/// Which engine is wanted.
#[derive(Clone)]
pub struct EngineWish<'a> {
    /// What `engine:` in kestack.yaml says.
    pub kind: EngineKind,
    /// What `--host` or `KESTACK_HOST` says: `unix:///path` or a path.
    pub host: Option<String>,
    /// The environment.
    pub env: &'a Env<'a>,
}

/// Finds an engine and connects to it.
///
/// # Errors
/// [`EngineError::NotFound`] with every place tried, why it did not do, and what to do.
pub async fn connect(wish: &EngineWish<'_>) -> Result<Connection, EngineError> {
    match wish.kind {
        EngineKind::Auto | EngineKind::Podman => {}
        other => {
            return Err(EngineError::NotFound(format!(
                "engine '{other:?}' is not supported yet\n  kestack drives Podman: say `engine: podman`, or leave it out"
            )));
        }
    }
    match named(wish) {
        Some((name, value)) => at(&name, &value).await,
        None => first_of(usual_places(wish.env), wish.env).await,
    }
}

/// The socket that the user named, and by what.
fn named(wish: &EngineWish<'_>) -> Option<(String, String)> {
    let variable = |name: &str| Some((name.to_owned(), (wish.env)(name)?));
    let flag = wish.host.clone().map(|host| ("--host (or KESTACK_HOST)".to_owned(), host));
    [flag, variable("KESTACK_HOST"), variable("CONTAINER_HOST"), variable("DOCKER_HOST")]
        .into_iter()
        .flatten()
        .find(|(_, value)| !value.is_empty())
}

/// Connects to the named socket or fails.
async fn at(name: &str, value: &str) -> Result<Connection, EngineError> {
    let Some(path) = socket_path(value) else {
        return Err(EngineError::NotFound(format!(
            "{name} is '{value}', which is not a unix socket\n  kestack mounts folders of this host, so it needs an \
             engine on this host: name one as unix:///path, or unset it"
        )));
    };
    let not = |why: String| EngineError::NotFound(format!("{name} names {}, but {why}", path.display()));
    match ask(&path).await {
        Ok(Found::Podman { version, rootless }) => podman(path, version, rootless, None),
        Ok(Found::Docker { server }) => Err(not(format!(
            "there {server} answers\n  kestack drives Podman so far: unset it, or name Podman's socket with --host"
        ))),
        Err(error) => Err(not(format!("{}\n  unset it to have kestack look elsewhere", why(&error)))),
    }
}

/// Connects to the first Podman that answers, or starts one.
async fn first_of(places: Vec<(&str, PathBuf)>, env: &Env<'_>) -> Result<Connection, EngineError> {
    let mut tried = Vec::new();
    for (what, path) in places {
        match ask(&path).await {
            Ok(Found::Podman { version, rootless }) => return podman(path, version, rootless, None),
            Ok(Found::Docker { server }) => tried.push(format!("{what}, {}: {server} answers", path.display())),
            Err(error) => tried.push(format!("{what}, {}: {}", path.display(), why(&error))),
        }
    }
    match own_service(env).await {
        Ok(connection) => Ok(connection),
        Err(why) => {
            tried.push(format!("a service of our own: {why}"));
            tried.extend(docker_note().await);
            let tried = tried.join("\n  ");
            Err(EngineError::NotFound(format!("no container engine answers; tried\n  {tried}\n{ADVICE}")))
        }
    }
}

fn usual_places(env: &Env<'_>) -> Vec<(&'static str, PathBuf)> {
    let user = geteuid();
    let run = env("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let run = run.or_else(|| (!user.is_root()).then(|| PathBuf::from(format!("/run/user/{}", user.as_raw()))));
    let rootless = run.map(|run| ("rootless Podman", run.join("podman/podman.sock")));
    rootless.into_iter().chain([("rootful Podman", PathBuf::from(ROOTFUL))]).collect()
}

async fn own_service(env: &Env<'_>) -> Result<Connection, String> {
    let path = env("PATH");
    let program = find_program("podman", path.as_deref()).ok_or("`podman` is not in PATH")?;
    let host = Host::observe(path.as_deref());
    let service = Service::start(&program, &host, env).await.map_err(|error| error.to_string())?;
    let socket = service.socket().to_path_buf();
    match ask(&socket).await.map_err(|error| error.to_string())? {
        Found::Podman { version, rootless } => {
            podman(socket, version, rootless, Some(service)).map_err(|error| error.to_string())
        }
        Found::Docker { server } => Err(format!("{} runs {server}, not Podman", program.display())),
    }
}

async fn docker_note() -> Option<String> {
    match ask(Path::new(DOCKER)).await {
        Ok(Found::Docker { server }) => {
            Some(format!("Docker, {DOCKER}: {server} answers, but kestack drives Podman so far"))
        }
        _ => None,
    }
}

fn podman(path: PathBuf, version: String, rootless: bool, service: Option<Service>) -> Result<Connection, EngineError> {
    tracing::debug!(socket = %path.display(), %version, rootless, "using podman");
    let engine = Podman::new(Arc::new(Socket::new(path)), version, rootless)?;
    Ok(Connection { engine: Arc::new(engine), _service: service })
}

/// Who answers at a socket.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Podman { version: String, rootless: bool },
    Docker { server: String },
}

/// Asks a socket who it is. The head of `/_ping` says all; `/version` and `/info` cost Podman up to half a second.
async fn ask(path: &Path) -> Result<Found, TransportError> {
    let connect = |source| TransportError::Connect { path: path.to_owned(), source };
    let peer = transport::connect(path).await.map_err(connect)?.peer_cred().map_err(connect)?;
    let answer = Socket::new(path).call(Method::GET, "/_ping", None, PING).await?;
    Ok(match header(&answer.headers, "libpod-api-version") {
        Some(version) => Found::Podman { version, rootless: peer.uid() != 0 },
        None => Found::Docker { server: header(&answer.headers, "server").unwrap_or_else(|| "something else".into()) },
    })
}

/// Why a socket whose path is named already does not do.
fn why(error: &TransportError) -> String {
    match error {
        TransportError::Connect { source, .. } => format!("cannot connect: {source}"),
        other => other.to_string(),
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// The path in `unix:///path` or `/path`.
fn socket_path(value: &str) -> Option<PathBuf> {
    let path = value.strip_prefix("unix://").unwrap_or(value);
    path.starts_with('/').then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeEngine, Reply};
    use super::*;

    async fn refusal(kind: EngineKind, host: Option<&str>, variables: &[(&str, &str)]) -> String {
        let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let wish = EngineWish { kind, host: host.map(str::to_owned), env: &env };
        connect(&wish).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_named_socket_is_never_passed_over() {
        let variables = [("KESTACK_HOST", ""), ("CONTAINER_HOST", "unix:///nonexistent/a"), ("DOCKER_HOST", "/b")];
        let text = refusal(EngineKind::Auto, None, &variables).await;
        assert!(text.starts_with("CONTAINER_HOST names /nonexistent/a"), "{text}");
        assert!(text.contains("os error 2"), "{text}");
        let text = refusal(EngineKind::Podman, Some("/nonexistent/flag"), &variables).await;
        assert!(text.starts_with("--host"), "{text}");
    }

    #[tokio::test]
    async fn podman_is_known_by_the_head_of_its_ping() {
        let engine = FakeEngine::start(|_| Reply::Answer(200, "OK"));
        let env = |name: &str| (name == "CONTAINER_HOST").then(|| format!("unix://{}", engine.socket().display()));
        let wish = EngineWish { kind: EngineKind::Auto, host: None, env: &env };
        let connection = connect(&wish).await.unwrap();
        assert_eq!(connection.engine.info().version, "4.3.1");
        assert_eq!(connection.engine.info().rootless, !geteuid().is_root());
        assert!(engine.requests().iter().all(|request| request == "GET /_ping"));
    }

    #[tokio::test]
    async fn docker_is_told_apart() {
        let engine = FakeEngine::start(|_| {
            Reply::Cut("HTTP/1.1 200 OK\r\nServer: Docker/20.10.24 (linux)\r\nContent-Length: 2\r\n\r\nOK")
        });
        let text = refusal(EngineKind::Auto, engine.socket().to_str(), &[]).await;
        assert!(text.contains("there Docker/20.10.24 (linux) answers"), "{text}");
    }

    #[tokio::test]
    async fn an_engine_elsewhere_is_refused() {
        let text = refusal(EngineKind::Auto, None, &[("DOCKER_HOST", "tcp://10.0.0.1:2375")]).await;
        assert!(text.contains("not a unix socket"), "{text}");
    }

    #[tokio::test]
    async fn every_place_tried_is_listed() {
        let env = |name: &str| (name == "PATH" || name == "XDG_RUNTIME_DIR").then(|| "/nonexistent".to_owned());
        let mut places = usual_places(&env);
        // Rootful Podman may really answer on the host of this test.
        places.retain(|(_, path)| path.starts_with("/nonexistent"));
        let text = first_of(places, &env).await.unwrap_err().to_string();
        assert!(text.contains("rootless Podman, /nonexistent/podman/podman.sock"), "{text}");
        assert!(text.contains("`podman` is not in PATH"), "{text}");
        assert!(text.contains("install Podman"), "{text}");
    }

    #[tokio::test]
    async fn engines_to_come_are_refused_by_name() {
        assert!(refusal(EngineKind::Docker, None, &[]).await.contains("not supported yet"));
    }

    #[test]
    fn sockets_are_paths_with_or_without_scheme() {
        assert_eq!(socket_path("unix:///a/b"), Some("/a/b".into()));
        assert_eq!(socket_path("/a/b"), Some("/a/b".into()));
        assert_eq!(socket_path("ssh://host/a"), None);
    }
}
