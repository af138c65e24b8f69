//! Fortanix DSM, formerly SDKMS (docs/keystores-protocol.md §11).

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::AUTHORIZATION;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::http::{Answer, Entries, Failure, Http, Listing, Settings, Trust, endpoint, join};
use super::{Environment, KeyStore, KeyStoreError, stored_before};
use crate::config::{FortanixConfig, Secret, named};

/// Names asked for at once.
const PAGE: usize = 100;
/// What the server says of a name that is taken.
const TAKEN: &str = "sobject already exists";
/// What the server says of a name that it does not have.
const MISSING: &str = "sobject does not exist";

/// The security objects that an application of Fortanix DSM can see. Each call logs in by the API key.
#[derive(Debug)]
pub struct Fortanix {
    http: Http,
    endpoint: Url,
    group_id: String,
    api_key: Secret,
}

impl Fortanix {
    /// Asks whether the server is well and knows the API key.
    ///
    /// # Errors
    /// If the CA cannot be read, the server is not well, or the key is refused.
    pub async fn connect(config: &FortanixConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        let (trust, proxies) = (Trust::only(config.ca.as_ref()), environment.proxies());
        let settings = Settings { trust, proxies, ..Settings::default() };
        let store = Self {
            http: Http::new(&settings)?,
            endpoint: endpoint(&config.endpoint)?,
            group_id: config.group_id.clone(),
            api_key: config.api_key.clone(),
        };
        let health = store.http.send(store.request(Method::GET, store.url(&["sys", "v1", "health"]))).await?;
        if health.status != StatusCode::NO_CONTENT {
            return Err(health.unexpected("the server is not healthy"));
        }
        store.log_in_and_out().await?;
        Ok(store)
    }

    /// Proves that the API key is known. The session is of no further use: the key itself opens every call.
    async fn log_in_and_out(&self) -> Result<(), KeyStoreError> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: Secret,
        }

        let login = self.http.send(self.request(Method::POST, self.url(&["sys", "v1", "session", "auth"]))).await?;
        if login.status != StatusCode::OK {
            return Err(login.denied("the API key is refused; check credentials.key"));
        }
        let token = login.json::<Granted>()?.access_token;
        let url = self.url(&["sys", "v1", "session", "terminate"]);
        let logout = self.http.send(self.http.client().post(url).bearer_auth(token.expose())).await?;
        if logout.status == StatusCode::NO_CONTENT { Ok(()) } else { Err(logout.refused()) }
    }

    fn url(&self, path: &[&str]) -> Url {
        join(&self.endpoint, path)
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let key = Zeroizing::new(format!("Basic {}", self.api_key.expose()));
        self.http.client().request(method, url).header(AUTHORIZATION, key.as_str())
    }

    /// The object of a name with its value.
    async fn export(&self, name: &str) -> Result<Answer, KeyStoreError> {
        let request = self.request(Method::POST, self.url(&["crypto", "v1", "keys", "export"]));
        let answer = self.http.send(request.json(&json!({ "name": name }))).await?;
        match answer.status {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND if message(&answer) == MISSING => Err(KeyStoreError::NotFound),
            _ => Err(answer.refused()),
        }
    }

    async fn page(&self, start: &str) -> Result<Answer, Failure> {
        let mut url = self.url(&["crypto", "v1", "keys"]);
        url.query_pairs_mut().append_pair("sort", "name:asc").append_pair("limit", &PAGE.to_string());
        if !start.is_empty() {
            url.query_pairs_mut().append_pair("start", start);
        }
        self.http.send(self.request(Method::GET, url)).await
    }
}

impl fmt::Display for Fortanix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fortanix SDKMS: {}", named(self.endpoint.as_str()))
    }
}

impl KeyStore for Fortanix {
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        self.http.reach(self.endpoint.clone()).await
    }

    async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
        #[derive(Serialize)]
        struct Object<'a> {
            obj_type: &'a str,
            name: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            group_id: &'a str,
            key_ops: [&'a str; 2],
            value: &'a str,
            enabled: bool,
        }

        let text = Zeroizing::new(BASE64.encode(value));
        let object = Object {
            obj_type: "OPAQUE",
            name,
            group_id: &self.group_id,
            key_ops: ["EXPORT", "APPMANAGEABLE"],
            value: &text,
            enabled: true,
        };
        let answer =
            self.http.send(self.request(Method::PUT, self.url(&["crypto", "v1", "keys"])).json(&object)).await?;
        if answer.status == StatusCode::CONFLICT && message(&answer) == TAKEN {
            return stored_before(self, &answer, name, value).await;
        }
        let made: Identified = answer.proof(StatusCode::CREATED)?;
        if made.kid.is_empty() { Err(answer.foreign()) } else { Ok(()) }
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        #[derive(Deserialize)]
        struct Exported {
            value: Secret,
            enabled: bool,
        }

        let answer = self.export(name).await?;
        let exported: Exported = answer.json()?;
        if !exported.enabled {
            return Err(answer.unexpected("the object is disabled; enable it in Fortanix DSM"));
        }
        let value = BASE64.decode(exported.value.expose());
        value.map(Zeroizing::new).map_err(|_| answer.unexpected("the value is not base64"))
    }

    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        let Identified { kid } = self.export(name).await?.json()?;
        let answer = self.http.send(self.request(Method::DELETE, self.url(&["crypto", "v1", "keys", &kid]))).await?;
        match answer.status {
            StatusCode::NO_CONTENT => Ok(()),
            // by the attempt whose answer was lost
            StatusCode::NOT_FOUND if message(&answer) == MISSING && answer.repeated => Ok(()),
            StatusCode::NOT_FOUND if message(&answer) == MISSING => Err(KeyStoreError::NotFound),
            _ => Err(answer.refused()),
        }
    }

    /// Each page starts with the last name of the one before, which is dropped (docs/keystores-protocol.md §14, 3).
    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(rename = "kid")]
            _kid: IgnoredAny,
            // an object without a name is not one of ours
            #[serde(default)]
            name: String,
        }

        let (mut listing, mut start) = (Listing::default(), prefix.to_owned());
        loop {
            let answer = listing.page(self.page(&start)).await?;
            let page: Entries<Named> = answer.proof(StatusCode::OK)?;
            let last = page.0.last().filter(|last| page.0.len() >= PAGE && last.name != start);
            let next = last.map(|last| last.name.clone());
            listing.add(&answer, page.0.into_iter().map(|named| named.name))?;
            let Some(next) = next else { return Ok(listing.select(prefix)) };
            start = next;
        }
    }
}

/// An object, as the server names it.
#[derive(Deserialize)]
struct Identified {
    kid: String,
}

/// What an answer says: the field `message` of JSON, else the body.
fn message(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }

    match answer.json::<Said>() {
        Ok(said) => said.message,
        Err(_) => String::from_utf8_lossy(&answer.body).trim().to_owned(),
    }
}
