//! A login that lasts: a token that is renewed in time, for keystores that hand out tokens.
//!
//! The renewal runs by itself, so that no request waits for it, and goes on for ever: an outage of hours ends with
//! the next attempt, and an attempt follows the last after a pause that grows (kes-keystores §14: 5, 11, 12).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::KeyStoreError;
use super::http::{Answer, Failure};
use crate::config::Secret;

/// Shortest time between two attempts: a token of a few seconds must not become a storm.
const FLOOR: Duration = Duration::from_secs(1);
/// Longest pause between attempts that fail.
const CEILING: Duration = Duration::from_secs(15);

/// What a login gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The token.
    pub(super) secret: Secret,
    /// How long it is valid from now on; `None` if for ever.
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
}

impl<A: Authority> Session<A> {
    /// Logs in, and renews when `share` (0 to 1) of the token's life is over. Must be called within a runtime.
    ///
    /// # Errors
    /// Those of the first login.
    pub(super) async fn start(authority: A, share: f64) -> Result<Self, KeyStoreError> {
        let token = authority.login().await?;
        let current = Mutex::new(Current { token: Arc::new(token), since: Instant::now() });
        let shared = Arc::new(Shared { authority, current, logins: tokio::sync::Mutex::default() });
        let renewal = tokio::spawn(keep(shared.clone(), share));
        Ok(Self { shared, renewal })
    }

    /// Who hands out the tokens.
    pub(super) fn authority(&self) -> &A {
        &self.shared.authority
    }

    /// The token to use now.
    pub(super) fn token(&self) -> Arc<Token> {
        self.shared.current().token
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
            return Ok(Some(current.token));
        }
        if current.since.elapsed() < FLOOR {
            return Ok(None);
        }
        let token = self.shared.authority.login().await?;
        Ok(Some(self.shared.put(token)))
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

    fn put(&self, token: Token) -> Arc<Token> {
        let token = Arc::new(token);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) =
            Current { token: token.clone(), since: Instant::now() };
        token
    }

    /// A renewal where that is possible, else a login.
    async fn refresh(&self) -> Result<(), KeyStoreError> {
        let _one = self.logins.lock().await;
        let token = self.current().token;
        if token.renewable
            && let Ok(renewed) = self.authority.renew(&token.secret).await
        {
            self.put(renewed);
            return Ok(());
        }
        let token = self.authority.login().await?;
        self.put(token);
        Ok(())
    }
}

async fn keep<A: Authority>(shared: Arc<Shared<A>>, share: f64) {
    let mut failures = 0;
    loop {
        let Current { token, since } = shared.current();
        let Some(life) = token.life else {
            // valid for ever; a login after a refusal may bring one that is not
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
        if shared.refresh().await.is_ok() {
            failures = 0;
        } else {
            failures += 1;
            tokio::time::sleep(FLOOR.saturating_mul(1 << failures.min(4)).min(CEILING)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Hands out numbered tokens and remembers when it was asked for what.
    #[derive(Debug)]
    struct Desk {
        life: u64,
        renewable: bool,
        down: AtomicBool,
        start: Instant,
        asked: Mutex<Vec<(&'static str, u64)>>,
    }

    impl Desk {
        fn new(life: u64, renewable: bool) -> Self {
            let (start, down) = (Instant::now(), AtomicBool::new(false));
            Self { life, renewable, down, start, asked: Mutex::default() }
        }

        fn answer(&self, what: &'static str) -> Result<Token, KeyStoreError> {
            let mut asked = self.asked.lock().unwrap();
            asked.push((what, self.start.elapsed().as_secs()));
            if self.down.load(Ordering::Relaxed) {
                return Err(KeyStoreError::Unreachable("down".into()));
            }
            let life = (self.life > 0).then(|| Duration::from_secs(self.life));
            Ok(Token { secret: Secret::new(format!("token-{}", asked.len())), life, renewable: self.renewable })
        }
    }

    impl Authority for Arc<Desk> {
        async fn login(&self) -> Result<Token, KeyStoreError> {
            self.answer("login")
        }

        async fn renew(&self, _: &Secret) -> Result<Token, KeyStoreError> {
            self.answer("renew")
        }
    }

    async fn asked(life: u64, renewable: bool, seconds: u64) -> Vec<(&'static str, u64)> {
        let desk = Arc::new(Desk::new(life, renewable));
        let _session = Session::start(desk.clone(), 0.8).await.unwrap();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let asked = desk.asked.lock().unwrap();
        asked.clone()
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_renewed_at_a_share_of_their_life() {
        assert_eq!(asked(60, true, 100).await, [("login", 0), ("renew", 48), ("renew", 96)]);
        assert_eq!(asked(40, false, 70).await, [("login", 0), ("login", 32), ("login", 64)]);
        assert_eq!(asked(20, true, 40).await, [("login", 0), ("renew", 16), ("renew", 32)]);
        assert_eq!(asked(0, true, 86_400).await, [("login", 0)], "valid for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_of_a_moment_is_no_storm() {
        assert!(asked(1, true, 60).await.len() <= 62);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_hours_ends_by_itself_and_without_a_storm() {
        let desk = Arc::new(Desk::new(60, true));
        let session = Session::start(desk.clone(), 0.8).await.unwrap();
        desk.down.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
        let attempts = desk.asked.lock().unwrap().len();
        assert!(attempts < 2 * 3 * 3600 / 15 + 20, "{attempts} attempts in three hours");
        desk.down.store(false, Ordering::Relaxed);
        let before = session.token();
        tokio::time::sleep(CEILING + FLOOR).await;
        assert!(!Arc::ptr_eq(&before, &session.token()), "a new token soon after");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_replaced_once_for_all_who_ask() {
        let desk = Arc::new(Desk::new(600, true));
        let session = Session::start(desk.clone(), 0.8).await.unwrap();
        let refused = session.token();
        assert_eq!(session.replace(&refused).await.unwrap(), None, "a token this young is not the reason");
        tokio::time::sleep(Duration::from_secs(5)).await;
        let all = futures_util::future::join_all((0..9).map(|_| session.replace(&refused))).await;
        assert!(all.into_iter().all(|token| token.unwrap().unwrap().secret.expose() == "token-2"));
        assert_eq!(desk.asked.lock().unwrap().len(), 2);
    }
}
