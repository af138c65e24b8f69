//! Logging in to a Vault, staying logged in, and knowing whether it is sealed (docs/keystores-protocol.md §4.2, §4.3).

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use super::super::http::{Answer, Failure};
use super::super::session::{Authority, Token};
use super::super::{Environment, KeyStoreError};
use super::wire::{Wire, body, identified, refused};
use crate::config::{Secret, VaultAuth, VaultConfig};

/// A sealed Vault is not asked more often than this whether it still is.
const RECHECK: Duration = Duration::from_millis(200);
/// Longest time that a new token is left alone.
const MAX_LAG: Duration = Duration::from_secs(30);
/// All states are answers, not errors.
const ALL_STATES: [(&str, &str); 5] = [
    ("drsecondarycode", "299"),
    ("performancestandbycode", "299"),
    ("sealedcode", "299"),
    ("standbycode", "299"),
    ("uninitcode", "299"),
];

/// Logs in with what the configuration has.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) wire: Wire,
    auth: VaultAuth,
    sealed: watch::Sender<bool>,
    /// When it was last asked whether it is sealed.
    asked: Mutex<Instant>,
}

/// What a Vault tells to everyone.
#[derive(Debug, Deserialize)]
pub(super) struct Health {
    pub(super) initialized: bool,
    pub(super) sealed: bool,
}

impl Login {
    pub(super) fn new(config: &VaultConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        let (wire, auth) = (Wire::new(config, environment)?, config.auth.clone());
        Ok(Self { wire, auth, sealed: watch::Sender::new(false), asked: Mutex::new(Instant::now()) })
    }

    /// Asks for its state and remembers whether it is sealed.
    pub(super) async fn health(&self, token: &Secret) -> Result<Result<Health, KeyStoreError>, Failure> {
        let request = self.wire.request(Method::GET, "sys/health", &ALL_STATES);
        let answer = self.wire.send(identified(request, Some(token), "")).await?;
        if !answer.status.is_success() {
            return Ok(Err(answer.refused()));
        }
        let health: Result<Health, _> = answer.json();
        if let Ok(Health { sealed, .. }) = health {
            self.sealed.send_if_modified(|known| std::mem::replace(known, sealed) != sealed);
        }
        Ok(health)
    }

    /// Whether the vault is known to be sealed; if so, it is asked again, so that no request fails without need.
    pub(super) async fn is_sealed(&self, token: &Secret) -> bool {
        if *self.sealed.borrow() {
            let mut asked = self.asked.lock().await;
            if *self.sealed.borrow() && asked.elapsed() >= RECHECK {
                // without an answer the last one holds
                let _ = self.health(token).await;
                *asked = Instant::now();
            }
        }
        *self.sealed.borrow()
    }

    /// Whether the server does not know a token that it should know. Every token may ask for itself, so a refusal is
    /// about the token and not about what it may do.
    pub(super) async fn is_lost(&self, token: &Secret) -> Result<bool, Failure> {
        let request = self.wire.request(Method::GET, "auth/token/lookup-self", &[]);
        let answer = self.wire.send(identified(request, Some(token), self.namespace())).await?;
        Ok(answer.status == StatusCode::FORBIDDEN)
    }

    /// Where the login takes place: `/` is the root.
    fn namespace(&self) -> &str {
        let own = match &self.auth {
            VaultAuth::AppRole(role) => &role.namespace,
            VaultAuth::Kubernetes(account) => &account.namespace,
        };
        match own.as_str() {
            "" => &self.wire.namespace,
            "/" => "",
            other => other,
        }
    }

    fn refused(&self, answer: &Answer) -> KeyStoreError {
        let section = match &self.auth {
            VaultAuth::AppRole(_) => "id and secret of keystore.vault.approle",
            VaultAuth::Kubernetes(_) => "role and jwt of keystore.vault.kubernetes",
        };
        match answer.status {
            StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => {
                let said = answer.refused();
                KeyStoreError::Other(format!("{said}; check {section}"))
            }
            _ => refused(answer, "update", "the login"),
        }
    }
}

impl Authority for Login {
    async fn login(&self) -> Result<Token, KeyStoreError> {
        let (engine, credentials) = match &self.auth {
            VaultAuth::AppRole(role) => {
                (&role.engine, json!({ "role_id": role.id, "secret_id": role.secret.expose() }))
            }
            VaultAuth::Kubernetes(account) => {
                let jwt = account.jwt.read().map_err(|error| KeyStoreError::Other(error.to_string()))?;
                (&account.engine, json!({ "jwt": jwt.expose().trim(), "role": account.role }))
            }
        };
        let request = self.wire.request(Method::PUT, &format!("auth/{engine}/login"), &[]);
        let request = body(identified(request, None, self.namespace()), &credentials);
        let answer = self.wire.send(request).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(&answer));
        }
        granted(&answer)
    }

    async fn renew(&self, token: &Secret) -> Result<Token, KeyStoreError> {
        let request = self.wire.request(Method::PUT, "auth/token/renew-self", &[]);
        let request = body(identified(request, Some(token), &self.wire.namespace), &json!({ "increment": 0 }));
        let answer = self.wire.send(request).await?;
        if answer.status != StatusCode::OK {
            return Err(refused(&answer, "update", "auth/token/renew-self"));
        }
        match granted(&answer)? {
            Token { life: None, .. } => Err(answer.unexpected("the token has no life left")),
            token => Ok(token),
        }
    }

    async fn ready(&self) {
        // fails only if the sender is gone, which is part of us
        let _ = self.sealed.subscribe().wait_for(|sealed| !sealed).await;
    }

    fn lag(&self, life: Duration) -> Duration {
        (life / 10).min(MAX_LAG)
    }
}

fn granted(answer: &Answer) -> Result<Token, KeyStoreError> {
    #[derive(Deserialize)]
    struct Granted {
        auth: Auth,
    }
    #[derive(Deserialize)]
    struct Auth {
        client_token: Secret,
        lease_duration: u64,
        #[serde(default)]
        renewable: bool,
    }

    let Granted { auth } = answer.json()?;
    if auth.client_token.is_empty() {
        return Err(answer.unexpected("no token"));
    }
    let life = (auth.lease_duration > 0).then(|| Duration::from_secs(auth.lease_duration));
    Ok(Token { secret: auth.client_token, life, renewable: auth.renewable })
}
