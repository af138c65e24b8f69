//! Replacing what is served while it is served (docs/kes-protocol.md §2, §4.6).

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use super::{
    banner,
    material::{Material, MaterialError, Surroundings},
    shared::Shared,
    tls,
};
use crate::{
    config::{Config, ConfigError, Level, TlsConfig},
    keystore::Patience,
};

/// How often the certificate is read again without being told to: it may have been renewed.
pub(super) const TLS_REFRESH: Duration = Duration::from_secs(15 * 60);

/// Reads the configuration that a server was started with.
type Read = dyn Fn() -> Result<Config, ConfigError> + Send + Sync;

/// Reads the configuration again.
pub struct Reload {
    read: Box<Read>,
    /// The file it is read from.
    pub(super) file: PathBuf,
}

impl Reload {
    /// By calling `read`, which reads `file`.
    pub fn new(file: PathBuf, read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static) -> Self {
        Self { read: Box::new(read), file }
    }

    /// Serves what the configuration says now. If anything is wrong with it, everything stays as it is. The address
    /// is not changed. `cause` is what made it necessary.
    pub(super) async fn reload(&self, shared: &Shared, cause: Cause) {
        let log = &shared.service.log;
        log.print_error(&format!("{}. Reloading configuration...\n", cause.received()));
        let config = match (self.read)() {
            Ok(config) => config,
            Err(error) => return log.print_error(&format!("Failed to reload server config: {error}\n")),
        };
        for warning in &config.warnings {
            log.error(Level::WARN, warning);
        }
        match replace(config, shared).await {
            Ok(banner) => {
                log.print(&banner);
                log.print(&format!("=> Reloading configuration after {} completed.\n", cause.named()));
            }
            Err(error) => log.print_error(&format!("Failed to update server configuration: {error}\n")),
        }
    }

    /// Reads certificate and CA again, and whether clients need a certificate.
    pub(super) fn refresh_tls(&self, shared: &Shared) {
        let log = &shared.service.log;
        let failed =
            |error: &dyn fmt::Display| log.print_error(&format!("Failed to reload TLS configuration: {error}\n"));
        match (self.read)() {
            Ok(config) => match tls::terms(&config) {
                Ok(tls) => shared.take(tls),
                Err(error) => failed(&error),
            },
            Err(error) => failed(&error),
        }
    }

    /// The files that the server depends on: the configuration, and what it names for TLS.
    pub(super) fn files(&self) -> (PathBuf, Vec<PathBuf>) {
        let tls = (self.read)().map(|config| {
            let TlsConfig { key, cert, ca, .. } = config.tls;
            [key, cert].into_iter().chain(ca).collect()
        });
        (self.file.clone(), tls.unwrap_or_default())
    }
}

/// Why the configuration is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Somebody said so.
    Signal,
    /// The file is another than before.
    Change,
}

impl Cause {
    fn received(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP signal received",
            Self::Change => "Configuration file changed",
        }
    }

    fn named(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP signal",
            Self::Change => "a change of the file",
        }
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("file", &self.file).finish_non_exhaustive()
    }
}

/// A keystore that cannot be reached now leaves the old state in force, whose cache may be all there is.
async fn replace(config: Config, shared: &Shared) -> Result<String, MaterialError> {
    let service = &shared.service;
    let around = Surroundings { patience: Patience::Fail, ..shared.around.clone() };
    let Material { config, tls, keystore } = Material::load(config, &around).await?;
    let banner = banner::banner(&config, &keystore.to_string(), (service.version, service.commit), None);
    let former = Arc::clone(&service.state());
    service.replace(Material::state(&config, keystore, &around, Some(&former)).await?);
    shared.connections.judge(|identity| service.state().knows(identity));
    shared.take(tls);
    service.log.set_levels(config.error_level, config.audit_level);
    Ok(banner)
}
