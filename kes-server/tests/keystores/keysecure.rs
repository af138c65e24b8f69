//! Thales CipherTrust Manager.

use std::sync::Arc;

use kes_server::config::{KeySecureConfig, KeyStoreConfig, Secret};
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};

use super::conformance::{self, Missing, VALUE};
use super::fake::{self, Fake, Fault, Reply};

async fn start() -> (Fake, Arc<fake::keysecure::KeySecure>) {
    let service = Arc::<fake::keysecure::KeySecure>::default();
    (Fake::start(service.clone()).await, service)
}

async fn connect(fake: &Fake, token: &str) -> Result<Backend, KeyStoreError> {
    let (endpoint, token) = (fake.url(), Secret::new(token));
    let config = KeySecureConfig { endpoint, token, domain: String::new(), ca: None };
    Backend::connect(&KeyStoreConfig::KeySecure(config), &Environment::empty()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let (fake, _) = start().await;
    conformance::all(&connect(&fake, "refresh").await.unwrap(), Missing::IsSuccess).await;
}

#[tokio::test]
async fn the_requests_are_those_of_the_original() {
    let (fake, service) = start().await;
    let store = connect(&fake, "refresh").await.unwrap();
    store.create("my-key", VALUE).await.unwrap();
    assert_eq!(service.stored("my-key").unwrap().as_bytes(), VALUE);
    assert_eq!(store.get("my-key").await.unwrap().as_slice(), VALUE);
    assert_eq!(store.list("my").await.unwrap(), ["my-key"]);
    store.delete("my-key").await.unwrap();
    store.status().await.unwrap();
    let value = String::from_utf8_lossy(VALUE);
    assert_eq!(
        fake.trace(),
        [
            r#"POST /api/v1/auth/tokens {"domain":"","grant_type":"refresh_token","refresh_token":"refresh"}"#,
            &format!(r#"POST /api/v1/vault/secrets {{"dataType":"seed","material":"{value}","name":"my-key"}}"#),
            "POST /api/v1/vault/secrets/my-key/export?type=name",
            "GET /api/v1/vault/secrets?limit=200&skip=0",
            "GET /api/v1/vault/secrets?limit=200&skip=200",
            "DELETE /api/v1/vault/secrets/my-key?type=name",
            "GET /",
        ]
    );
}

#[tokio::test]
async fn failures_are_retried_where_that_helps_and_told() {
    let (fake, _) = start().await;
    let store = connect(&fake, "refresh").await.unwrap();
    fake.fail("POST /api/v1/vault/secrets", 2, Fault::Answer(Reply::status(503)));
    store.create("a", VALUE).await.unwrap();
    fake.fail("/export", 3, Fault::Drop);
    assert!(matches!(store.get("a").await, Err(KeyStoreError::Unreachable(_))));
    fake.fail("/export", 1, Fault::Answer(Reply::json(200, &serde_json::json!({ "material": 5 }))));
    let text = store.get("a").await.unwrap_err().to_string();
    assert!(text.contains("/api/v1/vault/secrets/a/export answered JSON that cannot be read"), "{text}");
    fake.fail("/export", 1, Fault::Answer(Reply::status(403)));
    let text = store.get("a").await.unwrap_err().to_string();
    assert!(text.ends_with("/api/v1/vault/secrets/a/export answered 403"), "{text}");
    assert_eq!(store.get("a").await.unwrap().as_slice(), VALUE);
}

#[tokio::test]
async fn a_wrong_token_is_told_at_start() {
    let (fake, _) = start().await;
    let text = connect(&fake, "other").await.unwrap_err().to_string();
    assert!(text.contains("/api/v1/auth/tokens answered 401"), "{text}");
    assert!(!text.contains("other"), "{text}");
}
