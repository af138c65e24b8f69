//! Finds out which engine answers at a socket, and how to speak to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bollard::ClientVersion;
use hyper::{HeaderMap, Method};
use rustix::process::geteuid;

use super::super::compat::LEAST_API;
use super::super::docker::Docker;
use super::super::podman::Podman;
use super::super::service::Service;
use super::super::transport::{self, Answer, Socket, TransportError};
use super::super::user::User;
use super::super::{Engine, EngineError};
use super::Connection;
use crate::manifest::EngineKind;

/// How long a socket may take to say who answers; one activated by systemd starts the engine first.
const PING: Duration = Duration::from_secs(10);
/// The latest version of Docker's API that kestack was written for; a daemon that knows a later one speaks this, too.
const LATEST_API: ClientVersion = ClientVersion { major_version: 1, minor_version: 53 };
/// Why a Docker that answers cannot be used.
const TOO_OLD: &str = "is too old\n  kestack needs Docker 20.10 or later, or Podman 4.3 or later";
const ANOTHERS: &str = "runs rootless, as another user";
const OWN: &str = "its containers cannot read this user's files: run kestack as the user whose engine it is, or name your own \
                   with --host";

/// Who answers at a socket.
#[derive(Debug)]
pub(super) enum Found {
    Podman {
        version: String,
        /// The uid that it runs as.
        uid: u32,
    },
    Docker {
        version: String,
        /// Latest version of the API that it speaks.
        api: Option<ClientVersion>,
        /// The uid that it runs as.
        uid: u32,
        /// True if its processes are none of those that this one sees.
        is_outside: bool,
    },
    /// Neither; what it calls itself.
    Other(String),
}

impl Found {
    pub(super) fn suits(&self, kind: EngineKind) -> bool {
        match self {
            Self::Podman { .. } => kind != EngineKind::Docker,
            Self::Docker { .. } => kind != EngineKind::Podman,
            Self::Other(_) => false,
        }
    }

    pub(super) fn title(&self) -> String {
        match self {
            Self::Podman { version, .. } => format!("Podman {version}"),
            Self::Docker { version, .. } => format!("Docker {version}"),
            Self::Other(server) => server.clone(),
        }
    }

    /// Why it is not for the caller, if it is another user's own.
    pub(super) fn anothers(&self) -> Option<&'static str> {
        let (Self::Podman { uid, .. } | Self::Docker { uid, .. }) = self else { return None };
        (*uid != 0 && *uid != geteuid().as_raw()).then_some(ANOTHERS)
    }

    /// `service` is our own Podman service, if that is what answers.
    pub(super) fn connect(self, path: &Path, service: Option<Service>) -> Result<Connection, EngineError> {
        self.connect_to(Socket::new(path), service)
    }

    /// The same over any socket.
    pub(super) fn connect_to(self, socket: Socket, service: Option<Service>) -> Result<Connection, EngineError> {
        let address = socket.address();
        tracing::debug!(address, engine = self.title(), "using");
        let refused = |why: &str| EngineError::NotFound(format!("{} at {address} {why}", self.title()));
        if let Some(why) = self.anothers() {
            return Err(refused(&format!("{why}\n  {OWN}")));
        }
        let engine: Arc<dyn Engine> = match &self {
            Self::Podman { version, uid } => Arc::new(Podman::new(socket.clone(), version.clone(), *uid != 0)?),
            Self::Docker { version, api, uid, is_outside } => {
                let api = api.and_then(common_api).ok_or_else(|| refused(TOO_OLD))?;
                let user = User::on(*uid != 0);
                Arc::new(Docker::new(socket.clone(), version.clone(), api, user)?.outside(*is_outside))
            }
            Self::Other(_) => return Err(refused("is not a container engine that kestack knows")),
        };
        Ok(Connection { engine, _service: service.map(|service| service.answers(socket)) })
    }
}

/// Asks a socket who it is. The head of `/_ping` says all; `/version` and `/info` cost Podman up to half a second.
pub(super) async fn ask(path: &Path) -> Result<Found, TransportError> {
    let connect = |source| TransportError::Connect { path: path.to_owned(), source };
    let peer = transport::connect(path).await.map_err(connect)?.peer_cred().map_err(connect)?;
    let answer = Socket::new(path).call(Method::GET, "/_ping", None, PING).await?;
    // whoever is in no namespace that we see has no number here (unix(7), `SO_PEERCRED`)
    Ok(found(&answer, peer.uid(), peer.pid() == Some(0)))
}

/// Asks a socket behind TCP. Who runs the daemon there it has to say itself.
pub(super) async fn ask_elsewhere(socket: &Socket) -> Result<Found, TransportError> {
    let answer = socket.call(Method::GET, "/_ping", None, PING).await?;
    let info = socket.call(Method::GET, "/info", None, PING).await?;
    let info: serde_json::Value = serde_json::from_slice(&info.body).unwrap_or_default();
    let options = info.get("SecurityOptions").and_then(serde_json::Value::as_array).into_iter().flatten();
    let is_rootless = options.filter_map(serde_json::Value::as_str).any(|option| option.starts_with("name=rootless"));
    Ok(match found(&answer, if is_rootless { u32::MAX } else { 0 }, true) {
        Found::Podman { version, .. } => {
            Found::Other(format!("Podman {version}, which kestack uses on its own machine only,"))
        }
        found => found,
    })
}

/// Who that is, by the head of the answer.
fn found(answer: &Answer, uid: u32, is_outside: bool) -> Found {
    if let Some(version) = header(&answer.headers, "libpod-api-version") {
        return Found::Podman { version, uid };
    }
    let server = header(&answer.headers, "server").unwrap_or_else(|| "something else".into());
    let api = header(&answer.headers, "api-version").as_deref().and_then(api_version);
    match server.strip_prefix("Docker/").and_then(|rest| rest.split(' ').next()) {
        Some(version) => Found::Docker { version: version.to_owned(), api, uid, is_outside },
        None => Found::Other(server),
    }
}

/// The version in `1.41`.
fn api_version(text: &str) -> Option<ClientVersion> {
    let (major, minor) = text.split_once('.')?;
    Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
}

/// The latest version that this daemon and kestack both know.
fn common_api(offered: ClientVersion) -> Option<ClientVersion> {
    if offered > LATEST_API { Some(LATEST_API) } else { (offered >= LEAST_API).then_some(offered) }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use rustix::process::getegid;

    use super::*;

    #[test]
    fn processes_run_as_whoever_can_read_the_files() {
        let caller = geteuid();
        let itself = User::Caller { uid: caller.as_raw(), gid: getegid().as_raw() };
        let expected = if caller.is_root() { User::Stack } else { itself };
        assert_eq!(User::on(false), expected);
    }

    #[test]
    fn an_engine_of_another_user_is_refused() {
        let caller = geteuid().as_raw();
        for (uid, refused) in [(0, false), (caller, false), (caller + 1, true)] {
            let socket = Socket::new(Path::new("/nonexistent/engine.sock"));
            let api = Some(LATEST_API);
            let podman = Found::Podman { version: "4.3.1".into(), uid };
            let docker = Found::Docker { version: "20.10".into(), api, uid, is_outside: false };
            for found in [podman, docker] {
                let connected = found.connect_to(socket.clone(), None).map_err(|error| error.to_string());
                assert_eq!(connected.is_err(), refused, "{uid}: {connected:?}");
                assert!(connected.err().is_none_or(|why| why.contains("as another user") && why.contains("--host")));
            }
        }
    }

    #[test]
    fn versions_are_numbers() {
        let version = |minor_version| ClientVersion { major_version: 1, minor_version };
        assert_eq!(api_version("1.41"), Some(version(41)));
        assert_eq!(api_version("1.x"), None);
        assert_eq!(common_api(version(100)), Some(LATEST_API));
        assert_eq!(common_api(version(44)), Some(version(44)));
        assert_eq!(common_api(version(9)), None);
    }
}
