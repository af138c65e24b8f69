//! AWS Secrets Manager, with or without a KMS key of its own (docs/keystores-protocol.md §5).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::{StatusCode, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::http::{Answer, Entries, Failure, Http, Listing, Settings, endpoint};
use super::{Environment, KeyStore, KeyStoreError};
use crate::config::{AwsConfig, Secret, named};

mod chain;
mod credentials;
mod refusal;
mod signature;

use credentials::{Credentials, Held};
use signature::Signature;

/// The secrets of one account in one region.
#[derive(Debug)]
pub struct Aws {
    http: Arc<Http>,
    /// For the banner.
    name: String,
    endpoint: Url,
    kms_key: Option<String>,
    credentials: Credentials,
    signature: Signature,
}

impl Aws {
    /// Asks whether the service is there. Credentials are not used yet: wrong ones show at the first call, as there
    /// is not a call that every policy allows.
    ///
    /// # Errors
    /// If nothing answers at the endpoint, or the configured credentials are incomplete.
    pub async fn connect(config: &AwsConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        let (retry, proxies) = (refusal::retry(), environment.proxies());
        let http = Arc::new(Http::new(&Settings { proxies, retry, ..Settings::default() })?);
        let credentials = match &config.credentials {
            Some(fixed) => Credentials::fixed(fixed, environment)?,
            None => Credentials::of_environment(http.clone(), environment, &config.region)?,
        };
        let aws = Self {
            http,
            name: named(&config.endpoint),
            endpoint: endpoint(&config.endpoint)?,
            kms_key: Some(config.kms_key.clone()).filter(|key| !key.is_empty()),
            credentials,
            signature: Signature::new(&config.region),
        };
        aws.status().await?;
        Ok(aws)
    }

    /// Calls an action; once more if the credentials were replaced by newer ones meanwhile.
    async fn call(&self, action: &str, body: &impl Serialize) -> Result<Answer, KeyStoreError> {
        let body = serde_json::to_vec(body).map_err(|error| KeyStoreError::Other(format!("{action}: {error}")))?;
        let body = Bytes::from(body);
        let used = self.credentials.current().await?;
        let answer = self.send(action, &body, &used).await?;
        if refusal::is_of_credentials(&answer)
            && let Some(newer) = self.credentials.replace(&used).await?
        {
            return Ok(self.send(action, &body, &newer).await?);
        }
        Ok(answer)
    }

    async fn send(&self, action: &str, body: &Bytes, credential: &Held) -> Result<Answer, Failure> {
        self.http.send_each(|| self.signature.request(&self.endpoint, action, body, credential)).await
    }
}

impl fmt::Display for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AWS SecretsManager: {}", self.name)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CreateSecret<'a> {
    client_request_token: &'a str,
    name: &'a str,
    secret_string: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kms_key_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetSecretValue<'a> {
    secret_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeleteSecret<'a> {
    secret_id: &'a str,
    force_delete_without_recovery: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListSecrets {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

impl KeyStore for Aws {
    /// Any answer will do, and no credentials are needed for it (docs/keystores-protocol.md §14, 20).
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        self.http.reach(self.endpoint.clone()).await
    }

    /// The token of the request stays the same over its retries, which makes AWS answer a repetition of what it has
    /// done already with success.
    async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
        let token = request_token()?;
        let (secret_string, kms_key_id) = (super::text(value)?, self.kms_key.as_deref());
        let body = CreateSecret { client_request_token: &token, name, secret_string, kms_key_id };
        let answer = self.call("CreateSecret", &body).await?;
        let made: Named = done(&answer, "CreateSecret")?;
        made.check(&answer, name)?;
        if made.arn.is_empty() { Err(answer.foreign()) } else { Ok(()) }
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Value {
            secret_string: Option<Secret>,
            secret_binary: Option<Secret>,
        }

        let answer = self.call("GetSecretValue", &GetSecretValue { secret_id: name }).await?;
        done::<Named>(&answer, "GetSecretValue")?.check(&answer, name)?;
        match answer.json()? {
            Value { secret_string: Some(text), .. } => Ok(Zeroizing::new(text.expose().as_bytes().to_vec())),
            Value { secret_binary: Some(binary), .. } => match STANDARD.decode(binary.expose()) {
                Ok(value) => Ok(Zeroizing::new(value)),
                Err(_) => Err(answer.unexpected("a SecretBinary that is not base64")),
            },
            Value { .. } => Err(answer.unexpected("neither a SecretString nor a SecretBinary")),
        }
    }

    /// Gone at once, without the days of AWS's recovery window. A missing name counts as deleted there.
    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        let body = DeleteSecret { secret_id: name, force_delete_without_recovery: true };
        let answer = self.call("DeleteSecret", &body).await?;
        done::<Named>(&answer, "DeleteSecret")?.check(&answer, name)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Page {
            secret_list: Entries<Entry>,
            next_token: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Entry {
            name: String,
        }

        let (mut listing, mut body) = (Listing::default(), ListSecrets { next_token: None });
        loop {
            let answer = listing.page(self.call("ListSecrets", &body)).await?;
            let page: Page = done(&answer, "ListSecrets")?;
            listing.add(&answer, page.secret_list.0.into_iter().map(|entry| entry.name))?;
            let next_token = page.next_token.filter(|token| !token.is_empty());
            if next_token.is_none() {
                return Ok(listing.select(prefix));
            }
            if next_token == body.next_token {
                return Err(answer.unexpected("the page after this one is this one again"));
            }
            body = ListSecrets { next_token };
        }
    }
}

/// Which secret an action was carried out for.
#[derive(Deserialize)]
struct Named {
    /// Only for an existing secret: AWS does not document its answer to the deletion of a missing one.
    #[serde(rename = "ARN", default)]
    arn: String,
    #[serde(rename = "Name")]
    name: String,
}

impl Named {
    fn check(&self, answer: &Answer, name: &str) -> Result<(), KeyStoreError> {
        if self.name == name { Ok(()) } else { Err(answer.foreign()) }
    }
}

/// What AWS answers to an action that it carried out.
fn done<T: DeserializeOwned>(answer: &Answer, action: &str) -> Result<T, KeyStoreError> {
    if answer.status.is_success() { answer.proof(StatusCode::OK) } else { Err(refusal::error(answer, action)) }
}

/// A random UUID.
fn request_token() -> Result<String, KeyStoreError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| KeyStoreError::Other("the system gives no random bytes".into()))?;
    let random = u128::from_be_bytes(bytes);
    let number = random & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let hex = format!("{number:032x}");
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| hex.get(part).unwrap_or_default());
    Ok(parts.join("-"))
}
