//! Thales `CipherTrust` Manager, formerly Gemalto `KeySecure` (kes-keystores §10).

use std::fmt;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::http::{Answer, Failure, Http, Settings, Trust, endpoint, join, select};
use super::session::{Authority, Session, Token};
use super::{KeyStore, KeyStoreError, stored_before};
use crate::config::{KeySecureConfig, Secret};

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
    pub async fn connect(config: &KeySecureConfig) -> Result<Self, KeyStoreError> {
        let settings = Settings { trust: Trust::only(config.ca.as_ref()), ..Settings::default() };
        let login = Login {
            http: Http::new(&settings)?,
            endpoint: endpoint(&config.endpoint)?,
            refresh_token: config.token.clone(),
            domain: config.domain.clone(),
        };
        Ok(Self { session: Session::start(login, 0.5).await? })
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
        write!(f, "Gemalto KeySecure: {}", self.login().endpoint.as_str().trim_end_matches('/'))
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
        match answer.status {
            StatusCode::CREATED => Ok(()),
            StatusCode::CONFLICT => stored_before(self, &answer, name, value).await,
            _ => Err(answer.refused()),
        }
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
            StatusCode::NOT_FOUND => Err(KeyStoreError::NotFound),
            _ => Err(answer.refused()),
        }
    }

    /// A missing name counts as deleted: the server answers alike for what it does not let us see.
    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        let answer = self.call(Method::DELETE, self.url(&[name], &[("type", "name")]), None).await?;
        match answer.status {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(answer.refused()),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        #[derive(Deserialize)]
        struct Page {
            skip: usize,
            total: usize,
            #[serde(default)]
            resources: Vec<Named>,
        }
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }

        let (mut names, mut skip) = (Vec::new(), 0);
        loop {
            let query = [("limit", &*PAGE.to_string()), ("skip", &*skip.to_string())];
            let answer = self.call(Method::GET, self.url(&[], &query), None).await?;
            if answer.status != StatusCode::OK {
                return Err(answer.refused());
            }
            let page: Page = answer.json()?;
            if page.skip != skip {
                return Err(answer.unexpected("another page than the one asked for"));
            }
            names.extend(page.resources.into_iter().map(|named| named.name));
            if skip >= page.total {
                return Ok(select(names, prefix));
            }
            skip += PAGE;
        }
    }
}
