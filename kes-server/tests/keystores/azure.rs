//! Azure Key Vault: its operations.

use std::sync::Arc;
use std::time::Duration;

use kes_server::config::{AzureAuth, AzureConfig, KeyStoreConfig, Secret};
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};
use serde_json::json;
use tokio::time::Instant;

use super::conformance::{self, Missing, VALUE};
use super::fake::azure::{Azure, SECRET, refused};
use super::fake::{Fake, Fault, Reply};
use super::remote;

pub async fn start() -> (Fake, Arc<Azure>) {
    let service = Arc::<Azure>::default();
    (Fake::start(service.clone()).await, service)
}

/// The application `client`, with this secret.
pub fn client(secret: &str) -> AzureAuth {
    AzureAuth::Client { tenant_id: "tenant".into(), client_id: "client".into(), client_secret: Secret::new(secret) }
}

/// These variables and those that make the fake Azure.
pub fn environment(fake: &Fake, more: &[(&str, &str)]) -> Environment {
    let ours = [("AZURE_AUTHORITY_HOST", &*fake.url()), ("KES_AZURE_SKIP_DOMAIN_CHECK", "on")];
    let all: Vec<_> = ours.iter().chain(more).map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Environment::new(move |wanted| all.iter().rfind(|(name, _)| name == wanted).map(|(_, value)| value.clone()))
}

pub async fn connect(fake: &Fake, auth: AzureAuth, environment: &Environment) -> Result<Backend, KeyStoreError> {
    let config = AzureConfig { endpoint: fake.url(), auth };
    Backend::connect(&KeyStoreConfig::Azure(config), environment).await
}

pub async fn store(fake: &Fake) -> Backend {
    connect(fake, client(SECRET), &environment(fake, &[])).await.unwrap()
}

/// The calls of the vault since the last look, without the version of the API.
fn calls(fake: &Fake) -> Vec<String> {
    fake.trace().iter().map(|line| line.replace("?api-version=7.5", "")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_for_names_that_a_vault_can_have() {
    let (fake, _) = start().await;
    conformance::with_plain_names(&store(&fake).await, Missing::IsSuccess).await;
}

#[tokio::test]
async fn the_requests_are_those_of_the_original() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    assert_eq!(fake.trace().len(), 0, "nothing is contacted at start");
    store.create("my-key", VALUE).await.unwrap();
    let [id] = &*service.versions("my-key") else { panic!("one version") };
    assert_eq!(store.get("my-key").await.unwrap().as_slice(), VALUE);
    assert_eq!(store.list("my").await.unwrap(), ["my-key"]);
    store.delete("my-key").await.unwrap();
    store.status().await.unwrap();
    let value = String::from_utf8_lossy(VALUE);
    assert_eq!(
        fake.trace(),
        [
            "GET /secrets/my-key/?api-version=7.5",
            "POST /tenant/oauth2/v2.0/token grant_type=client_credentials&client_id=client\
             &client_secret=s3cret%7E%2B%26%3D+%25&scope=https%3A%2F%2Fvault.azure.net%2F.default",
            "GET /secrets/my-key/?api-version=7.5",
            &format!(r#"PUT /secrets/my-key?api-version=7.5 {{"value":"{value}"}}"#),
            "GET /secrets/my-key/versions?api-version=7.5",
            &format!("GET /secrets/my-key/{id}?api-version=7.5"),
            "GET /secrets?api-version=7.5",
            "DELETE /secrets/my-key?api-version=7.5",
            "DELETE /deletedsecrets/my-key?api-version=7.5",
            "GET /",
        ]
    );
}

#[tokio::test]
async fn keys_have_the_reference_form() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    let form = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let (put, stored) = (|name: &str, value: &str| service.put(name, value), |name: &str| service.stored(name).pop());
    remote::keeps_the_reference_form(&store, form, put, stored).await;
}

#[tokio::test]
async fn the_oldest_version_is_the_key() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    for (value, created) in [("third", 300), ("first", 100), ("same second", 100), ("second", 200)] {
        service.put_version("k", |version| (version.value, version.created) = (value.into(), created));
    }
    assert_eq!(store.get("k").await.unwrap().as_slice(), b"first");
    assert_eq!(store.create("k", VALUE).await, Err(KeyStoreError::Exists));
    for number in 0..23 {
        service.put_version("k", |version| version.created = 400 + number);
    }
    let text = store.get("k").await.unwrap_err().to_string();
    assert!(text.contains("'k' has too many versions to be a key"), "{text}");
}

#[tokio::test]
async fn a_version_that_cannot_be_read_now_is_told() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    service.put_version("disabled", |version| version.enabled = false);
    service.put_version("early", |version| version.nbf = Some(u64::MAX / 2));
    service.put_version("late", |version| version.exp = Some(1));
    for (name, why) in [("disabled", "is disabled"), ("early", "is not yet valid"), ("late", "has expired")] {
        let text = store.get(name).await.unwrap_err().to_string();
        assert!(text.contains(&format!("the oldest version of '{name}' {why}")), "{text}");
    }
    assert!(matches!(store.create("disabled", VALUE).await, Err(KeyStoreError::Other(why)) if why.contains("403")));
}

#[tokio::test]
async fn names_are_compared_without_case_and_odd_ones_refused() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    store.create("A1", VALUE).await.unwrap();
    assert_eq!(store.create("a1", VALUE).await, Err(KeyStoreError::Exists));
    assert_eq!(store.get("a1").await.unwrap().as_slice(), VALUE);
    assert_eq!(store.list("").await.unwrap(), ["A1"]);
    service.put("longest", &"x".repeat(25 * 1024));
    assert_eq!(store.get("longest").await.unwrap().len(), 25 * 1024);
    fake.trace();
    for refusal in [
        store.create("my_key", VALUE).await.unwrap_err(),
        store.get("my_key").await.unwrap_err(),
        store.delete("my_key").await.unwrap_err(),
    ] {
        let text = refusal.to_string();
        assert!(text.contains("letters, digits and '-' only, no '_'; choose another name than 'my_key'"), "{text}");
    }
    let text = store.create("large", &vec![b'x'; 25 * 1024 + 1]).await.unwrap_err().to_string();
    assert_eq!(text, "Azure Key Vault takes values of 25600 bytes at most; 'large' has 25601");
    assert_eq!(fake.trace().len(), 0);
}

#[tokio::test]
async fn listings_follow_their_links_within_the_vault() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    let names: Vec<_> = (0..60).map(|number| format!("key-{number:02}")).collect();
    for name in &names {
        service.put(name, "v");
    }
    service.put("foreign", "certificate");
    assert_eq!(store.list("key").await.unwrap(), names);
    let pages = ["", "&$skiptoken=25", "&$skiptoken=50"].map(|skip| format!("GET /secrets?api-version=7.5{skip}"));
    let trace = fake.trace();
    assert_eq!(
        trace[2..],
        pages.map(|page| page.replace("?api-version=7.5&$skiptoken", "?$skiptoken")).map(|page| {
            // a trace sorts the parameters
            page.split_once("?$").map_or(page.clone(), |(path, skip)| format!("{path}?${skip}&api-version=7.5"))
        })
    );
    for (link, why) in [
        (format!("{}/secrets?api-version=7.5", fake.url()), "the next page is the same page"),
        ("https://evil.example/secrets?api-version=7.5".into(), "the next page is not in this vault"),
        ("/secrets".into(), "the next page is not in this vault"),
    ] {
        let page = Reply::json(200, &json!({ "value": [], "nextLink": link }));
        fake.fail("GET /secrets", 1, Fault::Answer(page));
        let text = store.list("").await.unwrap_err().to_string();
        assert!(text.ends_with(why), "{text}");
    }
    let last = Reply::json(200, &json!({ "value": [], "nextLink": "" }));
    fake.fail("GET /secrets", 1, Fault::Answer(last));
    assert_eq!(store.list("").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_name_is_free_again_when_its_deletion_is_final() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    service.set(|settings| {
        settings.deletion = Duration::from_millis(2500);
        settings.purge = Duration::from_millis(1500);
    });
    store.create("k", b"first").await.unwrap();
    remote::hurry(store.delete("k")).await.unwrap();
    let start = Instant::now();
    remote::hurry(store.create("k", b"second")).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(store.get("k").await.unwrap().as_slice(), b"second");
    assert_eq!(service.stored("k"), ["second"]);
}

/// Somebody else deleted the secret, and not finally.
#[tokio::test]
async fn a_deleted_entry_makes_room() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    store.create("k", b"first").await.unwrap();
    fake.fail("/deletedsecrets/", 1, Fault::Answer(refused(403, "Forbidden", "ForbiddenByPolicy")));
    let text = store.delete("k").await.unwrap_err().to_string();
    assert!(text.contains("answered 403") && text.contains("grant the permission 'purge'"), "{text}");
    assert_eq!(store.get("k").await, Err(KeyStoreError::NotFound));
    fake.trace();
    store.create("k", b"second").await.unwrap();
    assert_eq!(
        calls(&fake),
        [
            "GET /secrets/k/",
            r#"PUT /secrets/k {"value":"second"}"#,
            "DELETE /deletedsecrets/k",
            r#"PUT /secrets/k {"value":"second"}"#,
        ]
    );
    service.set(|settings| settings.protected = true);
    assert!(store.delete("k").await.is_err());
    let text = store.create("k", b"third").await.unwrap_err().to_string();
    assert!(text.contains("if the vault has purge protection, choose another name"), "{text}");
}

/// docs/keystores-protocol.md §8: 10 purges for a deletion, which then counts as done; 25 for a creation, which then
/// fails.
#[tokio::test]
async fn a_deletion_that_takes_long_is_not_waited_for_without_end() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    service.set(|settings| settings.deletion = Duration::from_secs(60));
    store.create("k", b"first").await.unwrap();
    fake.trace();
    let start = Instant::now();
    remote::hurry(store.delete("k")).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    assert_eq!(calls(&fake).iter().filter(|call| call.starts_with("DELETE /deletedsecrets/k")).count(), 10);
    let start = Instant::now();
    let text = remote::hurry(store.create("k", b"second")).await.unwrap_err().to_string();
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(text, "the former entry 'k' is still being deleted by Azure Key Vault; try again later");
    let calls = calls(&fake);
    assert_eq!(calls.iter().filter(|call| call.starts_with("DELETE /deletedsecrets/k")).count(), 25);
    assert_eq!(calls.iter().filter(|call| call.starts_with("PUT")).count(), 1);
}

#[tokio::test]
async fn a_purge_that_takes_long_is_put_against_seven_times() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    service.set(|settings| settings.purge = Duration::from_secs(60));
    store.create("k", b"first").await.unwrap();
    service.set(|settings| settings.deletion = Duration::from_millis(100));
    fake.fail("/deletedsecrets/", 1, Fault::Answer(refused(403, "Forbidden", "ForbiddenByPolicy")));
    store.delete("k").await.unwrap_err();
    fake.trace();
    let text = remote::hurry(store.create("k", b"second")).await.unwrap_err().to_string();
    assert!(text.contains("answered 409") && text.contains("ObjectIsBeingDeleted"), "{text}");
    assert_eq!(calls(&fake).iter().filter(|call| call.starts_with("PUT")).count(), 1 + 7);
}

#[tokio::test]
async fn failures_are_retried_as_azures_clients_do_and_told() {
    let (fake, _) = start().await;
    let store = store(&fake).await;
    store.create("a", VALUE).await.unwrap();
    fake.fail("/versions", 7, Fault::Answer(Reply::status(503)));
    assert_eq!(remote::hurry(store.get("a")).await.unwrap().as_slice(), VALUE);
    fake.fail("/versions", 8, Fault::Drop);
    let start = Instant::now();
    assert!(matches!(remote::hurry(store.get("a")).await, Err(KeyStoreError::Unreachable(_))));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    fake.fail("/versions", 1, Fault::Answer(Reply::status(429).with("retry-after", "3")));
    let start = Instant::now();
    assert_eq!(remote::hurry(store.get("a")).await.unwrap().as_slice(), VALUE);
    assert!(start.elapsed() >= Duration::from_secs(3));
    fake.fail("/versions", 1, Fault::Answer(refused(403, "Forbidden", "AccessDenied")));
    let text = store.get("a").await.unwrap_err().to_string();
    assert!(text.contains("/secrets/a/versions answered 403") && text.contains("AccessDenied"), "{text}");
    fake.fail("/versions", 1, Fault::Answer(Reply::json(200, &json!({ "value": [{ "id": 5 }] }))));
    let text = store.get("a").await.unwrap_err().to_string();
    assert!(text.contains("/secrets/a/versions answered 200: this is not how the keystore answers"), "{text}");
}

/// A write whose answer is lost makes a second version, which is the same key.
#[tokio::test]
async fn lost_answers_do_no_harm() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    for fault in [Fault::Drop, Fault::DropAnswer] {
        fake.fail("PUT", 1, fault.clone());
        store.create("lost", VALUE).await.unwrap();
        assert!(service.stored("lost").iter().all(|value| value.as_bytes() == VALUE));
        assert_eq!(store.get("lost").await.unwrap().as_slice(), VALUE);
        fake.fail("DELETE /secrets", 1, fault.clone());
        fake.fail("DELETE /deletedsecrets", 1, fault);
        store.delete("lost").await.unwrap();
        assert_eq!(store.get("lost").await, Err(KeyStoreError::NotFound));
    }
    store.create("a", VALUE).await.unwrap();
    remote::ends_a_hang(&fake, &store, "a").await;
    assert_eq!(store.get("a").await.unwrap().as_slice(), VALUE);
}

/// A vault answers an unknown name with an empty list; should it say 404, only its own words count.
#[tokio::test]
async fn only_the_vaults_own_words_are_not_found() {
    let (fake, _) = start().await;
    let store = store(&fake).await;
    fake.fail("/versions", 2, Fault::Answer(refused(404, "SecretNotFound", "")));
    assert_eq!(store.get("a").await, Err(KeyStoreError::NotFound));
    fake.heal();
    fake.fail("/versions", 1, Fault::Answer(Reply::text(404, "no such site")));
    assert!(
        matches!(store.get("a").await, Err(KeyStoreError::Other(why)) if why.ends_with("answered 404: no such site"))
    );
}
