//! What a configuration refers to: certificate, keystore, keys.

use std::sync::Arc;

use rustls::ServerConfig;

use super::tls::{self, TlsError};
use crate::{
    api::State,
    auth::{ApiKeyError, AssignError},
    config::Config,
    crypto::{Algorithm, CryptoError, Key},
    keystore::{Backend, Environment, KeyStoreError},
};

/// A configuration and what it refers to, loaded and connected.
pub(super) struct Material {
    pub(super) config: Config,
    pub(super) tls: Arc<ServerConfig>,
    pub(super) keystore: Backend,
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

impl Material {
    pub(super) async fn load(config: Config, environment: &Environment) -> Result<Self, MaterialError> {
        let tls = tls::server_config(&config)?;
        let keystore = Backend::connect(&config.keystore, environment).await?;
        Ok(Self { config, tls, keystore })
    }

    /// What the API serves with. Makes the keys that the configuration lists and that are not there yet.
    pub(super) async fn state(config: &Config, keystore: Backend) -> Result<State, MaterialError> {
        let state = State::new(config, keystore);
        for name in &config.keys {
            let key = Key::generate(Algorithm::preferred(), config.admin().as_str())?;
            match state.keys.create(name, &key).await {
                Ok(()) | Err(KeyStoreError::Exists) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(state)
    }
}
