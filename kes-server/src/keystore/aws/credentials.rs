//! The credentials that sign, kept while they are good.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use reqsign_aws_v4::Credential;
use reqsign_core::SigningCredential as _;
use reqsign_core::time::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;
use zeroize::Zeroize as _;

use super::chain::Chain;
use crate::config::AwsCredentials;
use crate::keystore::http::Http;
use crate::keystore::renewals::Renewals;
use crate::keystore::{Environment, KeyStoreError};

/// Shortest time between two searches: many callers without credentials must not become a storm.
const FLOOR: Duration = Duration::from_secs(2);
/// How long a call that has good credentials waits for the next ones.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long credentials must still be good to sign with them.
const MARGIN: Duration = Duration::from_secs(15);

/// Credentials that are wiped from memory when dropped.
pub(super) struct Held(Credential);

/// Where credentials come from, and those found last.
#[derive(Debug)]
pub(super) struct Credentials {
    /// `None` if they are configured.
    chain: Option<Chain>,
    renewals: Renewals,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: Option<Arc<Held>>,
    /// The last search, and how it failed if it did.
    searched: Option<(Instant, Option<KeyStoreError>)>,
}

impl Credentials {
    /// Those of the configuration.
    ///
    /// # Errors
    /// If the access key or the secret key is missing.
    pub(super) fn fixed(config: &AwsCredentials, environment: &Environment) -> Result<Self, KeyStoreError> {
        if config.access_key.is_empty() || config.secret_key.is_empty() {
            let text = "AWS credentials are incomplete: set both accesskey and secretkey, or none of accesskey, \
                        secretkey and token to use those of the environment";
            return Err(KeyStoreError::Other(text.into()));
        }
        let held = Arc::new(Held(Credential {
            access_key_id: config.access_key.clone(),
            secret_access_key: config.secret_key.expose().to_owned(),
            session_token: Some(config.token.expose().to_owned()).filter(|token| !token.is_empty()),
            expires_in: None,
        }));
        let state = Mutex::new(State { held: Some(held), searched: None });
        Ok(Self { chain: None, renewals: renewals(environment), state })
    }

    /// Those of the default chain, searched when they are needed.
    ///
    /// # Errors
    /// If the client for the metadata services cannot be set up.
    pub(super) fn of_environment(
        http: Arc<Http>,
        environment: &Environment,
        region: &str,
    ) -> Result<Self, KeyStoreError> {
        let chain = Some(Chain::new(http, environment, region)?);
        Ok(Self { chain, renewals: renewals(environment), state: Mutex::default() })
    }

    /// The credentials to sign with now. New ones are fetched two minutes before the old ones end; if that fails, the
    /// old ones serve as long as they can.
    pub(super) async fn current(&self) -> Result<Arc<Held>, KeyStoreError> {
        let mut state = self.state.lock().await;
        match &state.held {
            Some(held) if held.is_valid() => Ok(held.clone()),
            _ => self.search(&mut state).await,
        }
    }

    /// For credentials that AWS refused: others, if there are any by now.
    pub(super) async fn replace(&self, refused: &Arc<Held>) -> Result<Option<Arc<Held>>, KeyStoreError> {
        let mut state = self.state.lock().await;
        let found = match &state.held {
            Some(held) if !Arc::ptr_eq(held, refused) => held.clone(),
            _ if self.chain.is_none() || state.is_recent() => return Ok(None),
            _ => self.search(&mut state).await?,
        };
        Ok(Some(found).filter(|found| !found.is_same(refused)))
    }

    async fn search(&self, state: &mut State) -> Result<Arc<Held>, KeyStoreError> {
        let failure = match &state.searched {
            Some((_, Some(failure))) if state.is_recent() => failure.clone(),
            _ => match self.find_for(state).await {
                Ok(credential) => {
                    let held = Arc::new(Held(credential));
                    *state = State { held: Some(held.clone()), searched: Some((Instant::now(), None)) };
                    self.renewals.succeeded();
                    return Ok(held);
                }
                Err(failure) => {
                    state.searched = Some((Instant::now(), Some(failure.clone())));
                    if let Some(held) = &state.held {
                        self.renewals.failed(&failure, held.rest());
                    }
                    failure
                }
            },
        };
        state.usable().cloned().ok_or(failure)
    }

    /// A source that does not answer holds up nobody as long as there are credentials that still hold.
    async fn find_for(&self, state: &State) -> Result<Credential, KeyStoreError> {
        if state.usable().is_none() {
            return self.find().await;
        }
        let silent = |_| Err(KeyStoreError::Unreachable("AWS credentials: no answer within 5 s".into()));
        tokio::time::timeout(PATIENCE, self.find()).await.unwrap_or_else(silent)
    }

    async fn find(&self) -> Result<Credential, KeyStoreError> {
        match &self.chain {
            Some(chain) => chain.find().await,
            None => Err(KeyStoreError::Other("the configured AWS credentials are not usable".into())),
        }
    }
}

impl State {
    /// Those that sign until there are others.
    fn usable(&self) -> Option<&Arc<Held>> {
        self.held.as_ref().filter(|held| held.is_valid_at(Timestamp::now() + MARGIN))
    }

    fn is_recent(&self) -> bool {
        self.searched.as_ref().is_some_and(|(at, _)| at.elapsed() < FLOOR)
    }
}

fn renewals(environment: &Environment) -> Renewals {
    Renewals::of("the AWS credentials", environment)
}

impl Held {
    /// How long they are still good, if they say so.
    fn rest(&self) -> Option<Duration> {
        let rest = self.expires_in?.as_second() - Timestamp::now().as_second();
        Some(Duration::from_secs(u64::try_from(rest).unwrap_or_default()))
    }

    fn is_same(&self, other: &Self) -> bool {
        self.access_key_id == other.access_key_id
            && self.secret_access_key == other.secret_access_key
            && self.session_token == other.session_token
    }
}

impl Deref for Held {
    type Target = Credential;

    fn deref(&self) -> &Credential {
        &self.0
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.secret_access_key.zeroize();
        self.0.session_token.zeroize();
    }
}
