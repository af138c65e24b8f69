//! The creation of a key takes two calls: the secret, and its first version. A creation that failed or was killed leaves
//! a secret without a version, which cannot be read (docs/keystores-protocol.md §6.4; §14, 15). The next creation of that
//! name uses it: whoever adds the first version has made the key, the others see that theirs came later.
//!
//! Such a secret is never removed: somebody else may use it by now, and its etag does not change with its versions.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::{Shared, refusal};
use crate::keystore::KeyStoreError;
use crate::keystore::http::{Failure, Retry, join};

/// The version that an addition made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    /// The one that is read.
    First,
    /// Somebody else was first.
    Later,
    /// None: somebody deleted the secret meanwhile.
    None,
}

/// What services answer that made something.
#[derive(Deserialize)]
struct Made {
    name: String,
}

impl Shared {
    pub(super) async fn create(&self, name: &str, text: &str) -> Result<(), KeyStoreError> {
        let secret = self.create_secret(name).await?;
        let mut added = self.add_version(&secret, text).await;
        let is_interrupted = added.as_ref().is_err_and(Failure::is_interrupted);
        if is_interrupted && self.get(name).await == Err(KeyStoreError::NotFound) {
            added = self.add_version(&secret, text).await;
        }
        match added {
            Ok(Version::First) => Ok(()),
            Ok(Version::Later) => ours(text, &self.get(name).await?),
            Ok(Version::None) => {
                Err(KeyStoreError::Other(format!("the secret '{name}' was deleted while it was made")))
            }
            Err(failure) => self.settle(name, text, failure).await,
        }
    }

    /// After an addition that failed or seems to have failed: it may have been carried out, and the key may be in use
    /// by now.
    async fn settle(&self, name: &str, text: &str, failure: Failure) -> Result<(), KeyStoreError> {
        let why = match self.get(name).await {
            Ok(stored) => return ours(text, &stored),
            Err(KeyStoreError::NotFound) => {
                "the secret has no version; the next creation of the key uses it".to_owned()
            }
            Err(error) => format!("whether it was made is not known: {error}; create it again if it cannot be read"),
        };
        Err(KeyStoreError::from(failure).map_text(|text| format!("{text}; key '{name}': {why}")))
    }

    /// The name of a new secret, as the service calls it.
    async fn create_secret(&self, name: &str) -> Result<String, KeyStoreError> {
        let mut url = self.secrets(&[]);
        url.query_pairs_mut().append_pair("secretId", name);
        let body = json!({ "replication": { "automatic": {} } });
        let answer = self.call(&refusal::lost(), Method::POST, url, Some(body)).await?;
        match refusal::check::<Made>(&answer, "secretmanager.secrets.create") {
            Ok(made) if made.name.ends_with(&format!("/secrets/{name}")) => Ok(made.name),
            Ok(_) => Err(answer.foreign()),
            // without a version it is the rest of a creation, of ours or of somebody else
            Err(KeyStoreError::Exists) => match self.get(name).await {
                Err(KeyStoreError::NotFound) => Ok(format!("projects/{}/secrets/{name}", self.project)),
                _ => Err(KeyStoreError::Exists),
            },
            Err(error) => Err(error),
        }
    }

    async fn add_version(&self, secret: &str, text: &str) -> Result<Version, Failure> {
        let path: Vec<_> = std::iter::once("v1").chain(secret.split('/')).collect();
        let mut url = join(&self.endpoint, &path);
        url.set_path(&format!("{}:addVersion", url.path()));
        let body = json!({ "payload": { "data": STANDARD.encode(text) } });
        let answer = self.call(&Retry::never(), Method::POST, url, Some(body)).await?;
        let version = match refusal::check::<Made>(&answer, "secretmanager.versions.add") {
            Err(KeyStoreError::NotFound) => return Ok(Version::None),
            made => made?.name,
        };
        // the project may be its name in one of them, and its number in the other
        let name = secret.rsplit('/').next().unwrap_or_default();
        match version.rsplit_once("/versions/") {
            Some((of, "1")) if of.ends_with(name) => Ok(Version::First),
            Some((of, _)) if of.ends_with(name) => Ok(Version::Later),
            _ => Err(answer.foreign().into()),
        }
    }
}

/// For what is stored after a creation: it is ours if an attempt was carried out whose answer was lost.
fn ours(text: &str, stored: &[u8]) -> Result<(), KeyStoreError> {
    if stored == text.as_bytes() { Ok(()) } else { Err(KeyStoreError::Exists) }
}
