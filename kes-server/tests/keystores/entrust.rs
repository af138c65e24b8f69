//! Entrust KeyControl.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kes_server::config::{EntrustConfig, KeyStoreConfig, Secret};
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};
use serde_json::json;

use super::conformance::{self, Missing, VALUE};
use super::fake::{self, Fake, Fault, Reply};
use super::remote;

pub async fn start() -> (Fake, Arc<fake::entrust::Entrust>) {
    let service = Arc::<fake::entrust::Entrust>::default();
    (Fake::start(service.clone()).await, service)
}

pub async fn connect(fake: &Fake, box_id: &str, password: &str) -> Result<Backend, KeyStoreError> {
    connect_with(fake, box_id, password, fake.ca()).await
}

pub async fn connect_with(
    fake: &Fake,
    box_id: &str,
    password: &str,
    ca: Option<PathBuf>,
) -> Result<Backend, KeyStoreError> {
    let config = EntrustConfig {
        endpoint: fake.url(),
        vault_id: "vault".into(),
        box_id: box_id.into(),
        username: "user".into(),
        password: Secret::new(password),
        ca,
    };
    Backend::connect(&KeyStoreConfig::Entrust(config), &Environment::empty()).await
}

/// The operations since the last look.
fn operations(fake: &Fake) -> Vec<String> {
    fake.trace().iter().map(|line| line.split('/').nth(3).unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let (fake, _) = start().await;
    conformance::all(&connect(&fake, "box", "password").await.unwrap(), Missing::IsTold).await;
}

#[tokio::test]
async fn the_requests_are_those_of_the_original() {
    let (fake, _) = start().await;
    let store = connect(&fake, "box", "password").await.unwrap();
    store.create("my-key", VALUE).await.unwrap();
    assert_eq!(store.get("my-key").await.unwrap().as_slice(), VALUE);
    assert_eq!(store.list("").await.unwrap(), ["my-key"]);
    store.delete("my-key").await.unwrap();
    store.status().await.unwrap();
    let value = BASE64.encode(VALUE);
    let create = format!(r#"POST /vault/1.0/CreateSecret/ {{"box_id":"box","name":"my-key","secret_data":"{value}"}}"#);
    assert_eq!(
        fake.trace(),
        [
            r#"POST /vault/1.0/Login/vault/ {"password":"password","username":"user"}"#,
            r#"POST /vault/1.0/GetBox/ {"box_id":"box"}"#,
            &create,
            r#"POST /vault/1.0/CheckoutSecret/ {"box_id":"box","secret_id":"my-key"}"#,
            r#"POST /vault/1.0/ListSecretIds/ {"box_id":"box","max_items":256}"#,
            r#"POST /vault/1.0/DeleteSecret/ {"box_id":"box","secret_id":"my-key"}"#,
            r#"POST /vault/1.0/GetBox/ {"box_id":"box"}"#,
        ]
    );
}

#[tokio::test]
async fn keys_have_the_reference_form() {
    let (fake, service) = start().await;
    let store = connect(&fake, "box", "password").await.unwrap();
    let put = |name: &str, value: &str| service.put(name, value, false);
    remote::keeps_the_reference_form(&store, |value| BASE64.encode(value), put, |name| service.stored(name)).await;
}

#[tokio::test]
async fn its_certificate_is_checked_against_the_ca_too() {
    let fake = Fake::start_tls(Arc::<fake::entrust::Entrust>::default()).await;
    assert!(connect(&fake, "box", "password").await.is_ok());
}

/// MinIO KES gives blanks, one page, and all prefixes (docs/keystores-protocol.md §14, 4).
#[tokio::test]
async fn listings_are_whole_and_filtered() {
    let (fake, service) = start().await;
    let store = connect(&fake, "box", "password").await.unwrap();
    let names: Vec<_> = (0..600).map(|number| format!("key-{number:03}")).collect();
    for name in &names {
        service.put(name, "", false);
    }
    service.put("key-old", "", true);
    service.put("a.foreign/entry", "", false);
    fake.trace();
    assert_eq!(store.list("key-").await.unwrap(), names);
    assert_eq!(fake.trace().len(), 3);
    assert_eq!(store.list("a").await.unwrap(), ["a.foreign/entry"]);
}

#[tokio::test]
async fn only_the_servers_own_words_are_exists_and_not_found() {
    let (fake, _) = start().await;
    let store = connect(&fake, "box", "password").await.unwrap();
    let page = Reply::text(404, r#"{"error":"Secret not found"}"#);
    fake.fail("CheckoutSecret", 1, Fault::Answer(page));
    assert!(matches!(store.get("a").await, Err(KeyStoreError::Other(why)) if why.contains("answered 404")));
    fake.fail("CreateSecret", 1, Fault::Answer(Reply::json(409, &json!({ "error": "Box is locked" }))));
    assert!(matches!(store.create("a", VALUE).await, Err(KeyStoreError::Other(why)) if why.contains("Box is locked")));
    fake.fail("CheckoutSecret", 1, Fault::Answer(Reply::json(200, &json!({ "secret_data": "*" }))));
    let text = store.get("a").await.unwrap_err().to_string();
    assert!(text.ends_with("/vault/1.0/CheckoutSecret/ answered 200: the secret is not base64"), "{text}");
}

#[tokio::test]
async fn failures_are_retried_where_that_helps_and_told() {
    let (fake, _) = start().await;
    let store = connect(&fake, "box", "password").await.unwrap();
    fake.fail("CreateSecret", 2, Fault::Answer(Reply::status(503)));
    store.create("a", VALUE).await.unwrap();
    remote::survives_lost_answers(&fake, &store, "CreateSecret", "DeleteSecret").await;
    fake.trace();
    fake.fail("CheckoutSecret", 1, Fault::Answer(Reply::status(429)));
    let text = store.get("a").await.unwrap_err().to_string();
    assert!(text.ends_with("/vault/1.0/CheckoutSecret/ answered 429"), "{text}");
    assert_eq!(fake.trace().len(), 1, "throttling is not answered with more calls");
    fake.fail("GetBox", 1, Fault::Answer(Reply::status(403)));
    assert!(matches!(store.status().await, Err(KeyStoreError::Other(_))));
    remote::ends_a_hang(&fake, &store, "a").await;
    assert_eq!(store.get("a").await.unwrap().as_slice(), VALUE);
    remote::tells_an_outage(fake, &store).await;
}

#[tokio::test]
async fn a_wrong_password_or_box_is_told_at_start() {
    let (fake, _) = start().await;
    let text = connect(&fake, "box", "other").await.unwrap_err().to_string();
    assert!(
        text.ends_with("/vault/1.0/Login/vault/ answered 401: the login is refused; check vault_id and credentials")
    );
    assert!(!text.contains("other"), "{text}");
    let text = connect(&fake, "bin", "password").await.unwrap_err().to_string();
    assert!(text.contains("/vault/1.0/GetBox/ answered 404") && text.contains("Box not found"), "{text}");
}

#[tokio::test]
async fn a_token_that_the_server_forgot_is_replaced() {
    let (fake, service) = start().await;
    let store = connect(&fake, "box", "password").await.unwrap();
    store.create("a", VALUE).await.unwrap();
    remote::pass(Duration::from_secs(2)).await;
    service.expire();
    fake.trace();
    assert_eq!(store.get("a").await.unwrap().as_slice(), VALUE);
    assert_eq!(operations(&fake), ["CheckoutSecret", "Login", "CheckoutSecret"]);
}

/// MinIO KES never renews again once a renewal and the login after it failed (docs/keystores-protocol.md §14, 5).
#[tokio::test]
async fn tokens_are_renewed_at_half_their_life_and_after_failures() {
    let (fake, service) = start().await;
    let _store = connect(&fake, "box", "password").await.unwrap();
    fake.trace();
    remote::pass(Duration::from_secs(151)).await;
    remote::eventually(|| service.tokens() == 2).await;
    assert_eq!(fake.trace(), ["POST /vault/1.0/Renew/"]);
    fake.fail("Renew", 1, Fault::Answer(Reply::status(403)));
    fake.fail("Login", 1, Fault::Answer(Reply::status(403)));
    remote::pass(Duration::from_secs(151)).await;
    remote::eventually(|| service.tokens() == 3).await;
    assert_eq!(operations(&fake), ["Renew", "Login", "Renew"]);
}

#[tokio::test]
async fn the_end_of_a_token_is_what_the_server_says() {
    let (fake, service) = start().await;
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(40);
    service.grant_until(&end.to_string());
    let _store = connect(&fake, "box", "password").await.unwrap();
    service.grant_until("0001-01-01T00:00:00Z");
    remote::pass(Duration::from_secs(21)).await;
    remote::eventually(|| service.tokens() == 2).await;
    remote::pass(Duration::from_secs(140)).await;
    assert_eq!(service.tokens(), 2, "the zero time stands for five minutes");
    remote::pass(Duration::from_secs(11)).await;
    remote::eventually(|| service.tokens() == 3).await;
}
