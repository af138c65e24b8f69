//! Thales `CipherTrust` Manager, formerly Gemalto `KeySecure` (docs/keystores-protocol.md §10).

use std::fmt;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::http::{Answer, Entries, Failure, Http, Listing, Settings, Trust, endpoint, join};
use super::renewals::Renewals;
use super::session::{Authority, Session, Token};
use super::{Environment, KeyStore, KeyStoreError, stored_before, stored_now};
use crate::config::{KeySecureConfig, Secret, named};

/// Names asked for at once.
const PAGE: usize = 200;

/// The vault of a `CipherTrust` Manager.
#[derive(Debug)]
pub struct KeySecure {
    session: Session<Login>,
}

/// Exchanges the refresh token for short-lived ones.
#[derive(Debug)]
struct Login {
    http: Http,
    endpoint: Url,
    refresh_token: Secret,
    domain: String,
}

impl KeySecure {
    /// Logs in.
    ///
    /// # Errors
    /// If the CA cannot be read, or the login fails.
    pub async fn connect(config: &KeySecureConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        let (trust, proxies) = (Trust::only(config.ca.as_ref()), environment.proxies());
        let settings = Settings { trust, proxies, ..Settings::default() };
        let login = Login {
            http: Http::new(&settings)?,
            endpoint: endpoint(&config.endpoint)?,
            refresh_token: config.token.clone(),
            domain: config.domain.clone(),
        };
        let renewals = Renewals::of("the token for Thales CipherTrust Manager", environment);
        Ok(Self { session: Session::start(login, 0.5, renewals).await? })
    }

    fn login(&self) -> &Login {
        self.session.authority()
    }

    fn url(&self, segments: &[&str], query: &[(&str, &str)]) -> Url {
        let path = [&["api", "v1", "vault", "secrets"], segments].concat();
        let mut url = join(&self.login().endpoint, &path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn call(&self, method: Method, url: Url, body: Option<serde_json::Value>) -> Result<Answer, Failure> {
        let http = &self.login().http;
        let call = |token: Secret| {
            let mut request = http.client().request(method.clone(), url.clone()).bearer_auth(token.expose());
            if let Some(body) = &body {
                request = request.json(body);
            }
            http.send(request)
        };
        self.session.call(StatusCode::UNAUTHORIZED, call).await
    }
}

impl Authority for Login {
    async fn login(&self) -> Result<Token, KeyStoreError> {
        #[derive(Deserialize)]
        struct Granted {
            token_type: String,
            jwt: Secret,
            duration: u64,
        }

        let body = json!({
            "grant_type": "refresh_token", "refresh_token": self.refresh_token.expose(), "domain": self.domain,
        });
        let url = join(&self.endpoint, &["api", "v1", "auth", "tokens"]);
        let answer = self.http.send(self.http.client().post(url).json(&body)).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refused());
        }
        let granted: Granted = answer.json()?;
        if granted.token_type != "Bearer" || granted.jwt.is_empty() || granted.duration == 0 {
            return Err(answer.unexpected("no bearer token with a duration"));
        }
        let life = Some(Duration::from_secs(granted.duration));
        Ok(Token { secret: granted.jwt, life, renewable: false })
    }

    async fn renew(&self, _: &Secret) -> Result<Token, KeyStoreError> {
        self.login().await
    }
}

impl fmt::Display for KeySecure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gemalto KeySecure: {}", named(self.login().endpoint.as_str()))
    }
}

impl KeyStore for KeySecure {
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        self.login().http.reach(self.login().endpoint.clone()).await
    }

    async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
        let material = super::text(value)?;
        let body = json!({ "dataType": "seed", "material": material, "name": name });
        let answer = self.call(Method::POST, self.url(&[], &[]), Some(body)).await?;
        if answer.status == StatusCode::CONFLICT && is_own(&answer) {
            return stored_before(self, &answer, name, value).await;
        }
        let made: Made = answer.proof(StatusCode::CREATED)?;
        if made.name == name { Ok(()) } else { stored_now(self, &answer, name, value).await }
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        #[derive(Deserialize)]
        struct Exported {
            material: Secret,
        }

        let url = self.url(&[name, "export"], &[("type", "name")]);
        let answer = self.call(Method::POST, url, None).await?;
        match answer.status {
            StatusCode::OK => Ok(Zeroizing::new(answer.json::<Exported>()?.material.expose().as_bytes().to_vec())),
            StatusCode::NOT_FOUND if is_own(&answer) => Err(KeyStoreError::NotFound),
            _ => Err(answer.refused()),
        }
    }

    /// A missing name counts as deleted: the server answers alike for what it does not let us see.
    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        let answer = self.call(Method::DELETE, self.url(&[name], &[("type", "name")]), None).await?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(()),
            StatusCode::NOT_FOUND if is_own(&answer) => Ok(()),
            _ => Err(answer.refused()),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        #[derive(Deserialize)]
        struct Page {
            skip: usize,
            total: usize,
            resources: Option<Entries<Made>>,
        }

        let (mut listing, mut skip) = (Listing::default(), 0);
        loop {
            let query = [("limit", &*PAGE.to_string()), ("skip", &*skip.to_string())];
            let answer = listing.page(self.call(Method::GET, self.url(&[], &query), None)).await?;
            let page: Page = answer.proof(StatusCode::OK)?;
            if page.skip != skip {
                return Err(answer.unexpected("another page than the one asked for"));
            }
            let secrets = page.resources.map_or_else(Vec::new, |resources| resources.0);
            listing.add(&answer, secrets.into_iter().map(|secret| secret.name))?;
            if skip >= page.total {
                return Ok(listing.select(prefix));
            }
            skip += PAGE;
        }
    }
}

/// A secret as the server shows it.
#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    name: String,
}

/// True if the server itself gives a reason for the status: what is in between does not know its form.
fn is_own(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Said {
        #[serde(rename = "codeDesc")]
        reason: String,
    }

    answer.is_json() && answer.json::<Said>().is_ok_and(|said| !said.reason.is_empty())
}
