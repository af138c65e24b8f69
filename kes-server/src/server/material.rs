//! The things that a configuration names: certificate, keystore, keys.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::time::timeout;

use super::{
    tls::{self, Settings, TlsError},
    trust::Terms,
};
use crate::{
    api::State,
    auth::{ApiKeyError, AssignError},
    child::STARTED_AGAIN,
    config::{Config, Level},
    crypto::{Algorithm, CryptoError, Key},
    keystore::{Access, Connection, Environment, HOLD, KeyStoreError, Patience},
    log::Log,
};

/// A configuration and what it refers to, loaded and connected.
pub(super) struct Material {
    pub(super) config: Config,
    pub(super) tls: Terms,
    pub(super) keystore: Connection,
    /// Why there is no new connection to the keystore, so that the former one stays.
    pub(super) unreached: Option<String>,
}

/// A file that a configuration names is missing or cannot be used.
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

/// Pauses between attempts to make the configured keys grow from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What a server needs to reach its keystore.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub(super) environment: Environment,
    pub(super) patience: Patience,
    pub(super) log: Arc<Log>,
}

impl Surroundings {
    /// Whether a supervisor starts the server again.
    fn are_started_again(&self) -> bool {
        self.environment.get(STARTED_AGAIN).is_some()
    }
}

impl Material {
    /// `former` is what is served so far. If that has the same keystore, its folder is not made again; and its connection
    /// stays if it cannot be reached now, or refuses settings that were good before.
    pub(super) async fn load(
        config: Config,
        around: &Surroundings,
        former: Option<&State>,
    ) -> Result<Self, MaterialError> {
        let tls = tls::terms(Settings::of(&config))?;
        let same = former.filter(|former| former.keystore().is_same_place(&config.keystore));
        let makes = if former.is_some() { same.is_none() } else { !around.are_started_again() };
        let access = if makes { Access::Make } else { Access::Use };
        let environment = around.environment.clone().with_access(access);
        let log = Arc::clone(&around.log);
        let report = move |text: &str| log.error(Level::WARN, text);
        let opened = Connection::open(&config.keystore, &environment, around.patience, report).await;
        let (keystore, unreached) = match (opened, same) {
            (Err(error), Some(former))
                if matches!(error, KeyStoreError::Unreachable(_)) || *former.keystore() == config.keystore =>
            {
                (former.keys.store().clone(), Some(error.to_string()))
            }
            (opened, _) => (opened?, None),
        };
        Ok(Self { config, tls, keystore, unreached })
    }

    /// What the API serves with. Makes the keys that the configuration lists and that are not there yet; while the
    /// keystore is out of reach that is done in the background, if `patience` waits. Keys that `former`, what is served so
    /// far, had are not made again, nor any by a server that its supervisor starts again ([`STARTED_AGAIN`]).
    pub(super) async fn state(
        config: &Config,
        keystore: Connection,
        around: &Surroundings,
        former: Option<&State>,
    ) -> Result<Arc<State>, MaterialError> {
        let is_reachable = keystore.backend().is_some();
        let state = Arc::new(State::new(config, keystore, &around.log, former));
        if former.is_none() && around.are_started_again() {
            state.made().extend(config.keys.iter().cloned());
        }
        let had: Vec<_> = config.keys.iter().filter(|name| state.made().contains(*name)).cloned().collect();
        tokio::spawn(name_lost_keys(Arc::clone(&state), had, Arc::clone(&around.log)));
        // not to be mistaken for a start that hangs
        let limit = if around.patience == Patience::Fail { Duration::MAX } else { HOLD };
        let made = if around.patience == Patience::Fail || is_reachable {
            timeout(limit, create_keys(&state, config)).await.unwrap_or_else(|_| Err(too_slow()))
        } else {
            Err(too_slow())
        };
        match made {
            Err(MaterialError::KeyStore(KeyStoreError::Unreachable(_))) if around.patience == Patience::Wait => {
                tokio::spawn(create_keys_later(Arc::downgrade(&state), config.clone(), Arc::clone(&around.log)));
            }
            made => made?,
        }
        Ok(state)
    }
}

fn too_slow() -> MaterialError {
    KeyStoreError::Unreachable("the configured keys are not there yet".into()).into()
}

async fn create_keys(state: &State, config: &Config) -> Result<(), MaterialError> {
    for name in &config.keys {
        if state.made().contains(name) {
            continue;
        }
        let key = Key::generate(Algorithm::preferred(), config.admin().as_str())?;
        match state.keys.create(name, &key).await {
            Ok(()) | Err(KeyStoreError::Exists) => {}
            // A role that may only read is refused before the keystore looks for the name.
            Err(KeyStoreError::Other(_)) if state.keys.get(name).await.is_ok() => {}
            Err(error) => return Err(error.into()),
        }
        state.made().insert(name.clone());
    }
    Ok(())
}

/// For whoever reads the log of a server that was started again, or that has read its configuration again.
async fn name_lost_keys(state: Arc<State>, names: Vec<String>, log: Arc<Log>) {
    for name in names {
        if matches!(state.keys.get(&name).await, Err(KeyStoreError::NotFound)) {
            let advice = "restore the keystore; a key that is created now does not open what the lost one encrypted";
            log.error(Level::ERROR, &format!("the configured key '{name}' is gone and was not made again: {advice}"));
        }
    }
}

/// Until it has worked, or a reload has put another configuration in place.
async fn create_keys_later(state: Weak<State>, config: Config, log: Arc<Log>) {
    let mut pause = PAUSES.0;
    while let Some(state) = state.upgrade() {
        match create_keys(&state, &config).await {
            Ok(()) => return,
            // soon after it is there again
            Err(MaterialError::KeyStore(KeyStoreError::Unreachable(_))) => pause = PAUSES.0,
            Err(error) => {
                log.error(Level::ERROR, &format!("cannot create the configured keys: {error}"));
                pause = (pause * 2).min(PAUSES.1);
            }
        }
        drop(state);
        tokio::time::sleep(pause).await;
    }
}
