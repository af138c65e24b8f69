//! Hashicorp Vault.

use std::path::PathBuf;
use std::time::Duration;

use super::super::duration::Nanoseconds;
use super::super::section::Section;
use super::super::{ConfigError, Secret, invalid, reason};
use super::{KeyStoreConfig, path};

/// How often MinIO KES asks whether the vault is well.
const DEFAULT_PING: Duration = Duration::from_secs(15);

/// `keystore.vault`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultConfig {
    /// URL of the server.
    pub endpoint: String,
    /// Other servers of the cluster, as URL or host with or without port: a redirect to them is followed. Ours alone.
    pub nodes: Vec<String>,
    /// Mount path of the K/V engine.
    pub engine: String,
    /// Version of the K/V engine.
    pub version: EngineVersion,
    /// Namespace of all but the login, empty for the root.
    pub namespace: String,
    /// Put before the names of keys.
    pub prefix: String,
    /// Encrypts entries before they are stored.
    pub transit: Option<Transit>,
    /// The login.
    pub auth: VaultAuth,
    /// Client certificate and CA.
    pub tls: VaultTls,
    /// Time between two health checks.
    pub ping: Duration,
}

/// Version of a K/V engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineVersion {
    /// Without versions of entries.
    V1,
    /// With versions of entries.
    V2,
}

/// `keystore.vault.transit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transit {
    /// Mount path of the engine.
    pub engine: String,
    /// Name of its key.
    pub key: String,
}

/// The login to a vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultAuth {
    /// With an application role.
    AppRole(AppRole),
    /// As a service account of Kubernetes.
    Kubernetes(Kubernetes),
}

/// `keystore.vault.approle`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppRole {
    /// Mount path of the method.
    pub engine: String,
    /// Namespace of the login; empty for that of the vault, `/` for the root.
    pub namespace: String,
    /// Role ID.
    pub id: String,
    /// Secret ID.
    pub secret: Secret,
}

/// `keystore.vault.kubernetes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// Mount path of the method.
    pub engine: String,
    /// Namespace of the login; empty for that of the vault, `/` for the root.
    pub namespace: String,
    /// Role.
    pub role: String,
    /// Token of the service account.
    pub jwt: Jwt,
}

/// A token, or the file that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwt {
    /// The token itself.
    Token(Secret),
    /// A file, to be read again at every login since Kubernetes renews it.
    File(PathBuf),
}

/// `keystore.vault.tls`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VaultTls {
    /// Private key and certificate to show.
    pub client: Option<(PathBuf, PathBuf)>,
    /// CA certificates of the server: a file or a folder.
    pub ca: Option<PathBuf>,
}

impl Jwt {
    /// The token as it is now, byte by byte.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self) -> Result<Secret, ConfigError> {
        match self {
            Self::Token(token) => Ok(token.clone()),
            Self::File(path) => std::fs::read_to_string(path).map(Secret::new).map_err(|error| {
                let (path, reason) = (path.display(), reason(&error));
                invalid(format!("kesconf: failed to read vault kubernetes JWT from '{path}': open {path}: {reason}"))
            }),
        }
    }
}

pub(super) fn read(section: Section<'_>) -> Result<KeyStoreConfig, ConfigError> {
    let (endpoint, nodes) = (section.string("endpoint"), section.strings("nodes"));
    let engine = section.string_or("engine", "kv");
    let version = section.string_or("version", "v1");
    let (namespace, prefix) = (section.string("namespace"), section.string("prefix"));
    let ping = section.section("status").duration("ping").and_then(Nanoseconds::positive).unwrap_or(DEFAULT_PING);
    let auth = auth(section);
    let transit = transit(section.section("transit"));
    let tls = tls(section.section("tls"));
    if endpoint.is_empty() {
        return Err(refused("no endpoint specified"));
    }
    let (auth, transit, tls) = (auth?, transit?, tls?);
    let version = match version.as_str() {
        "v1" => EngineVersion::V1,
        "v2" => EngineVersion::V2,
        other => return Err(invalid(format!("vault: invalid engine API version '{other}'"))),
    };
    let config = VaultConfig { endpoint, nodes, engine, version, namespace, prefix, transit, auth, tls, ping };
    Ok(KeyStoreConfig::Vault(Box::new(config)))
}

fn refused(why: &str) -> ConfigError {
    invalid(format!("kesconf: invalid vault keystore: {why}"))
}

fn auth(section: Section<'_>) -> Result<VaultAuth, ConfigError> {
    let (approle, kubernetes) = (section.section("approle"), section.section("kubernetes"));
    let exist = (approle.exists(), kubernetes.exists());
    let (approle, kubernetes) = (self::approle(approle), self::kubernetes(kubernetes));
    match exist {
        (false, false) => Err(refused("no authentication method specified")),
        (true, true) => Err(refused("more than one authentication method specified")),
        (true, false) => approle.map(VaultAuth::AppRole),
        (false, true) => kubernetes.map(VaultAuth::Kubernetes),
    }
}

fn approle(section: Section<'_>) -> Result<AppRole, ConfigError> {
    let approle = AppRole {
        engine: section.string_or("engine", "approle"),
        namespace: section.string("namespace"),
        id: section.string("id"),
        secret: section.secret("secret"),
    };
    if approle.id.is_empty() {
        return Err(refused("invalid approle config: no approle ID specified"));
    }
    if approle.secret.is_empty() {
        return Err(refused("invalid approle config: no approle secret specified"));
    }
    Ok(approle)
}

fn kubernetes(section: Section<'_>) -> Result<Kubernetes, ConfigError> {
    let (engine, namespace) = (section.string_or("engine", "kubernetes"), section.string("namespace"));
    let (role, jwt) = (section.string("role"), section.secret("jwt"));
    if jwt.is_empty() {
        return Err(refused("invalid kubernetes config: no JWT specified"));
    }
    let jwt = if jwt.expose().contains('/') { Jwt::File(jwt.expose().into()) } else { Jwt::Token(jwt) };
    Ok(Kubernetes { engine, namespace, role, jwt })
}

fn transit(section: Section<'_>) -> Result<Option<Transit>, ConfigError> {
    let (engine, key) = (section.string_or("engine", "transit"), section.string("key"));
    match (section.exists(), key.is_empty()) {
        (false, _) => Ok(None),
        (true, true) => Err(refused("invalid transit config: no key name specified")),
        (true, false) => Ok(Some(Transit { engine, key })),
    }
}

fn tls(section: Section<'_>) -> Result<VaultTls, ConfigError> {
    let (key, cert, ca) = (path(section, "key"), path(section, "cert"), path(section, "ca"));
    match (key, cert) {
        (Some(_), None) => Err(refused("invalid tls config: no TLS certificate provided")),
        (None, Some(_)) => Err(refused("invalid tls config: no TLS private key provided")),
        (Some(key), Some(cert)) => Ok(VaultTls { client: Some((key, cert)), ca }),
        (None, None) => Ok(VaultTls { client: None, ca }),
    }
}
