//! Replacing what is served while it is served (kes-api §2, §4.6).

use std::{fmt, time::Duration};

use super::{
    banner,
    material::{Material, MaterialError},
    shared::Shared,
    tls,
};
use crate::config::{Config, ConfigError, Level};

/// How often the certificate is read again without being told to: it may have been renewed.
pub(super) const TLS_REFRESH: Duration = Duration::from_secs(15 * 60);

/// Reads the configuration that a server was started with.
type Read = dyn Fn() -> Result<Config, ConfigError> + Send + Sync;

/// How to read the configuration again.
pub struct Reload(Box<Read>);

impl Reload {
    /// By calling `read`.
    pub fn new(read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static) -> Self {
        Self(Box::new(read))
    }

    /// Serves what the configuration says now. If anything is wrong with it, everything stays as it is. The address
    /// is not changed.
    pub(super) async fn reload(&self, shared: &Shared) {
        let log = &shared.service.log;
        log.print_error("SIGHUP signal received. Reloading configuration...\n");
        let config = match (self.0)() {
            Ok(config) => config,
            Err(error) => return log.print_error(&format!("Failed to reload server config: {error}\n")),
        };
        for warning in &config.warnings {
            log.error(Level::WARN, warning);
        }
        match replace(config, shared).await {
            Ok(banner) => {
                log.print(&banner);
                log.print("=> Reloading configuration after SIGHUP signal completed.\n");
            }
            Err(error) => log.print_error(&format!("Failed to update server configuration: {error}\n")),
        }
    }

    /// Reads certificate and CA again, and whether clients need a certificate.
    pub(super) fn refresh_tls(&self, shared: &Shared) {
        let log = &shared.service.log;
        let failed =
            |error: &dyn fmt::Display| log.print_error(&format!("Failed to reload TLS configuration: {error}\n"));
        match (self.0)() {
            Ok(config) => match tls::server_config(&config) {
                Ok(tls) => shared.tls.store(tls),
                Err(error) => failed(&error),
            },
            Err(error) => failed(&error),
        }
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

async fn replace(config: Config, shared: &Shared) -> Result<String, MaterialError> {
    let service = &shared.service;
    let Material { config, tls, keystore } = Material::load(config, &shared.environment).await?;
    let banner = banner::banner(&config, &keystore.to_string(), (service.version, service.commit), None);
    service.replace(Material::state(&config, keystore).await?);
    shared.tls.store(tls);
    service.log.set_levels(config.error_level, config.audit_level);
    Ok(banner)
}
