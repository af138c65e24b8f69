//! Thales CipherTrust Manager.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kes_server::config::{KeySecureConfig, KeyStoreConfig, Secret};
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};

use super::conformance::{self, Missing, VALUE};
use super::fake::{self, Fake, Fault, Reply};
use super::remote;

pub async fn start() -> (Fake, Arc<fake::keysecure::KeySecure>) {
    let service = Arc::<fake::keysecure::KeySecure>::default();
    (Fake::start(service.clone()).await, service)
}

pub async fn connect(fake: &Fake, token: &str) -> Result<Backend, KeyStoreError> {
    connect_with(fake, token, fake.ca()).await
}

pub async fn connect_with(fake: &Fake, token: &str, ca: Option<PathBuf>) -> Result<Backend, KeyStoreError> {
    let (endpoint, token) = (fake.url(), Secret::new(token));
    let config = KeySecureConfig { endpoint, token, domain: String::new(), ca };
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
    fake.fail("/export", 1, Fault::Answer(Reply::status(429)));
    let text = store.get("a").await.unwrap_err().to_string();
    assert!(text.ends_with("/api/v1/vault/secrets/a/export answered 429"), "{text}");
    remote::survives_lost_answers(&fake, &store, "POST /api/v1/vault/secrets {", "DELETE").await;
    remote::ends_a_hang(&fake, &store, "a").await;
    assert_eq!(store.get("a").await.unwrap().as_slice(), VALUE);
    remote::tells_an_outage(fake, &store).await;
}

#[tokio::test]
async fn keys_have_the_reference_form() {
    let (fake, service) = start().await;
    let store = connect(&fake, "refresh").await.unwrap();
    let form = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    remote::keeps_the_reference_form(&store, form, |name, value| service.put(name, value), |name| service.stored(name))
        .await;
}

#[tokio::test]
async fn foreign_secrets_are_listed_and_pages_followed() {
    let (fake, service) = start().await;
    let store = connect(&fake, "refresh").await.unwrap();
    let names: Vec<_> = (0..450).map(|number| format!("key-{number:03}")).collect();
    for name in &names {
        service.put(name, "");
    }
    service.put("a.foreign/secret", "-----BEGIN KEY-----");
    assert_eq!(store.list("key-").await.unwrap(), names);
    assert_eq!(store.list("a").await.unwrap(), ["a.foreign/secret"]);
    assert_eq!(store.get("a.foreign/secret").await.unwrap().as_slice(), b"-----BEGIN KEY-----");
}

#[tokio::test]
async fn tokens_are_renewed_at_half_their_life_and_replaced_when_forgotten() {
    let (fake, service) = start().await;
    let store = connect(&fake, "refresh").await.unwrap();
    store.create("a", VALUE).await.unwrap();
    remote::pass(Duration::from_secs(151)).await;
    remote::eventually(|| service.logins() == 2).await;
    remote::pass(Duration::from_secs(2)).await;
    service.expire();
    fake.trace();
    assert_eq!(store.get("a").await.unwrap().as_slice(), VALUE);
    let calls: Vec<_> = fake.trace().iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    let export = "/api/v1/vault/secrets/a/export?type=name";
    assert_eq!(calls, [export, "/api/v1/auth/tokens", export]);
}

#[tokio::test]
async fn its_certificate_is_checked_against_a_file_or_a_folder() {
    let fake = Fake::start_tls(Arc::<fake::keysecure::KeySecure>::default()).await;
    let file = fake.ca().unwrap();
    let folder = file.parent().unwrap().to_owned();
    assert!(connect(&fake, "refresh").await.is_ok());
    assert!(connect_with(&fake, "refresh", Some(folder.clone())).await.is_ok());
    let untrusted = connect_with(&fake, "refresh", None).await;
    assert!(matches!(untrusted, Err(KeyStoreError::Unreachable(why)) if why.contains("certificate")));
    std::fs::write(folder.join("README"), "no certificate").unwrap();
    let text = connect_with(&fake, "refresh", Some(folder)).await.unwrap_err().to_string();
    assert!(text.contains("README") && text.contains("holds no PEM certificate"), "{text}");
}

#[tokio::test]
async fn a_wrong_token_is_told_at_start() {
    let (fake, _) = start().await;
    let text = connect(&fake, "other").await.unwrap_err().to_string();
    assert!(text.contains("/api/v1/auth/tokens answered 401"), "{text}");
    assert!(!text.contains("other"), "{text}");
}
