//! A login that lasts: a token that is renewed in time, for keystores that hand out tokens.
//!
//! The renewal runs by itself, so that no request waits for it, and goes on forever: an outage of hours ends with
//! the next attempt, and an attempt follows the last after a pause that grows (docs/keystores-protocol.md §14: 5, 11, 12).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::KeyStoreError;
use super::http::{Answer, Failure};
use super::renewals::Renewals;
use crate::config::Secret;

/// Shortest time between two attempts: a token of a few seconds must not become a storm.
const FLOOR: Duration = Duration::from_secs(1);
/// Longest life that is believed: no clock can be set to the end of what a keystore may claim.
pub(super) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Longest pause between attempts that fail.
const CEILING: Duration = Duration::from_secs(15);

/// What a login gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The token.
    pub(super) secret: Secret,
    /// How long it is valid from now on; `None` if forever.
    pub(super) life: Option<Duration>,
    /// Whether it can be renewed instead of replaced.
    pub(super) renewable: bool,
}

/// Hands out tokens.
pub(super) trait Authority: Send + Sync + 'static {
    /// Logs in.
    fn login(&self) -> impl Future<Output = Result<Token, KeyStoreError>> + Send;

    /// Makes a token last longer. An error means that a login is needed.
    fn renew(&self, token: &Secret) -> impl Future<Output = Result<Token, KeyStoreError>> + Send;

    /// Returns when a renewal can succeed: not while the keystore says that it is sealed.
    fn ready(&self) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// For how long a new token is left alone, because not all servers of the keystore know it yet, while one with
    /// this `life` still works.
    fn lag(&self, _life: Duration) -> Duration {
        Duration::ZERO
    }
}

/// A token that is valid as long as the keystore is reachable.
#[derive(Debug)]
pub(super) struct Session<A> {
    shared: Arc<Shared<A>>,
    renewal: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared<A> {
    authority: A,
    current: Mutex<Current>,
    /// One login at a time.
    logins: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Current {
    token: Arc<Token>,
    since: Instant,
    /// The token before it, and until when that one is used.
    previous: Option<(Arc<Token>, Instant)>,
}

impl Current {
    fn new(mut token: Token) -> Self {
        token.life = token.life.map(|life| life.min(LONGEST));
        Self { token: Arc::new(token), since: Instant::now(), previous: None }
    }

    /// How long the token is still valid.
    fn rest(&self) -> Duration {
        self.token.life.unwrap_or_default().saturating_sub(self.since.elapsed())
    }
}

impl<A: Authority> Session<A> {
    /// Logs in, and renews when `share` (0 to 1) of the token's life is over. `renewals` learn how that
    /// goes. Must be called within a runtime.
    ///
    /// # Errors
    /// Those of the first login.
    pub(super) async fn start(authority: A, share: f64, renewals: Renewals) -> Result<Self, KeyStoreError> {
        let token = authority.login().await?;
        let current = Mutex::new(Current::new(token));
        let shared = Arc::new(Shared { authority, current, logins: tokio::sync::Mutex::default() });
        let renewal = tokio::spawn(keep(shared.clone(), share, renewals));
        Ok(Self { shared, renewal })
    }

    /// Who hands out the tokens.
    pub(super) fn authority(&self) -> &A {
        &self.shared.authority
    }

    /// The token to use now.
    pub(super) fn token(&self) -> Arc<Token> {
        let Current { token, previous, .. } = self.shared.current();
        previous.filter(|(_, until)| Instant::now() < *until).map_or(token, |(previous, _)| previous)
    }

    /// Calls with the token of now; if that is `refused`, once more with a new one, where a new one may help.
    ///
    /// # Errors
    /// Those of the calls and of the login between them.
    pub(super) async fn call<F>(&self, refused: StatusCode, call: impl Fn(Secret) -> F) -> Result<Answer, Failure>
    where
        F: Future<Output = Result<Answer, Failure>>,
    {
        let token = self.token();
        let answer = call(token.secret.clone()).await?;
        if answer.status != refused {
            return Ok(answer);
        }
        match self.replace(&token).await? {
            Some(token) => call(token.secret.clone()).await,
            None => Ok(answer),
        }
    }

    /// For a token that the keystore refused although it should be valid: logs in, unless someone did since, or the
    /// refused one is younger than a second. Then the refusal has another reason than the token.
    ///
    /// # Errors
    /// Those of the login; `None` if another login would not help.
    pub(super) async fn replace(&self, refused: &Arc<Token>) -> Result<Option<Arc<Token>>, KeyStoreError> {
        let _one = self.shared.logins.lock().await;
        let current = self.shared.current();
        if !Arc::ptr_eq(&current.token, refused) {
            self.shared.put(Current { previous: None, ..current.clone() });
            return Ok(Some(current.token));
        }
        if current.since.elapsed() < FLOOR {
            return Ok(None);
        }
        let new = Current::new(self.shared.authority.login().await?);
        let token = new.token.clone();
        self.shared.put(new);
        Ok(Some(token))
    }
}

impl<A> Drop for Session<A> {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl<A: Authority> Shared<A> {
    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, current: Current) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
    }

    /// A renewal where that is possible, else a login.
    async fn refresh(&self) -> Result<(), KeyStoreError> {
        let _one = self.logins.lock().await;
        let old = self.current();
        let mut new = Current::new(self.successor(&old.token).await?);
        let lag = self.authority.lag(old.token.life.unwrap_or_default()).min(old.rest());
        if new.token.secret != old.token.secret && !lag.is_zero() {
            new.previous = Some((old.token, Instant::now() + lag));
        }
        self.put(new);
        Ok(())
    }

    /// A token that gets less than half of the life it had is near the end that no renewal moves: a login is better
    /// than renewals at ever shorter intervals.
    async fn successor(&self, old: &Token) -> Result<Token, KeyStoreError> {
        if old.renewable
            && let Ok(renewed) = self.authority.renew(&old.secret).await
            && renewed.life.is_none_or(|life| life >= old.life.unwrap_or_default() / 2)
        {
            return Ok(renewed);
        }
        self.authority.login().await
    }
}

async fn keep<A: Authority>(shared: Arc<Shared<A>>, share: f64, renewals: Renewals) {
    let mut failures = 0;
    loop {
        let Current { token, since, .. } = shared.current();
        let Some(life) = token.life else {
            // valid forever; a login after a refusal may bring one that is not
            tokio::time::sleep(CEILING).await;
            continue;
        };
        let due = since + life.mul_f64(share).max(FLOOR);
        if failures == 0 && due > Instant::now() {
            tokio::time::sleep_until(due).await;
            // somebody else may have logged in meanwhile
            if !Arc::ptr_eq(&shared.current().token, &token) {
                continue;
            }
        }
        shared.authority.ready().await;
        match shared.refresh().await {
            Ok(()) => {
                renewals.succeeded();
                failures = 0;
            }
            Err(error) => {
                renewals.failed(&error, Some(shared.current().rest()));
                failures += 1;
                tokio::time::sleep(FLOOR.saturating_mul(1 << failures.min(4)).min(CEILING)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
