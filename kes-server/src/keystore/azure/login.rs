//! The token of a vault: asked for when it is needed, renewed before it ends, kept while renewing fails.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use tokio::time::Instant;

use super::super::http::{Http, endpoint};
use super::super::renewals::Renewals;
use super::super::session::LONGEST;
use super::super::{Environment, KeyStoreError};
use super::challenge::Challenge;
use super::credential::{Credential, Granted};
use crate::config::{Secret, named};

/// How long before its end a token is renewed.
const AHEAD: Duration = Duration::from_secs(5 * 60);
/// How long a call that has a valid token waits for the next one, and how long after a failure none is asked for.
const PATIENCE: Duration = Duration::from_secs(5);
/// A token younger than this is not replaced: its refusal has another reason.
const FLOOR: Duration = Duration::from_secs(1);

/// Who we are, and the token that proves it.
#[derive(Debug)]
pub(super) struct Login {
    http: Http,
    credential: Credential,
    renewals: Renewals,
    held: Mutex<Option<Held>>,
    /// One login at a time.
    logins: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Held {
    token: Secret,
    challenge: Challenge,
    since: Instant,
    renewal: Instant,
    end: Instant,
}

impl Login {
    pub(super) fn new(credential: Credential, http: Http, environment: &Environment) -> Self {
        let renewals = Renewals::of("the token for Azure Key Vault", environment);
        Self { http, credential, renewals, held: Mutex::default(), logins: tokio::sync::Mutex::default() }
    }

    /// The token of now; `None` before the vault has said what it wants.
    ///
    /// # Errors
    /// If it has ended and there is no other.
    pub(super) async fn token(&self) -> Result<Option<Secret>, KeyStoreError> {
        let Some(held) = self.held() else { return Ok(None) };
        let now = Instant::now();
        if now < held.renewal {
            return Ok(Some(held.token));
        }
        if now >= held.end {
            return self.log_in(held.challenge, Some(&held.token)).await;
        }
        let renewed = tokio::time::timeout(PATIENCE, self.log_in(held.challenge.clone(), Some(&held.token))).await;
        match renewed {
            Ok(Ok(Some(token))) => Ok(Some(token)),
            outcome => {
                let why = outcome.map_or_else(
                    |_| "no answer".into(),
                    |why| why.err().map_or_else(String::new, |why| why.to_string()),
                );
                self.renewals.failed(&why, Some(held.end.saturating_duration_since(now)));
                self.postpone(&held.token, now + PATIENCE);
                Ok(Some(held.token))
            }
        }
    }

    /// Gets a token for a challenge, in place of one that was refused if there was one. Whoever comes while this goes
    /// on takes the same. `None` if the refused one is new: then another would be refused too.
    ///
    /// # Errors
    /// If none is available.
    pub(super) async fn log_in(
        &self,
        challenge: Challenge,
        refused: Option<&Secret>,
    ) -> Result<Option<Secret>, KeyStoreError> {
        let _one = self.logins.lock().await;
        if let Some(held) = self.held() {
            if Some(&held.token) != refused {
                return Ok(Some(held.token));
            }
            if held.since.elapsed() < FLOOR {
                return Ok(None);
            }
        }
        let Granted { token, life } = self.credential.token(&self.http, &challenge).await?;
        self.renewals.succeeded();
        let (since, life) = (Instant::now(), life.min(LONGEST));
        let renewal = since + life.saturating_sub(AHEAD).max(life / 2);
        let held = Held { token: token.clone(), challenge, since, renewal, end: since + life };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(Some(token))
    }

    fn held(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn postpone(&self, token: &Secret, until: Instant) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = held.as_mut().filter(|held| held.token == *token) {
            held.renewal = until.min(held.end);
        }
    }
}

/// A URL that secrets may be sent to: HTTPS, or this machine, where emulators are.
///
/// # Errors
/// If it is none.
pub(super) fn secure(text: &str) -> Result<Url, KeyStoreError> {
    let url = endpoint(text)?;
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let local = host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|ip| ip.is_loopback());
    if url.scheme() == "https" || local {
        return Ok(url);
    }
    Err(KeyStoreError::Other(format!("'{}' is not HTTPS: Azure gets no secret without", named(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_over_https_or_stay_here() {
        for good in [
            "https://v.vault.azure.net",
            "v.vault.azure.net",
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "http://v.localhost",
        ] {
            assert!(secure(good).is_ok(), "{good}");
        }
        for bad in ["http://v.vault.azure.net", "http://10.0.0.1", "http://evillocalhost"] {
            assert!(secure(bad).is_err(), "{bad}");
        }
    }
}
