//! What a configuration refers to: certificate, keystore, keys.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use rustls::ServerConfig;

use super::tls::{self, TlsError};
use crate::{
    api::State,
    auth::{ApiKeyError, AssignError},
    config::{Config, Level},
    crypto::{Algorithm, CryptoError, Key},
    keystore::{Connection, Environment, KeyStoreError, Patience},
    log::Log,
};

/// A configuration and what it refers to, loaded and connected.
pub(super) struct Material {
    pub(super) config: Config,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) keystore: Connection,
}

/// What a configuration refers to is not there or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// Certificate, private key or CA.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The keystore.
    #[error(transparent)]
    KeyStore(#[from] KeyStoreError),
    /// A key that the configuration lists cannot be made.
    #[error(transparent)]
    Key(#[from] CryptoError),
    /// The admin's key of a server for a try cannot be made.
    #[error(transparent)]
    ApiKey(#[from] ApiKeyError),
    /// The certificate of a server for a try cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// Admin and policies do not go together.
    #[error(transparent)]
    Access(#[from] AssignError),
}

/// How long to wait before the configured keys are tried again while the keystore is out of reach.
const KEYS_PAUSE: Duration = Duration::from_secs(1);

/// What a server needs to reach its keystore.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) environment: Environment,
    pub(super) patience: Patience,
    pub(super) log: Arc<Log>,
}

impl Material {
    pub(super) async fn load(config: Config, around: &Surroundings) -> Result<Self, MaterialError> {
        let tls = tls::server_config(&config)?;
        let log = Arc::clone(&around.log);
        let report = move |text: &str| log.error(Level::WARN, text);
        let keystore = Connection::open(&config.keystore, &around.environment, around.patience, report).await?;
        Ok(Self { config, tls, keystore })
    }

    /// What the API serves with. Makes the keys that the configuration lists and that are not there yet; while the
    /// keystore is out of reach that is done in the background.
    pub(super) async fn state(
        config: &Config,
        keystore: Connection,
        log: &Arc<Log>,
    ) -> Result<Arc<State>, MaterialError> {
        let is_reachable = keystore.backend().is_some();
        let state = Arc::new(State::new(config, keystore, log));
        if is_reachable {
            create_keys(&state, config).await?;
        } else if !config.keys.is_empty() {
            tokio::spawn(create_keys_later(Arc::downgrade(&state), config.clone(), Arc::clone(log)));
        }
        Ok(state)
    }
}

async fn create_keys(state: &State, config: &Config) -> Result<(), MaterialError> {
    for name in &config.keys {
        let key = Key::generate(Algorithm::preferred(), config.admin().as_str())?;
        match state.keys.create(name, &key).await {
            Ok(()) | Err(KeyStoreError::Exists) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Until it has worked, or a reload has put another configuration in place.
async fn create_keys_later(state: Weak<State>, config: Config, log: Arc<Log>) {
    while let Some(state) = state.upgrade() {
        match create_keys(&state, &config).await {
            Ok(()) => return,
            Err(MaterialError::KeyStore(KeyStoreError::Unreachable(_))) => {}
            Err(error) => log.error(Level::ERROR, &format!("cannot create the configured keys: {error}")),
        }
        drop(state);
        tokio::time::sleep(KEYS_PAUSE).await;
    }
}
