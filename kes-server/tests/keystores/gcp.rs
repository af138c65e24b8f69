//! GCP Secret Manager against a fake: requests, retries, refusals, and creations that stop half way.

use std::sync::Arc;
use std::time::Duration;

use kes_server::config::{GcpConfig, GcpCredentials, KeyStoreConfig, Secret};
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};
use serde_json::json;

use super::aws::{away, text};
use super::conformance::{self, Missing, VALUE};
use super::fake::gcp::{EMAIL, Gcp, KEY_ID, PROJECT, private_key, refused};
use super::fake::{Fake, Fault, Reply};
use super::remote;

pub async fn start() -> (Fake, Arc<Gcp>) {
    let service = Arc::<Gcp>::default();
    (Fake::start(service.clone()).await, service)
}

/// With the key of the service account.
pub fn config(endpoint: &str) -> GcpConfig {
    let credentials = GcpCredentials {
        client_email: EMAIL.into(),
        client_id: "1".into(),
        private_key_id: KEY_ID.into(),
        private_key: Secret::new(private_key()),
    };
    let project_id = PROJECT.into();
    GcpConfig { project_id, endpoint: endpoint.into(), scopes: Vec::new(), credentials: Some(credentials) }
}

pub async fn connect(config: GcpConfig) -> Result<Backend, KeyStoreError> {
    Backend::connect(&KeyStoreConfig::Gcp(config), &Environment::empty()).await
}

pub async fn store(fake: &Fake) -> Backend {
    connect(config(&fake.url())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let (fake, _) = start().await;
    conformance::all(&store(&fake).await, Missing::IsTold).await;
}

#[tokio::test]
async fn the_requests_are_those_of_the_original() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    assert_eq!(store.to_string(), "GCP SecretManager: Project=my-project");
    store.create("my-key", VALUE).await.unwrap();
    assert_eq!(service.stored("my-key").unwrap(), [String::from_utf8_lossy(VALUE)]);
    assert_eq!(store.get("my-key").await.unwrap().as_slice(), VALUE);
    assert_eq!(store.list("my").await.unwrap(), ["my-key"]);
    store.delete("my-key").await.unwrap();
    store.status().await.unwrap();
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, VALUE);
    assert_eq!(
        fake.trace(),
        [
            "GET /",
            r#"POST /v1/projects/my-project/secrets?secretId=my-key {"replication":{"automatic":{}}}"#,
            &format!(r#"POST /v1/projects/123456/secrets/my-key:addVersion {{"payload":{{"data":"{data}"}}}}"#),
            "GET /v1/projects/my-project/secrets/my-key/versions/1:access",
            "GET /v1/projects/my-project/secrets",
            "DELETE /v1/projects/my-project/secrets/my-key",
            "GET /",
        ]
    );
    assert!(service.callers().iter().all(|caller| caller == EMAIL), "by a token that the key signed");
}

#[tokio::test]
async fn all_pages_are_asked_for() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    (0..250).for_each(|number| service.put(&format!("key-{number:03}"), &["v"]));
    service.set_page(100);
    fake.trace();
    assert_eq!(store.list("key-1").await.unwrap().len(), 100);
    let path = "GET /v1/projects/my-project/secrets";
    assert_eq!(fake.trace(), [path, &format!("{path}?pageToken=100"), &format!("{path}?pageToken=200")]);
    fake.fail(path, 2, Fault::Answer(Reply::json(200, &json!({ "nextPageToken": "x" }))));
    assert!(text(store.list("").await).contains("this one again"));
}

#[tokio::test]
async fn the_first_version_is_the_one_that_counts() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    service.put("many", &["first", "second"]);
    assert_eq!(store.get("many").await.unwrap().as_slice(), b"first");
    service.disable("many");
    let disabled = text(store.get("many").await);
    assert!(disabled.contains("answered 400") && disabled.contains("version 1 is disabled"), "{disabled}");
    service.put("none", &[]);
    assert_eq!(store.get("none").await, Err(KeyStoreError::NotFound));
    assert_eq!(store.list("").await.unwrap(), ["many", "none"]);
    store.create("none", VALUE).await.unwrap();
    assert_eq!(store.get("none").await.unwrap().as_slice(), VALUE, "the rest of a creation blocks no name");
    assert_eq!(store.create("none", VALUE).await, Err(KeyStoreError::Exists));
}

#[tokio::test]
async fn a_creation_that_fails_half_way_is_completed_by_the_next_one() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    let denied = refused(403, "PERMISSION_DENIED", "Permission 'secretmanager.versions.add' denied");
    fake.fail(":addVersion", 1, Fault::Answer(denied));
    let told = text(store.create("a", VALUE).await);
    assert!(told.starts_with("secretmanager.versions.add: POST http://127.0.0.1:"), "{told}");
    assert!(told.contains("answered 403") && told.contains("grant this permission"), "{told}");
    assert!(told.ends_with("key 'a': the secret has no version; the next creation of the key uses it"), "{told}");
    assert_eq!(service.stored("a"), Some(Vec::new()));
    assert_eq!(fake.count("DELETE"), 0, "somebody else may have completed it by now");
    store.create("a", VALUE).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().as_slice(), VALUE);

    // nobody waits for it any more: the API's deadline has passed
    fake.fail(":addVersion", 1, Fault::Slow(Duration::from_millis(300)));
    let aborted = tokio::time::timeout(Duration::from_millis(150), store.create("b", VALUE)).await;
    assert!(aborted.is_err());
    remote::eventually(|| service.stored("b").is_some_and(|versions| versions.len() == 1)).await;
}

/// The key may be in use by now: nothing is removed.
#[tokio::test]
async fn a_creation_that_was_carried_out_is_not_taken_back() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    let of_a_proxy = Reply::text(200, "<html>welcome");
    for answer in [refused(503, "UNAVAILABLE", "later"), refused(504, "DEADLINE_EXCEEDED", "late"), of_a_proxy] {
        fake.trace();
        fake.fail(":addVersion", 1, Fault::Instead(answer.clone()));
        assert_eq!(store.create("a", VALUE).await, Ok(()), "{answer:?}");
        assert_eq!(service.stored("a").unwrap(), [String::from_utf8_lossy(VALUE)]);
        assert_eq!(fake.count("DELETE"), 0, "{answer:?}");
        store.delete("a").await.unwrap();
        // whether it was carried out cannot be seen
        fake.fail(":addVersion", 1, Fault::Instead(answer));
        fake.fail(":access", 1, Fault::Answer(refused(403, "PERMISSION_DENIED", "no access")));
        let told = store.create("b", VALUE).await.unwrap_err().to_string();
        assert!(told.contains("key 'b': whether it was made is not known"), "{told}");
        assert_eq!(store.get("b").await.unwrap().as_slice(), VALUE);
        store.delete("b").await.unwrap();
    }
}

#[tokio::test]
async fn another_version_that_came_first_is_not_overwritten() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    fake.fail(":addVersion", 1, Fault::Slow(Duration::from_millis(300)));
    let put = async {
        remote::eventually(|| service.stored("a").is_some()).await;
        service.put("a", &["of another"]);
    };
    let (created, ()) = tokio::join!(store.create("a", VALUE), put);
    assert_eq!(created, Err(KeyStoreError::Exists));
    assert_eq!(store.get("a").await.unwrap().as_slice(), b"of another");
}

#[tokio::test]
async fn only_reading_is_repeated_when_the_service_is_away() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    service.put("a", &["v"]);
    for (status, code) in [(503, "UNAVAILABLE"), (429, "RESOURCE_EXHAUSTED")] {
        let later = Fault::Answer(refused(status, code, "later"));
        fake.trace();
        fake.fail(":access", 2, later.clone());
        assert_eq!(store.get("a").await.unwrap().as_slice(), b"v");
        assert_eq!(fake.trace().len(), 3);
        for matching in ["secretId=", "DELETE", "GET /v1/projects/my-project/secrets"] {
            fake.fail(matching, 1, later.clone());
        }
        let answered = format!("answered {status}");
        assert!(away(store.create("b", VALUE).await).contains(&answered));
        assert!(away(store.delete("a").await).contains(&answered));
        assert!(away(store.list("").await).contains(&answered));
        assert_eq!(fake.trace().len(), 3);
    }
}

#[tokio::test]
async fn an_answer_of_somebody_else_says_nothing_about_keys() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    service.put("a", &["v"]);
    for status in [404, 409] {
        fake.fail("/secrets", 3, Fault::Answer(Reply::text(status, "<html>the proxy")));
        assert!(text(store.get("a").await).contains("the proxy"));
        assert!(text(store.create("b", VALUE).await).contains("the proxy"));
        assert!(text(store.delete("a").await).contains("the proxy"));
    }
    let payload = |data| json!({ "name": "projects/1/secrets/a/versions/1", "payload": { "data": data } });
    fake.fail(":access", 1, Fault::Answer(Reply::json(200, &payload(json!("%")))));
    assert!(text(store.get("a").await).ends_with("a payload that is not base64"));
    for answer in [payload(json!(5)), json!({ "name": "projects/1/secrets/b/versions/1", "payload": { "data": "" } })] {
        fake.fail(":access", 1, Fault::Answer(Reply::json(200, &answer)));
        assert!(text(store.get("a").await).contains("this is not how the keystore answers"), "{answer}");
    }
    let disabled = refused(403, "PERMISSION_DENIED", "SERVICE_DISABLED");
    fake.fail(":access", 1, Fault::Answer(disabled));
    assert!(text(store.get("a").await).contains("enable the Secret Manager API"));
}

#[tokio::test]
async fn hangs_outages_and_lost_answers_end_well() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    remote::keeps_the_reference_form(
        &store,
        |value| String::from_utf8_lossy(value).into_owned(),
        |name, value| service.put(name, &[value]),
        |name| service.stored(name).map(|versions| versions.concat()),
    )
    .await;
    remote::survives_lost_answers(&fake, &store, "secretId=", "DELETE").await;
    for fault in [Fault::Drop, Fault::DropAnswer] {
        fake.fail(":addVersion", 1, fault);
        store.create("lost", VALUE).await.unwrap();
        assert_eq!(service.stored("lost").unwrap(), [String::from_utf8_lossy(VALUE)]);
        store.delete("lost").await.unwrap();
    }
    remote::ends_a_hang(&fake, &store, "a").await;
    let url = fake.url();
    remote::tells_an_outage(fake, &store).await;
    let error = connect(config(&url)).await.unwrap_err();
    assert!(matches!(error, KeyStoreError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn every_form_of_endpoint_is_taken() {
    let (fake, _) = start().await;
    connect(config(&format!("{}/", fake.url()))).await.unwrap();
    // without a scheme it is TLS, which this fake does not speak
    for endpoint in [fake.address.to_string(), format!("https://{}", fake.address)] {
        let error = connect(config(&endpoint)).await.unwrap_err().to_string();
        assert!(error.contains(&format!("https://{}/", fake.address)), "{error}");
    }
}
