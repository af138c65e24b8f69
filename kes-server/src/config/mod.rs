//! The configuration file (docs/kes-protocol.md §4): what was written, and what it means.
//!
//! [`Config::parse`] reads the text, puts variables of the environment in place of `${NAME}` and checks everything
//! that can be checked without touching files or the network. A [`Config`] is valid by construction.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::auth::{Access, AssignError, DeadRule, Identity};

mod address;
pub(crate) mod duration;
mod expiry;
mod file;
pub(crate) mod fuzzing;
mod keystore;
mod legacy;
mod level;
mod policy;
mod resolve;
mod secret;
mod section;
mod tls;
mod upgrade;

pub use expiry::Expiry;
pub use file::read;
pub use keystore::*;
pub use level::{Level, LevelError};
pub use secret::Secret;
pub use upgrade::Upgraded;

/// A configuration of the server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on.
    pub address: SocketAddr,
    /// Admin, policies and who has them.
    pub access: Access,
    /// Server certificate, and the certificates that clients must have.
    pub tls: TlsConfig,
    /// How long keys are cached.
    pub cache: Expiry,
    /// Level of the error log on standard error.
    pub error_level: Level,
    /// Level of the audit log on standard output.
    pub audit_level: Level,
    /// Changes to single API routes, by path.
    pub api: BTreeMap<String, ApiConfig>,
    /// Keys that must exist before the server serves.
    pub keys: Vec<String>,
    /// The keystore.
    pub keystore: KeyStoreConfig,
    /// Old spellings, each with the present one.
    pub warnings: Vec<String>,
}

/// The server's certificate, and the certificates that clients must have.
#[derive(Clone)]
pub struct TlsConfig {
    /// Private key file.
    pub key: PathBuf,
    /// Certificate file.
    pub cert: PathBuf,
    /// CA certificates: a file or a folder.
    pub ca: Option<PathBuf>,
    /// Password of the private key.
    pub password: Option<Zeroizing<String>>,
    /// True if client certificates must be issued by a known CA; false if any will do.
    pub verify_clients: bool,
}

/// Changes of a configuration to one API route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApiConfig {
    /// Anyone may call it, also without a certificate.
    pub skip_auth: bool,
    /// Its timeout, if not the default.
    pub timeout: Option<Duration>,
}

/// Why a configuration is refused; the text is what follows `Error: ` on the terminal.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("open {}: {}", path.display(), reason(source))]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Not YAML, or of another shape than a configuration.
    #[error("yaml: {0}")]
    Yaml(String),
    /// Nothing in it.
    #[error("EOF")]
    Empty,
    /// A variable of the environment is not set.
    #[error("kesconf: referenced env. variable '{name}' in line '{line}' not found")]
    Variable {
        /// Its name.
        name: String,
        /// Where it is used, counted from 1.
        line: usize,
    },
    /// A value that is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// Policies that do not go together.
    #[error(transparent)]
    Policy(#[from] AssignError),
}

/// Settings of the command line that override the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overrides<'a> {
    /// The admin, as releases before 2022 had it. It counts only if the file names none.
    pub admin: Option<&'a str>,
    /// The address to listen on. That of the file is not even read then.
    pub address: Option<SocketAddr>,
    /// Whether deny rules that can match nothing are accepted.
    pub allows_dead_rules: bool,
}

/// Reads a variable of the environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// Reads a configuration file.
    pub fn load(path: &Path, env: Environment<'_>) -> Result<Self, ConfigError> {
        resolve::config(&read(path)?, Overrides::default(), env)
    }

    /// Reads a configuration file for a server with this command line.
    ///
    /// # Errors
    /// Also if a deny rule can match nothing, unless the command line allows that: what it should deny would be allowed.
    pub fn load_for(overrides: Overrides<'_>, path: &Path, env: Environment<'_>) -> Result<Self, ConfigError> {
        let config = resolve::config(&read(path)?, overrides, env)?;
        if !overrides.allows_dead_rules {
            config.refuse_dead_denials()?;
        }
        Ok(config)
    }

    /// Reads the text of a configuration.
    pub fn parse(text: &str, env: Environment<'_>) -> Result<Self, ConfigError> {
        resolve::config(text, Overrides::default(), env)
    }

    /// Refuses deny rules that can match nothing.
    ///
    /// # Errors
    /// If there is one. The warnings say what is wrong with each.
    pub fn refuse_dead_denials(&self) -> Result<(), ConfigError> {
        let mut rules = self.access.dead_rules().into_iter().filter(DeadRule::fails_open);
        let Some(first) = rules.next() else { return Ok(()) };
        let more = match rules.count() {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Err(invalid(format!("{first}{more}; correct it, or use --allow-dead-rules")))
    }

    /// The text of a configuration in today's spelling; it means the same.
    ///
    /// # Errors
    /// If the text is not a configuration, or cannot be rewritten without changing what it means.
    pub fn upgrade(text: &str, env: Environment<'_>) -> Result<Upgraded, ConfigError> {
        upgrade::upgrade(text, env)
    }

    /// The recorded creator of the keys that the configuration lists.
    pub fn admin(&self) -> &Identity {
        self.access.admin()
    }
}

/// An address to listen on: `ip:port` or `:port`.
pub fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    address::parse(text)
}

impl fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("key", &self.key)
            .field("cert", &self.cert)
            .field("ca", &self.ca)
            .field("verify_clients", &self.verify_clients)
            .finish_non_exhaustive()
    }
}

fn invalid(text: impl Into<String>) -> ConfigError {
    ConfigError::Invalid(text.into())
}

/// The system's word for an error, as MinIO KES's platform spells it.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}
