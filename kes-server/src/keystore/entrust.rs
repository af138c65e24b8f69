//! Entrust `KeyControl` (docs/keystores-protocol.md §9).

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::http::{Answer, Entries, Failure, Http, Listing, Settings, Trust, endpoint, join};
use super::renewals::Renewals;
use super::session::{Authority, Session, Token};
use super::{Environment, KeyStore, KeyStoreError, stored_before, stored_now};
use crate::config::{EntrustConfig, Secret, named};

/// Names asked for at once.
const PAGE: usize = 256;
/// How long a token lasts that does not say so.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Carries the token.
const TOKEN: &str = "X-Vault-Auth";

/// A box of a PASM vault.
#[derive(Debug)]
pub struct Entrust {
    session: Session<Login>,
    box_id: String,
}

/// A user of the vault.
#[derive(Debug)]
struct Login {
    http: Http,
    endpoint: Url,
    vault_id: String,
    username: String,
    password: Secret,
}

impl Entrust {
    /// Logs in and looks for the box.
    ///
    /// # Errors
    /// If the CA cannot be read, the login fails, or there is no such box.
    pub async fn connect(config: &EntrustConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        let (trust, proxies) = (Trust::also(config.ca.as_ref()), environment.proxies());
        let settings = Settings { trust, proxies, ..Settings::default() };
        let login = Login {
            http: Http::new(&settings)?,
            endpoint: endpoint(&config.endpoint)?,
            vault_id: config.vault_id.clone(),
            username: config.username.clone(),
            password: config.password.clone(),
        };
        let renewals = Renewals::of("the token for Entrust KeyControl", environment);
        let store = Self { session: Session::start(login, 0.5, renewals).await?, box_id: config.box_id.clone() };
        has_box(&store.look_for_box().await?)?;
        Ok(store)
    }

    async fn look_for_box(&self) -> Result<Answer, Failure> {
        self.call("GetBox", &json!({ "box_id": self.box_id })).await
    }

    /// Calls with the token, as MinIO KES without a content type.
    async fn call(&self, operation: &str, body: &Value) -> Result<Answer, Failure> {
        let body = Zeroizing::new(body.to_string());
        let login = self.session.authority();
        let call = |token: Secret| {
            let request = login.post(&[operation]).header(TOKEN, token.expose()).body(body.as_bytes().to_vec());
            login.http.send(request)
        };
        self.session.call(StatusCode::UNAUTHORIZED, call).await
    }

    async fn page(&self, next: Option<&str>) -> Result<Answer, Failure> {
        let mut body = json!({ "box_id": self.box_id, "max_items": PAGE });
        if let (Some(next), Some(body)) = (next, body.as_object_mut()) {
            body.insert("next_token".into(), next.into());
        }
        self.call("ListSecretIds", &body).await
    }
}

impl Login {
    /// All operations are POSTs, and all paths end with a slash.
    fn post(&self, path: &[&str]) -> RequestBuilder {
        let mut url = join(&self.endpoint, &[&["vault", "1.0"], path].concat());
        if let Ok(mut path) = url.path_segments_mut() {
            path.push("");
        }
        self.http.client().post(url)
    }

    async fn token(&self, request: RequestBuilder, hint: &str) -> Result<Token, KeyStoreError> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: Secret,
            expires_at: Option<Timestamp>,
        }

        let answer = self.http.send(request).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.denied(hint));
        }
        let granted: Granted = answer.json()?;
        if granted.access_token.is_empty() {
            return Err(answer.unexpected("no access token"));
        }
        // a clock that runs ahead, or the zero time, tells nothing about the token's life
        let left = granted.expires_at.map(|end| end.duration_since(Timestamp::now()));
        let life = left.and_then(|left| Duration::try_from(left).ok()).filter(|left| !left.is_zero());
        Ok(Token { secret: granted.access_token, life: Some(life.unwrap_or(LIFE)), renewable: true })
    }
}

impl Authority for Login {
    async fn login(&self) -> Result<Token, KeyStoreError> {
        let body = json!({ "username": self.username, "password": self.password.expose() });
        let request = self.post(&["Login", &self.vault_id]).header(CONTENT_TYPE, "application/json");
        let hint = "the login is refused; check vault_id and credentials";
        self.token(request.body(body.to_string()), hint).await
    }

    async fn renew(&self, token: &Secret) -> Result<Token, KeyStoreError> {
        self.token(self.post(&["Renew"]).header(TOKEN, token.expose()), "the token is not renewed").await
    }
}

impl fmt::Display for Entrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entrust KeyControl: {}", named(self.session.authority().endpoint.as_str()))
    }
}

impl KeyStore for Entrust {
    /// Any answer but that with the box means that it is there and not well (docs/keystores-protocol.md §1.5).
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        let start = std::time::Instant::now();
        has_box(&self.look_for_box().await?).map_err(KeyStoreError::of_answer)?;
        Ok(start.elapsed())
    }

    async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
        let data = Zeroizing::new(BASE64.encode(value));
        let body = json!({ "box_id": self.box_id, "name": name, "secret_data": *data });
        let answer = self.call("CreateSecret", &body).await?;
        if answer.status == StatusCode::CONFLICT && says(&answer, "Secret already exists") {
            return stored_before(self, &answer, name, value).await;
        }
        let made: Made = answer.proof(StatusCode::OK)?;
        if made.secret_id.is_empty() { stored_now(self, &answer, name, value).await } else { Ok(()) }
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        #[derive(Deserialize)]
        struct CheckedOut {
            secret_data: Secret,
        }

        let answer = self.call("CheckoutSecret", &json!({ "box_id": self.box_id, "secret_id": name })).await?;
        match answer.status {
            StatusCode::OK => {
                let value = BASE64.decode(answer.json::<CheckedOut>()?.secret_data.expose());
                value.map(Zeroizing::new).map_err(|_| answer.unexpected("the secret is not base64"))
            }
            StatusCode::NOT_FOUND if says(&answer, "Secret not found") => Err(KeyStoreError::NotFound),
            _ => Err(answer.refused()),
        }
    }

    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        let answer = self.call("DeleteSecret", &json!({ "box_id": self.box_id, "secret_id": name })).await?;
        match answer.status {
            // by the attempt whose answer was lost
            StatusCode::NOT_FOUND if says(&answer, "Secret not found") && answer.repeated => Ok(()),
            StatusCode::NOT_FOUND if says(&answer, "Secret not found") => Err(KeyStoreError::NotFound),
            _ => answer.proof::<Map<String, Value>>(StatusCode::OK).map(drop),
        }
    }

    /// Reads all pages from the first and filters here (docs/keystores-protocol.md §14, 4).
    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        let (mut listing, mut next) = (Listing::default(), None::<String>);
        loop {
            let answer = listing.page(self.page(next.as_deref())).await?;
            let page: Page = answer.proof(StatusCode::OK)?;
            let secrets = page.secrets.map_or_else(Vec::new, |secrets| secrets.0);
            listing.add(&answer, secrets.into_iter().filter(|secret| !secret.expired).map(|secret| secret.name))?;
            if is_last(&page.next_token) || next.as_ref() == Some(&page.next_token) {
                return Ok(listing.select(prefix));
            }
            next = Some(page.next_token);
        }
    }
}

/// Whether an answer shows the box, whatever it tells about it.
fn has_box(answer: &Answer) -> Result<(), KeyStoreError> {
    if answer.proof::<Map<String, Value>>(StatusCode::OK)?.is_empty() { Err(answer.foreign()) } else { Ok(()) }
}

/// What the server tells about a new secret.
#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    secret_id: String,
}

#[derive(Deserialize)]
struct Page {
    /// `null` where there are none, but there it is.
    #[serde(deserialize_with = "Option::deserialize")]
    secrets: Option<Entries<Listed>>,
    #[serde(default)]
    next_token: String,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    expired: bool,
}

/// True if no page follows: no token, or one that leads nowhere.
fn is_last(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Position {
        next_ctx: String,
    }

    let position = BASE64.decode(token).ok().and_then(|json| serde_json::from_slice::<Position>(&json).ok());
    token.is_empty() || position.is_some_and(|position| position.next_ctx.is_empty())
}

/// True if JSON says exactly this: any other reason for the same status is a failure.
fn says(answer: &Answer, what: &str) -> bool {
    #[derive(Deserialize)]
    struct Said {
        error: String,
    }

    answer.is_json() && answer.json::<Said>().is_ok_and(|said| said.error == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_leads_nowhere_ends_a_listing() {
        assert!(is_last(""));
        assert!(is_last(&BASE64.encode(r#"{"box_id":"b","next_ctx":""}"#)));
        assert!(!is_last(&BASE64.encode(r#"{"box_id":"b","next_ctx":"n"}"#)));
        assert!(!is_last("opaque"));
    }
}
