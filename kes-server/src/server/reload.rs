//! Replacing what is served while it is served (docs/kes-protocol.md §2, §4.6).

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    banner,
    material::{Material, MaterialError, Surroundings},
    shared::Shared,
    tls,
    watch_files::WatchedFiles,
};
use crate::{
    config::{Config, ConfigError, Level, TlsConfig},
    keystore::{KeyStoreError, Patience},
};

/// How often the certificate is read again without being told to: it may have been renewed.
pub(super) const TLS_REFRESH: Duration = Duration::from_secs(15 * 60);

/// How soon a reload is tried again that found its keystore out of reach.
const AGAIN: Duration = Duration::from_secs(10);

/// Reads the configuration that a server was started with.
type Read = dyn Fn() -> Result<Config, ConfigError> + Send + Sync;

/// Reads the configuration again.
pub struct Reload {
    read: Box<Read>,
    /// The file it is read from, and those that it names for TLS, as they were when they were read.
    pub(super) files: WatchedFiles,
    /// When to try again.
    pub(super) again: Option<Instant>,
    /// False if the last reload left the old state in force.
    in_force: bool,
}

impl Reload {
    /// By calling `read`, which reads `file`. Make it before the configuration is first read, as by [`Self::config`]: what
    /// changes from then on is noticed.
    pub fn new(file: PathBuf, read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static) -> Self {
        Self { read: Box::new(read), files: WatchedFiles::new(file), again: None, in_force: true }
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// If it is refused.
    pub fn config(&self) -> Result<Config, ConfigError> {
        (self.read)()
    }

    /// The files that a configuration names are about to be read.
    pub(super) fn follow(&mut self, config: &Config) {
        let TlsConfig { key, cert, ca, .. } = &config.tls;
        self.files.tls_is_read([key, cert].into_iter().chain(ca).cloned().collect());
    }

    /// Serves what the configuration says now. If anything is wrong with it, everything stays as it is. The address
    /// is not changed. `cause` is what made it necessary. While the keystore cannot be reached, it is to be repeated.
    pub(super) async fn reload(&mut self, shared: &Shared, cause: Cause) {
        let log = &shared.service.log;
        log.print_error(&format!("{}. Reloading configuration...\n", cause.received()));
        self.again = None;
        // another attempt may leave a file unused that has changed meanwhile: that stays a change, to be noticed
        let is_attempt = cause == Cause::Again;
        if !is_attempt {
            self.files.configuration_is_read();
        }
        let config = match (self.read)() {
            Ok(config) => config,
            Err(error) => return log.print_error(&format!("Failed to reload server config: {error}\n")),
        };
        for warning in &config.warnings {
            log.error(Level::WARN, warning);
        }
        if !is_attempt {
            self.follow(&config);
        }
        let replaced = replace(config, shared, is_attempt && self.in_force).await;
        self.in_force = replaced.is_ok();
        if matches!(&replaced, Ok(Some(_)) | Err(MaterialError::KeyStore(KeyStoreError::Unreachable(_)))) {
            self.again = Some(Instant::now() + AGAIN);
        }
        match replaced {
            Ok(Some(why)) if is_attempt => log.print_error(&stays(&why)),
            Ok(unreached) => {
                if let Some(why) = unreached {
                    log.print_error(&stays(&why));
                }
                log.print(&format!("=> Reloading configuration after {} completed.\n", cause.named()));
            }
            Err(error) => log.print_error(&format!("Failed to update server configuration: {error}\n")),
        }
    }

    /// Reads certificate and CA again, and whether clients need a certificate.
    pub(super) fn refresh_tls(&mut self, shared: &Shared) {
        let log = &shared.service.log;
        let failed =
            |error: &dyn fmt::Display| log.print_error(&format!("Failed to reload TLS configuration: {error}\n"));
        match (self.read)() {
            Ok(config) => {
                self.follow(&config);
                match tls::terms(&config) {
                    Ok(tls) => shared.take(tls),
                    Err(error) => failed(&error),
                }
            }
            Err(error) => failed(&error),
        }
    }
}

/// Why the configuration is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Somebody said so.
    Signal,
    /// The file is another than before.
    Change,
    /// The keystore could not be reached.
    Again,
}

impl Cause {
    fn received(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP signal received",
            Self::Change => "Configuration file changed",
            Self::Again => "Keystore was not reached",
        }
    }

    fn named(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP signal",
            Self::Change => "a change of the file",
            Self::Again => "another attempt",
        }
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("files", &self.files).finish_non_exhaustive()
    }
}

fn stays(why: &str) -> String {
    format!("The former connection to the keystore stays: {why}\n")
}

/// Returns why there is no new connection to the keystore if it is the one there was: then all else is in force, for
/// somebody may have lost a right. Another keystore that cannot be reached leaves the old state in force, whose cache may
/// be all there is. `is_in_force` is true if all else is.
async fn replace(config: Config, shared: &Shared, is_in_force: bool) -> Result<Option<String>, MaterialError> {
    let service = &shared.service;
    let mut around = Surroundings { patience: Patience::Fail, ..shared.around.clone() };
    let former = Arc::clone(&service.state());
    let Material { config, tls, keystore, unreached } = Material::load(config, &around, Some(&former)).await?;
    match &unreached {
        Some(_) if is_in_force => return Ok(unreached),
        Some(_) => around.patience = Patience::Wait,
        None => {}
    }
    let banner = banner::banner(&config, &keystore.to_string(), (service.version, service.commit), None);
    service.replace(Material::state(&config, keystore, &around, Some(&former)).await?);
    shared.connections.judge(|identity| service.state().knows(identity));
    shared.take(tls);
    service.log.set_levels(config.error_level, config.audit_level);
    service.log.print(&banner);
    Ok(unreached)
}
