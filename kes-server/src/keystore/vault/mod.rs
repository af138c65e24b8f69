//! Hashicorp Vault and `OpenBao` (docs/keystores-protocol.md §4).

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use zeroize::Zeroizing;

use self::engine::Engine;
use self::login::{Health, Login};
use self::wire::{body, identified, is_done, is_missing, refused};
use super::flight::Flights;
use super::http::{Answer, Entries, Failure, Listing};
use super::renewals::Renewals;
use super::session::Session;
use super::{Environment, KeyStore, KeyStoreError};
use crate::config::{EngineVersion, Secret, Transit, VaultConfig};

mod engine;
mod login;
mod transit;
mod wire;

/// Share of a token's life after which it is renewed.
const RENEW_AT: f64 = 0.8;

/// The K/V engine of a Vault.
#[derive(Debug)]
pub struct Vault {
    session: Arc<Session<Login>>,
    engine: Engine,
    transit: Option<Transit>,
    /// V1 overwrites, unless the policy lacks `update`: one creation of a name at a time, so that at least this server does
    /// not.
    creations: Flights,
    poll: JoinHandle<()>,
}

impl Vault {
    /// Logs in.
    ///
    /// # Errors
    /// If a certificate, key or token file cannot be read, or the login fails.
    pub async fn connect(config: &VaultConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        let renewals = Renewals::of("the token for Vault", environment);
        let session = Arc::new(Session::start(Login::new(config, environment)?, RENEW_AT, renewals).await?);
        Ok(Self {
            engine: Engine::new(config),
            transit: config.transit.clone(),
            creations: Flights::default(),
            poll: tokio::spawn(poll(session.clone(), config.ping)),
            session,
        })
    }

    fn login(&self) -> &Login {
        self.session.authority()
    }

    /// One call with the token; a token that got lost is replaced once.
    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        json: Option<&serde_json::Value>,
    ) -> Result<Answer, Failure> {
        let wire = &self.login().wire;
        let send = async |token: &Secret| {
            let request = wire.request(method.clone(), path, query);
            let request = identified(request, Some(token), &wire.namespace);
            wire.send(match json {
                Some(json) => body(request, json),
                None => request,
            })
            .await
        };
        let token = self.session.token();
        let answer = send(&token.secret).await?;
        if answer.status != StatusCode::FORBIDDEN || !self.login().is_lost(&token.secret).await? {
            return Ok(answer);
        }
        match self.session.replace(&token).await? {
            Some(token) => send(&token.secret).await,
            None => Ok(answer),
        }
    }

    /// Whether a key of that name can be asked for.
    async fn open(&self, name: &str) -> Result<(), KeyStoreError> {
        // a name that is a path would be that of another entry; the API lets none pass, a configuration may
        if name.contains('/') || matches!(name, "" | "." | "..") {
            return Err(KeyStoreError::Other(format!("vault: '{name}' is not the name of a key")));
        }
        self.unsealed().await
    }

    async fn unsealed(&self) -> Result<(), KeyStoreError> {
        if self.login().is_sealed(&self.session.token().secret).await {
            return Err(KeyStoreError::Unreachable("vault: key store is sealed".into()));
        }
        Ok(())
    }

    /// What is stored under a name, in the version that `query` says.
    async fn stored(&self, name: &str, query: &[(&str, &str)]) -> Result<Option<Secret>, KeyStoreError> {
        let answer = self.call(Method::GET, &self.engine.entry(name), query, None).await?;
        self.engine.value(name, &answer)
    }

    /// The result of a write whose answer was not a success. It may have been refused because someone else
    /// was faster, or because its own first attempt succeeded whose answer got lost (docs/keystores-protocol.md §4.5).
    async fn outcome(&self, name: &str, written: &Secret, got: Result<Answer, Failure>) -> Result<(), KeyStoreError> {
        let (error, repeated) = match got {
            Ok(answer) => {
                let error = refused(&answer, "create", &self.engine.entry(name));
                if !matches!(answer.status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN) {
                    return Err(error);
                }
                (error, answer.repeated)
            }
            Err(failure) if failure.is_interrupted() => (failure.into(), true),
            Err(failure) => return Err(failure.into()),
        };
        match self.stored(name, &[]).await {
            Ok(Some(found)) if repeated && found == *written => Ok(()),
            Ok(Some(_)) => Err(KeyStoreError::Exists),
            Ok(None) | Err(_) => Err(error),
        }
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        self.poll.abort();
    }
}

/// Asks again and again whether the Vault is sealed.
async fn poll(session: Arc<Session<Login>>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // without an answer the last one holds
        let _ = session.authority().health(&session.token().secret).await;
    }
}

impl fmt::Display for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hashicorp Vault: {}", self.login().wire.name)
    }
}

impl KeyStore for Vault {
    /// Only a Vault that says that it cannot serve, or nothing in time, counts as unreachable
    /// (docs/keystores-protocol.md §1.5).
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        let start = Instant::now();
        match self.login().health(&self.session.token().secret).await {
            Ok(Ok(Health { sealed: true, .. })) => Err(KeyStoreError::Unreachable("vault: key store is sealed".into())),
            Ok(Ok(Health { initialized: false, .. })) => {
                Err(KeyStoreError::Unreachable("vault: key store is not initialized".into()))
            }
            Ok(health) => health.map(|_| start.elapsed()).map_err(KeyStoreError::of_answer),
            Err(failure) if failure.is_timeout() => Err(KeyStoreError::Unreachable(failure.to_string())),
            Err(failure) => Err(KeyStoreError::Other(failure.to_string())),
        }
    }

    async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
        let value = super::text(value)?;
        self.open(name).await?;
        // V2 refuses a second one by itself; here it only comes later
        let creation = self.creations.board(name);
        let _one = creation.turn().await;
        if self.stored(name, &[]).await?.is_some() {
            return Err(KeyStoreError::Exists);
        }
        let written = self.encrypt(value).await?;
        let json = self.engine.body(name, written.expose());
        match self.call(Method::PUT, &self.engine.entry(name), &[], Some(&json)).await {
            Ok(answer) if self.engine.is_written(&answer) => Ok(()),
            other => self.outcome(name, &written, other).await,
        }
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        self.open(name).await?;
        let query: &[_] = match self.engine.version() {
            EngineVersion::V1 => &[],
            // what others wrote later is not the key
            EngineVersion::V2 => &[("version", "1")],
        };
        let stored = self.stored(name, query).await?.ok_or(KeyStoreError::NotFound)?;
        self.decrypt(&stored).await
    }

    /// A missing name counts as deleted: Vault answers alike.
    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        self.open(name).await?;
        let path = self.engine.whole(name);
        let answer = self.call(Method::DELETE, &path, &[], None).await?;
        let is_gone = is_done(&answer) || is_missing(&answer);
        if is_gone { Ok(()) } else { Err(refused(&answer, "delete", &path)) }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        #[derive(Deserialize)]
        struct Listed {
            data: Names,
        }
        #[derive(Deserialize)]
        struct Names {
            keys: Entries<String>,
        }

        self.unsealed().await?;
        let path = self.engine.whole("");
        let mut listing = Listing::default();
        let answer = listing.page(self.call(Method::GET, &path, &[("list", "true")], None)).await?;
        // an empty folder does not exist
        if is_missing(&answer) {
            return Ok(Vec::new());
        }
        if answer.status != StatusCode::OK {
            return Err(refused(&answer, "list", &format!("{path}/")));
        }
        let listed: Listed = answer.proof(StatusCode::OK)?;
        listing.add(&answer, listed.data.keys.0)?;
        Ok(listing.select(prefix))
    }
}
