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
    config::{Config, ConfigError, Level},
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
    is_in_force: bool,
}

impl Reload {
    /// By calling `read`, which reads `file`. Make it before the configuration is first read, as by [`Self::config`]: what
    /// changes from then on is noticed.
    pub fn new(file: PathBuf, read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static) -> Self {
        Self { read: Box::new(read), files: WatchedFiles::new(file), again: None, is_in_force: true }
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
        self.files.tls_is_read(&config.tls);
    }

    /// False if the file may say something else than what is served.
    pub(super) fn is_in_force(&self) -> bool {
        self.is_in_force
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
        match (self.read)() {
            Ok(config) => self.apply(config, shared, cause).await,
            Err(error) => {
                self.is_in_force = false;
                log.print_error(&format!("Failed to reload server config: {error}\n"));
            }
        }
        if !self.is_in_force && !is_attempt {
            // what stays in force may have a new certificate
            self.refresh_tls(shared);
        }
    }

    async fn apply(&mut self, config: Config, shared: &Shared, cause: Cause) {
        let (log, is_attempt) = (&shared.service.log, cause == Cause::Again);
        for warning in &config.warnings {
            log.error(Level::WARN, warning);
        }
        if !is_attempt {
            self.forget_others(shared);
            self.follow(&config);
        }
        let replaced = replace(config, shared, is_attempt && self.is_in_force).await;
        self.is_in_force = replaced.is_ok();
        if matches!(&replaced, Ok(Some(_)) | Err(MaterialError::KeyStore(KeyStoreError::Unreachable(_)))) {
            self.again = Some(Instant::now() + AGAIN);
        }
        match replaced {
            Ok(Some(why)) if is_attempt => log.print_error(&stays(&why)),
            Ok(unreached) => {
                if let Some(why) = unreached {
                    log.print_error(&stays(&why));
                }
                self.forget_others(shared);
                log.print(&format!("=> Reloading configuration after {} completed.\n", cause.named()));
            }
            Err(error) => log.print_error(&format!("Failed to update server configuration: {error}\n")),
        }
    }

    /// Reads the certificate and the CA that are in force again. What the file says by now plays no role: of a
    /// configuration that is refused, or not read yet, no part is served.
    pub(super) fn refresh_tls(&mut self, shared: &Shared) {
        let Some(settings) = shared.tls.borrow().settings.clone() else { return };
        self.files.tls_is_read(&settings.files);
        match tls::terms(settings) {
            Ok(tls) => shared.take(tls),
            Err(error) => {
                shared.service.log.print_error(&format!("Failed to reload TLS configuration: {error}\n"));
            }
        }
    }

    /// Watches no files of TLS but those in force.
    fn forget_others(&mut self, shared: &Shared) {
        if let Some(settings) = &shared.tls.borrow().settings {
            self.files.forget_others(&settings.files);
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
    /// It was refused before, and perhaps for a file that is another one now.
    Refused,
}

impl Cause {
    fn received(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP signal received",
            Self::Change => "Configuration file changed",
            Self::Again => "Keystore was not reached",
            Self::Refused => "Configuration file is not in force",
        }
    }

    fn named(self) -> &'static str {
        match self {
            Self::Signal => "SIGHUP signal",
            Self::Change => "a change of the file",
            Self::Again | Self::Refused => "another attempt",
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
