//! Which engine to use: the first that answers, in a fixed order, and a useful text if none does.
//!
//! `--host` or `KESTACK_HOST`, then `CONTAINER_HOST`, then `DOCKER_HOST` name a socket; what is named is used or
//! complained about, never passed over. Then rootless Podman's socket, rootful Podman's, a Podman service that we start
//! ourselves, and Docker's socket (docs/containers.md §6). Podman comes first wherever it is installed, served or not:
//! what a stack was brought up with is found again, whichever daemons happen to run. Where there is none, the servers
//! are processes of this host.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::geteuid;

use super::host::{Host, find_program};
use super::remote::Remote;
use super::service::{self, Env, Service};
use super::transport::{Socket, TransportError};
use super::units::Units;
use super::{Engine, EngineError, hint};
use crate::manifest::EngineKind;

mod every;
mod found;
mod processes;

pub use every::{Every, every};
use found::{Found, ask, ask_elsewhere};

/// Where rootful Podman listens.
const ROOTFUL: &str = "/run/podman/podman.sock";
/// Where Docker listens.
const DOCKER: &str = "/var/run/docker.sock";
/// How the name of one of Docker's contexts is marked among the values of variables.
const CONTEXT: &str = "context ";
/// What to do about an engine whose files are not this machine's.
const OWN_MACHINE: &str = "kestack and its containers work on the same files: name an engine of this machine as unix:///path, a \
                           Docker that sees the same folders as tcp://host:2376, or do without: --engine process";
/// What to do about a Docker behind TCP that does not answer.
const TLS: &str = "a Docker with TLS wants DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH with ca.pem, cert.pem and key.pem";
/// How the report of all places begins.
const NOBODY: &str = "no container engine answers; tried";
/// What to do if nothing answers.
pub(crate) const ADVICE: &str = "do one of these:\n  ";
/// The same where there is no Podman yet.
const INSTALL: &str =
    "install Podman: kestack then starts its service by itself (`apt install podman`, `dnf install podman`)\n  ";
/// The same everywhere.
const OTHERS: &str = "\
    systemctl --user enable --now podman.socket       # rootless\n  \
    sudo systemctl enable --now podman.socket         # as root\n  \
    sudo systemctl enable --now docker                # or Docker\n  \
    name a socket: --host unix:///path/podman.sock\n  \
    run the servers without containers: --engine process";

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
pub struct EngineOptions<'a> {
    /// The value of `engine:` in kestack.yaml.
    pub kind: EngineKind,
    /// The value of `--host` or `KESTACK_HOST`: `unix:///path` or a path.
    pub host: Option<String>,
    /// The environment.
    pub env: &'a Env<'a>,
    /// Folder of the stack; the process engine keeps its records there.
    pub stack: &'a Path,
    /// The program `kestack`, which supervises processes; `None` if it is this one.
    pub program: Option<&'a Path>,
}

/// Finds an engine and connects to it. An exported stack that systemd runs has no other.
///
/// # Errors
/// [`EngineError::NotFound`] with every place tried, why it did not do, and what to do.
pub async fn connect(options: &EngineOptions<'_>) -> Result<Connection, EngineError> {
    if let Some(units) = Units::of(options.stack)? {
        return Ok(Connection { engine: Arc::new(units), _service: None });
    }
    if let Some(connection) = processes::chosen(options)? {
        return Ok(connection);
    }
    match named(options) {
        Some((name, value)) => at(&name, &value, options).await,
        None => match first_of(options, podman_places(options.env), docker_places(options.env)).await {
            Err(error) => processes::instead_of(error, options),
            found => found,
        },
    }
}

/// The socket that the user named, and by what. `CONTAINER_HOST` is a variable of Podman's alone.
fn named(options: &EngineOptions<'_>) -> Option<(String, String)> {
    let variable = |name: &str| Some((name.to_owned(), (options.env)(name)?));
    let flag = options.host.clone().map(|host| ("--host (or KESTACK_HOST)".to_owned(), host));
    let podmans = if options.kind == EngineKind::Docker { None } else { variable("CONTAINER_HOST") };
    // `docker` itself asks for a context only without a host
    let context = if options.kind == EngineKind::Podman { None } else { variable("DOCKER_CONTEXT") };
    let context = context.filter(|(_, name)| name != "default" && !name.is_empty());
    let context = context.map(|(variable, name)| (variable, format!("{CONTEXT}{name}")));
    [flag, variable("KESTACK_HOST"), podmans, variable("DOCKER_HOST"), context]
        .into_iter()
        .flatten()
        .find(|(_, value)| !value.is_empty())
}

/// Address that ports are reached at if the user named an engine that is not on this machine.
///
/// # Errors
/// [`EngineError::NotFound`] if that engine cannot be used.
pub(crate) fn address_elsewhere(options: &EngineOptions<'_>) -> Result<Option<IpAddr>, EngineError> {
    if options.kind == EngineKind::Process {
        return Ok(None);
    }
    let Some((name, value)) = named(options) else { return Ok(None) };
    let wrong = |why: String| EngineError::NotFound(format!("{name} {why}"));
    let Some(remote) = Remote::of(&value, options.env).map_err(wrong)? else { return Ok(None) };
    remote.elsewhere().map_err(|error| EngineError::NotFound(format!("{name} names {remote}: {error}")))
}

/// Connects to the named socket or fails.
async fn at(name: &str, value: &str, options: &EngineOptions<'_>) -> Result<Connection, EngineError> {
    let kind = options.kind;
    if let Some(remote) =
        Remote::of(value, options.env).map_err(|why| EngineError::NotFound(format!("{name} {why}")))?
    {
        return behind(name, remote, kind).await;
    }
    let path = socket_path(value).ok_or_else(|| EngineError::NotFound(unusable(name, value)))?;
    let not = |why: String| EngineError::NotFound(format!("{name} names {}, but {why}", path.display()));
    if is_of_a_virtual_machine(&path) {
        return Err(not(format!("that is the engine of a virtual machine\n  {OWN_MACHINE}")));
    }
    match ask(&path).await {
        Ok(found) if found.suits(kind) => found.connect(&path, None),
        Ok(found) => Err(not(format!(
            "{} answers there\n  name another socket with --host, or another engine with --engine",
            found.title()
        ))),
        Err(error) => Err(not(format!("{}\n  unset it, and kestack looks for another engine", why(&error)))),
    }
}

/// Connects to the Docker behind TCP that the user named, or fails.
async fn behind(name: &str, remote: Remote, kind: EngineKind) -> Result<Connection, EngineError> {
    let not = |why: String| EngineError::NotFound(format!("{name} names {remote}, but {why}"));
    let is_here = remote.elsewhere().is_ok_and(|address| address.is_none());
    if remote.is_plain() && !is_here {
        tracing::warn!("{remote} has no TLS: everybody on the network path can take it over; see DOCKER_TLS_VERIFY");
    }
    let socket = Socket::remote(remote.clone());
    match ask_elsewhere(&socket).await {
        Ok(found @ Found::Docker { .. }) if found.suits(kind) => found.connect_to(socket, None),
        Ok(found) => {
            Err(not(format!("there {} answers\n  name another engine with --host or --engine", found.title())))
        }
        Err(TransportError::Connect { source, .. }) => Err(not(format!("it cannot be reached: {source}\n  {TLS}"))),
        Err(error) => Err(not(format!("{error}\n  {TLS}"))),
    }
}

/// Why a value that is neither a socket nor an address cannot be used.
fn unusable(name: &str, value: &str) -> String {
    let what = match value.split_once("://") {
        Some(("ssh", _)) => format!("is '{value}', an engine behind SSH"),
        _ if value.starts_with(CONTEXT) => format!("names the Docker {value}, which kestack does not read"),
        _ => format!("is '{value}', which is neither a unix socket nor an address such as tcp://docker:2376"),
    };
    format!("{name} {what}\n  {OWN_MACHINE}")
}

/// True for the sockets of Colima, Lima and `podman machine`, behind which another system has files and processes of its own.
fn is_of_a_virtual_machine(path: &Path) -> bool {
    let path = path.to_string_lossy();
    ["/.colima/", "/.lima/", "/.rd/", "/podman/machine/"].iter().any(|part| path.contains(part))
}

/// Connects to the first engine that answers and suits, or starts a Podman. Whoever has Podman and gets Docker reads why.
async fn first_of(options: &EngineOptions<'_>, podman: Places, docker: Places) -> Result<Connection, EngineError> {
    let mut tried = Vec::new();
    let installed = find_program("podman", (options.env)("PATH").as_deref()).is_some();
    if options.kind != EngineKind::Docker {
        if let Some(connection) = answering(podman, options.kind, &mut tried).await? {
            return Ok(connection);
        }
        match own_service(options.env).await {
            Ok(connection) => return Ok(connection),
            Err(why) => tried.push(format!("a service of our own: {why}")),
        }
    }
    let without_podman = tried.len();
    if options.kind != EngineKind::Podman
        && let Some(connection) = answering(docker, options.kind, &mut tried).await?
    {
        if let Some(why) = tried.iter().take(without_podman).next_back().filter(|_| installed) {
            tracing::warn!("Podman cannot be used, so kestack uses Docker; {why}");
        }
        return Ok(connection);
    }
    let install = if installed { "" } else { INSTALL };
    let tried = tried.join("\n  ");
    Err(EngineError::NotFound(format!("{NOBODY}\n  {tried}\n{ADVICE}{install}{OTHERS}")))
}

/// Sockets in the order in which they are tried, each with who is expected there.
type Places = Vec<(&'static str, PathBuf)>;

/// Connects to the first engine in these places; what is not there is noted in `tried`.
async fn answering(
    places: Places,
    kind: EngineKind,
    tried: &mut Vec<String>,
) -> Result<Option<Connection>, EngineError> {
    for (what, path) in places {
        match ask(&path).await {
            Ok(found) => match found.anothers() {
                // as where `sudo -E` keeps the user's XDG_RUNTIME_DIR
                Some(why) => tried.push(format!("{what}, {}: {} {why}", path.display(), found.title())),
                None if found.suits(kind) => return found.connect(&path, None).map(Some),
                None => tried.push(format!("{what}, {}: {} answers", path.display(), found.title())),
            },
            Err(error) => tried.push(format!("{what}, {}: {}", path.display(), why(&error))),
        }
    }
    Ok(None)
}

fn podman_places(env: &Env<'_>) -> Places {
    let rootless = runtime_folder(env).map(|run| ("rootless Podman", run.join("podman/podman.sock")));
    rootless.into_iter().chain([("rootful Podman", PathBuf::from(ROOTFUL))]).collect()
}

fn docker_places(env: &Env<'_>) -> Places {
    let rootless = runtime_folder(env).map(|run| ("rootless Docker", run.join("docker.sock")));
    [("Docker", PathBuf::from(DOCKER))].into_iter().chain(rootless).collect()
}

/// True of a socket of the system's Podman or Docker, or of a user's: the storage behind all of them, and behind a service of
/// our own, is the same. That of a session has another path in the next one.
pub(super) fn is_usual(socket: &Path) -> bool {
    let real = socket.canonicalize().unwrap_or_else(|_| socket.to_owned());
    let folder = real.parent().unwrap_or(&real);
    let is_session = folder.parent() == Some(Path::new("/run/user"));
    let is_docker =
        real.ends_with("docker.sock") && (is_session || ["/run", "/var/run"].map(Path::new).contains(&folder));
    is_docker || real.ends_with("podman/podman.sock") || service::is_own(&real)
}

/// Where the user's own services have their sockets.
fn runtime_folder(env: &Env<'_>) -> Option<PathBuf> {
    let user = geteuid();
    let named = env("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    named.or_else(|| (!user.is_root()).then(|| PathBuf::from(format!("/run/user/{}", user.as_raw()))))
}

async fn own_service(env: &Env<'_>) -> Result<Connection, String> {
    let path = env("PATH");
    let program = find_program("podman", path.as_deref()).ok_or("`podman` is not in PATH")?;
    let host = Host::observe(path.as_deref());
    let service = Service::start(&program, &host, env).await.map_err(|error| error.to_string())?;
    let socket = service.socket().to_path_buf();
    match ask(&socket).await.map_err(|error| error.to_string())? {
        found @ Found::Podman { .. } => found.connect(&socket, Some(service)).map_err(|error| error.to_string()),
        other => Err(format!("{} runs {}, not Podman", program.display(), other.title())),
    }
}

/// Why a socket whose path is named already does not do.
fn why(error: &TransportError) -> String {
    match error {
        TransportError::Connect { source, path } => match hint::unreachable(path, source.kind()) {
            Some(advice) => format!("cannot connect: {source}; {advice}"),
            None => format!("cannot connect: {source}"),
        },
        other => other.to_string(),
    }
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
        let stack = Path::new("/nonexistent/stack");
        let options = EngineOptions { kind, host: host.map(str::to_owned), env: &env, stack, program: None };
        connect(&options).await.unwrap_err().to_string()
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
        let stack = Path::new("/nonexistent/stack");
        let options = EngineOptions { kind: EngineKind::Auto, host: None, env: &env, stack, program: None };
        let connection = connect(&options).await.unwrap();
        assert_eq!(connection.engine.info().version, "4.3.1");
        assert_eq!(connection.engine.info().rootless, !geteuid().is_root());
        assert!(engine.requests().iter().all(|request| request == "GET /_ping"));
    }

    #[tokio::test]
    async fn docker_is_told_apart() {
        let engine = FakeEngine::start(|_| {
            Reply::Cut("HTTP/1.1 200 OK\r\nServer: Docker/20.10.24 (linux)\r\nContent-Length: 2\r\n\r\nOK")
        });
        let text = refusal(EngineKind::Podman, engine.socket().to_str(), &[]).await;
        assert!(text.contains("Docker 20.10.24 answers there"), "{text}");
        let text = refusal(EngineKind::Auto, engine.socket().to_str(), &[]).await;
        assert!(text.contains("too old"), "it names no version of its API: {text}");
    }

    #[tokio::test]
    async fn docker_is_spoken_to_in_a_version_that_it_knows() {
        for (offered, spoken) in [("1.41", Some("1.41")), ("1.99", Some("1.53")), ("1.40", None)] {
            let head = format!("HTTP/1.1 200 OK\r\nServer: Docker/1 (linux)\r\nApi-Version: {offered}\r\n");
            let ping: &'static str = Box::leak(format!("{head}Content-Length: 2\r\n\r\nOK").into_boxed_str());
            let engine = FakeEngine::start(move |line| match line {
                "GET /_ping" => Reply::Cut(ping),
                _ => Reply::Answer(404, ""),
            });
            let env = |_: &str| None;
            let host = engine.socket().to_str().map(str::to_owned);
            let connection = connect(&EngineOptions {
                kind: EngineKind::Docker,
                host,
                env: &env,
                stack: Path::new("/nonexistent/stack"),
                program: None,
            })
            .await;
            let Some(spoken) = spoken else {
                assert!(connection.unwrap_err().to_string().contains("20.10 or later"));
                continue;
            };
            assert_eq!(connection.unwrap().engine.image("none").await.unwrap(), None);
            assert_eq!(engine.requests().last().unwrap(), &format!("GET /v{spoken}/images/none/json"));
        }
    }

    #[tokio::test]
    async fn an_engine_elsewhere_is_refused() {
        for (variable, value, why) in [
            ("DOCKER_HOST", "ssh://user@host", "an engine behind SSH"),
            ("DOCKER_HOST", "npipe://x", "neither a unix socket nor an address"),
            ("DOCKER_HOST", "unix:///home/u/.colima/default/docker.sock", "the engine of a virtual machine"),
            ("CONTAINER_HOST", "unix:///run/user/1/podman/machine/x.sock", "the engine of a virtual machine"),
            ("DOCKER_CONTEXT", "remote", "names the Docker context remote, which kestack does not read"),
            ("DOCKER_HOST", "tcp://127.0.0.1:1", "it cannot be reached"),
        ] {
            let text = refusal(EngineKind::Auto, None, &[(variable, value)]).await;
            assert!(text.starts_with(variable) && text.contains(why), "{text}");
        }
    }

    #[tokio::test]
    async fn every_place_tried_is_listed() {
        let env = |name: &str| (name == "PATH" || name == "XDG_RUNTIME_DIR").then(|| "/nonexistent".to_owned());
        let stack = Path::new("/nonexistent/stack");
        let options = EngineOptions { kind: EngineKind::Auto, host: None, env: &env, stack, program: None };
        // The others may really answer on the host of this test.
        let absent = |mut places: Places| {
            places.retain(|(_, path)| path.starts_with("/nonexistent"));
            places
        };
        let (podman, docker) = (absent(podman_places(&env)), absent(docker_places(&env)));
        let text = first_of(&options, podman, docker).await.unwrap_err().to_string();
        assert!(text.contains("rootless Podman, /nonexistent/podman/podman.sock"), "{text}");
        assert!(text.contains("rootless Docker, /nonexistent/docker.sock"), "{text}");
        assert!(text.contains("`podman` is not in PATH"), "{text}");
        assert!(text.contains("install Podman"), "{text}");
    }

    #[test]
    fn sockets_are_paths_with_or_without_scheme() {
        assert_eq!(socket_path("unix:///a/b"), Some("/a/b".into()));
        assert_eq!(socket_path("/a/b"), Some("/a/b".into()));
        assert_eq!(socket_path("ssh://host/a"), None);
    }
}
