//! Fortanix DSM.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kes_server::config::{FortanixConfig, KeyStoreConfig, Secret};
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};
use serde_json::json;

use super::conformance::{self, Missing, VALUE};
use super::fake::{self, Fake, Fault, Reply};
use super::judge::Judge;
use super::remote;

pub async fn start() -> (Fake, Arc<fake::fortanix::Fortanix>) {
    let service = Arc::<fake::fortanix::Fortanix>::default();
    (Fake::start(service.clone()).await, service)
}

pub async fn connect(fake: &Fake, group_id: &str, api_key: &str) -> Result<Backend, KeyStoreError> {
    connect_with(fake, group_id, api_key, fake.ca()).await
}

pub async fn connect_with(
    fake: &Fake,
    group_id: &str,
    api_key: &str,
    ca: Option<PathBuf>,
) -> Result<Backend, KeyStoreError> {
    let (endpoint, group_id, api_key) = (fake.url(), group_id.into(), Secret::new(api_key));
    let config = FortanixConfig { endpoint, group_id, api_key, ca };
    Backend::connect(&KeyStoreConfig::Fortanix(config), &Environment::empty()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let (fake, _) = start().await;
    conformance::all(&connect(&fake, "", "YXBwOmtleQ==").await.unwrap(), Missing::IsTold).await;
}

#[tokio::test]
async fn the_requests_are_those_of_the_original() {
    let (fake, _) = start().await;
    let store = connect(&fake, "group", "YXBwOmtleQ==").await.unwrap();
    store.create("my-key", VALUE).await.unwrap();
    assert_eq!(store.get("my-key").await.unwrap().as_slice(), VALUE);
    assert_eq!(store.list("my").await.unwrap(), ["my-key"]);
    store.delete("my-key").await.unwrap();
    store.status().await.unwrap();
    let value = BASE64.encode(VALUE);
    let create = format!(
        r#"PUT /crypto/v1/keys {{"obj_type":"OPAQUE","name":"my-key","group_id":"group","key_ops":["EXPORT","APPMANAGEABLE"],"value":"{value}","enabled":true}}"#
    );
    assert_eq!(
        fake.trace(),
        [
            "GET /sys/v1/health",
            "POST /sys/v1/session/auth",
            "POST /sys/v1/session/terminate",
            &create,
            r#"POST /crypto/v1/keys/export {"name":"my-key"}"#,
            "GET /crypto/v1/keys?limit=100&sort=name:asc&start=my",
            r#"POST /crypto/v1/keys/export {"name":"my-key"}"#,
            "DELETE /crypto/v1/keys/kid-6d792d6b6579",
            "GET /",
        ]
    );
}

#[tokio::test]
async fn keys_have_the_reference_form() {
    let (fake, service) = start().await;
    let store = connect(&fake, "", "YXBwOmtleQ==").await.unwrap();
    let put = |name: &str, value: &str| service.put(name, value, true);
    remote::keeps_the_reference_form(&store, |value| BASE64.encode(value), put, |name| service.stored(name)).await;
}

/// MinIO KES asks for the same page forever (docs/keystores-protocol.md §14, 3).
#[tokio::test]
async fn pages_follow_each_other_by_name() {
    let (fake, service) = start().await;
    let store = connect(&fake, "", "YXBwOmtleQ==").await.unwrap();
    for number in 0..199 {
        service.put(&format!("k&{number:03}"), "", true);
    }
    fake.trace();
    assert_eq!(store.list("").await.unwrap().len(), 199);
    let pages = ["", "&start=k&099", "&start=k&198"];
    assert_eq!(fake.trace(), pages.map(|start| format!("GET /crypto/v1/keys?limit=100&sort=name:asc{start}")));
}

#[tokio::test]
async fn what_is_disabled_or_damaged_is_told() {
    let (fake, service) = start().await;
    let store = connect(&fake, "", "YXBwOmtleQ==").await.unwrap();
    service.put("disabled", "", false);
    let text = store.get("disabled").await.unwrap_err().to_string();
    assert!(text.ends_with("/crypto/v1/keys/export answered 200: the object is disabled; enable it in Fortanix DSM"));
    store.delete("disabled").await.unwrap();
    service.put("damaged", "c2VjcmV0*", true);
    let text = store.get("damaged").await.unwrap_err().to_string();
    assert!(text.ends_with("the value is not base64"), "{text}");
    fake.fail("/export", 1, Fault::Answer(Reply::json(200, &json!({ "value": 5, "enabled": true }))));
    let text = store.get("a").await.unwrap_err().to_string();
    assert!(text.contains("/crypto/v1/keys/export answered JSON that cannot be read"), "{text}");
}

#[tokio::test]
async fn only_the_servers_own_words_are_exists_and_not_found() {
    let (fake, _) = start().await;
    let store = connect(&fake, "", "YXBwOmtleQ==").await.unwrap();
    fake.fail("/export", 1, Fault::Answer(Reply::text(404, "<html>no such site</html>")));
    assert!(matches!(store.get("a").await, Err(KeyStoreError::Other(why)) if why.contains("answered 404: <html>")));
    fake.fail("PUT", 1, Fault::Answer(Reply::json(409, &json!({ "message": "quota exceeded" }))));
    assert!(matches!(store.create("a", VALUE).await, Err(KeyStoreError::Other(why)) if why.contains("quota")));
    fake.fail("/export", 1, Fault::Answer(Reply::text(404, "sobject does not exist")));
    assert_eq!(store.get("a").await, Err(KeyStoreError::NotFound));
}

#[tokio::test]
async fn failures_are_retried_where_that_helps_and_told() {
    let (fake, _) = start().await;
    let store = connect(&fake, "", "YXBwOmtleQ==").await.unwrap();
    fake.fail("PUT", 2, Fault::Answer(Reply::status(503)));
    store.create("a", VALUE).await.unwrap();
    remote::survives_lost_answers(&fake, &store, "PUT", "DELETE").await;
    fake.trace();
    fake.fail("/export", 1, Fault::Answer(Reply::status(429)));
    let text = store.get("a").await.unwrap_err().to_string();
    assert!(text.ends_with("/crypto/v1/keys/export answered 429"), "{text}");
    assert_eq!(fake.trace().len(), 1, "throttling is not answered with more calls");
    remote::ends_a_hang(&fake, &store, "a").await;
    assert_eq!(store.get("a").await.unwrap().as_slice(), VALUE);
    remote::tells_an_outage(fake, &store).await;
}

#[tokio::test]
async fn a_wrong_key_or_a_sick_server_is_told_at_start() {
    let (fake, _) = start().await;
    let text = connect(&fake, "", "other").await.unwrap_err().to_string();
    assert!(text.ends_with("/sys/v1/session/auth answered 401: the API key is refused; check credentials.key"));
    assert!(!text.contains("other"), "{text}");
    fake.fail("/health", 1, Fault::Answer(Reply::status(200)));
    let text = connect(&fake, "", "YXBwOmtleQ==").await.unwrap_err().to_string();
    assert!(text.ends_with("/sys/v1/health answered 200: the server is not healthy"), "{text}");
}

#[tokio::test]
async fn its_certificate_is_checked_against_the_ca_alone() {
    let service = Arc::<fake::fortanix::Fortanix>::default();
    let fake = Fake::start_tls(service).await;
    assert!(connect(&fake, "", "YXBwOmtleQ==").await.is_ok());
    let other = fake::Certificate::new();
    let (endpoint, group_id, api_key, ca) =
        (fake.url(), String::new(), Secret::new("YXBwOmtleQ=="), Some(other.path()));
    let config = FortanixConfig { endpoint, group_id, api_key, ca };
    let other = Backend::connect(&KeyStoreConfig::Fortanix(config), &Environment::empty()).await;
    assert!(matches!(other, Err(KeyStoreError::Unreachable(why)) if why.contains("certificate")));
}

#[tokio::test]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn fortanixs_client_and_kes_read_each_other() {
    let judge = Judge::find("fortanix");
    let (fake, _) = start().await;
    let store = connect(&fake, "", "YXBwOmtleQ==").await.unwrap();
    let url = fake.url();
    let ask =
        async |arguments: &[&str]| judge.ask(&[&[arguments[0], &url, "YXBwOmtleQ=="], &arguments[1..]].concat()).await;
    let value = std::str::from_utf8(VALUE).unwrap();
    store.create("ours", VALUE).await.unwrap();
    assert_eq!(ask(&["read", "ours"]).await, json!(value));
    ask(&["write", "theirs", value]).await;
    assert_eq!(store.get("theirs").await.unwrap().as_slice(), VALUE);
    assert_eq!(ask(&["names"]).await, json!(store.list("").await.unwrap()));
    ask(&["delete", "ours"]).await;
    assert_eq!(store.get("ours").await, Err(KeyStoreError::NotFound));
}
