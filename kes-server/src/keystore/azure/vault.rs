//! Calls of a vault's API, with a token as soon as it asks for one.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Method, StatusCode, Url};
use serde_json::Value;

use super::super::http::{Answer, Failure, Http, Retry, Settings, between, join, retry_after};
use super::super::{Environment, KeyStoreError};
use super::challenge::Challenge;
use super::login::Login;
use super::{credential, login};
use crate::config::{AzureConfig, Secret, named};

const API_VERSION: &str = "7.5";
/// Set to `on` for an emulator whose host is not below the domain that its tokens are for. Never for a real vault.
const SKIP_DOMAIN_CHECK: &str = "KES_AZURE_SKIP_DOMAIN_CHECK";

/// A vault and who we are for it.
#[derive(Debug)]
pub(super) struct Vault {
    http: Http,
    endpoint: Url,
    login: Login,
    check_domain: bool,
}

impl Vault {
    /// Contacts nobody.
    pub(super) fn new(config: &AzureConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        let endpoint = login::secure(&config.endpoint)?;
        let credential = credential::of(&config.auth, environment)?;
        let check_domain = environment.get(SKIP_DOMAIN_CHECK).is_none_or(|value| value != "on");
        if !check_domain {
            let vault = named(endpoint.as_str());
            environment
                .warn(&format!("{SKIP_DOMAIN_CHECK} is on: '{vault}' may ask for any token; for emulators only"));
        }
        let http = Http::new(&Settings { proxies: environment.proxies(), ..settings() })?;
        let login = Login::new(credential, http.clone(), environment);
        Ok(Self { http, endpoint, login, check_domain })
    }

    pub(super) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Asks for an answer, whichever.
    pub(super) async fn reach(&self) -> Result<Duration, KeyStoreError> {
        self.http.reach(self.endpoint.clone()).await
    }

    /// The URL of these segments; an empty last one stands for a slash at the end.
    pub(super) fn url(&self, path: &[&str]) -> Url {
        let mut url = join(&self.endpoint, path);
        if path.last() == Some(&"")
            && let Ok(mut path) = url.path_segments_mut()
        {
            path.push("");
        }
        url.query_pairs_mut().append_pair("api-version", API_VERSION);
        url
    }

    /// The URL of the next page. It gets our token, and therefore must belong to the vault.
    ///
    /// # Errors
    /// If it does not.
    pub(super) fn page_after(&self, answer: &Answer, link: &str) -> Result<Url, KeyStoreError> {
        let url = Url::parse(link).ok().filter(|url| url.origin() == self.endpoint.origin());
        url.ok_or_else(|| answer.unexpected("the next page is not in this vault"))
    }

    /// Calls with the token. Without one, or if it is refused, the vault says where to get one, and is called again.
    /// As MinIO KES: the first call has no body, which only those may see who show a token first.
    ///
    /// # Errors
    /// Those of the login, and if no answer comes.
    pub(super) async fn call(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Answer, KeyStoreError> {
        let token = self.login.token().await?;
        let answer = self.send(&method, &url, token.as_ref(), body.filter(|_| token.is_some())).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let challenge = Challenge::of(&answer)?;
        if self.check_domain {
            challenge.check_domain(&self.endpoint)?;
        }
        match self.login.log_in(challenge, token.as_ref()).await? {
            Some(token) => Ok(self.send(&method, &url, Some(&token), body).await?),
            None => Ok(answer),
        }
    }

    async fn send(
        &self,
        method: &Method,
        url: &Url,
        token: Option<&Secret>,
        body: Option<&Value>,
    ) -> Result<Answer, Failure> {
        let mut request = self.http.client().request(method.clone(), url.clone()).header(ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.bearer_auth(token.expose());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.http.send(request).await
    }
}

/// The rules of Azure's own clients (docs/keystores-protocol.md §8): 7 retries in about 5 s.
pub(super) fn settings() -> Settings {
    let retry = Retry {
        attempts: 8,
        worthwhile: |outcome| match outcome {
            Ok(answer) => matches!(answer.status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504),
            Err(failure) => failure.is_network(),
        },
        pause: |made, outcome| {
            let asked = outcome.as_ref().ok().and_then(retry_after);
            asked.unwrap_or_else(|| {
                let pause = Duration::from_millis(200).saturating_mul((1 << made.min(8)) - 1);
                between(pause.mul_f64(0.8), pause.mul_f64(1.3)).min(Duration::from_millis(800))
            })
        },
    };
    Settings { retry, ..Settings::default() }
}
