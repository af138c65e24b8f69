//! The ways to an access token: service account, application default credentials, metadata server.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use kes_server::config::{GcpConfig, GcpCredentials, KeyStoreConfig, Secret};
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};
use serde_json::{Value, json};

use super::aws::{away, text};
use super::fake::gcp::{EMAIL, Gcp, IMPERSONATION, KEY_ID, private_key};
use super::fake::{Fake, Fault, Reply};
use super::gcp::{config, connect, start};
use super::remote;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

async fn connect_as(fake: &Fake, variables: &[(&str, &str)]) -> Result<Backend, KeyStoreError> {
    let variables: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let config = GcpConfig { credentials: None, ..config(&fake.url()) };
    let environment = Environment::new(move |name| variables.get(name).cloned());
    Backend::connect(&KeyStoreConfig::Gcp(config), &environment).await
}

/// Connects with the file as `GOOGLE_APPLICATION_CREDENTIALS` and reads a key; the caller that the service saw.
async fn caller(fake: &Fake, service: &Gcp, file: &Path) -> Result<String, KeyStoreError> {
    service.put("a", &["v"]);
    let store = connect_as(fake, &[("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())]).await?;
    store.get("a").await?;
    Ok(service.callers().concat())
}

pub fn service_account() -> Value {
    json!({
        "type": "service_account", "client_email": EMAIL, "client_id": "1", "private_key_id": KEY_ID,
        "private_key": private_key(), "project_id": "my-project", "token_uri": "https://oauth2.googleapis.com/token",
    })
}

pub fn authorized_user(fake: &Fake) -> Value {
    json!({
        "type": "authorized_user", "client_id": "id", "client_secret": "client secret", "refresh_token": "1//refresh",
        "token_uri": format!("{}/token", fake.url()), "quota_project_id": "payer",
    })
}

/// With its subject token in a file.
pub fn external_account(fake: &Fake, subject: &Path) -> Value {
    json!({
        "type": "external_account", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p",
        "token_url": format!("{}/sts", fake.url()), "credential_source": { "file": subject },
    })
}

#[tokio::test]
async fn each_kind_of_file_gives_a_token() {
    let (fake, service) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, subject) = (folder.path().join("adc.json"), folder.path().join("subject"));
    std::fs::write(&subject, "the subject\n").unwrap();
    let caller = async |content: &Value| {
        std::fs::write(&file, content.to_string()).unwrap();
        caller(&fake, &service, &file).await.unwrap()
    };
    assert_eq!(caller(&service_account()).await, EMAIL);
    assert_eq!(caller(&authorized_user(&fake)).await, "user");
    assert_eq!(service.quota_projects(), ["", "payer"]);

    let mut external = external_account(&fake, &subject);
    assert_eq!(caller(&external).await, "federated");
    std::fs::write(&subject, r#"{"value":"the subject"}"#).unwrap();
    let format = json!({ "type": "json", "subject_token_field_name": "value" });
    external["credential_source"]["format"] = format.clone();
    assert_eq!(caller(&external).await, "federated");
    let url = format!("{}/subject", fake.url());
    external["credential_source"] = json!({ "url": url, "headers": { "x-who": "kes" }, "format": format });
    assert_eq!(caller(&external).await, "federated");
    external["service_account_impersonation_url"] = json!(format!("{}{IMPERSONATION}", fake.url()));
    assert_eq!(caller(&external).await, "impersonated-by-federated");

    let mut impersonated = json!({
        "type": "impersonated_service_account", "source_credentials": authorized_user(&fake),
        "service_account_impersonation_url": format!("{}{IMPERSONATION}", fake.url()), "delegates": [],
    });
    assert_eq!(caller(&impersonated).await, "impersonated-by-user");
    impersonated["source_credentials"] = service_account();
    assert_eq!(caller(&impersonated).await, "impersonated-by-kes");
}

#[tokio::test]
async fn the_file_of_the_variable_is_before_that_of_gcloud_and_the_metadata_server_is_last() {
    let (fake, service) = start().await;
    service.put("a", &["v"]);
    let home = tempfile::tempdir().unwrap();
    let host = fake.address.to_string();
    let variables = [("HOME", home.path().to_str().unwrap()), ("GCE_METADATA_HOST", &host)];
    connect_as(&fake, &variables).await.unwrap().get("a").await.unwrap();
    assert_eq!(service.callers(), ["metadata"]);
    assert_eq!(
        fake.trace()[..2],
        ["GET /computeMetadata/v1/instance/service-accounts/default/token".to_owned(), "GET /".to_owned()]
    );
    let folder = home.path().join(".config/gcloud");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("application_default_credentials.json"), authorized_user(&fake).to_string()).unwrap();
    connect_as(&fake, &variables).await.unwrap().get("a").await.unwrap();
    assert_eq!(service.callers(), ["user"]);
    let file = home.path().join("account.json");
    std::fs::write(&file, service_account().to_string()).unwrap();
    let named = [variables[0], variables[1], ("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())];
    connect_as(&fake, &named).await.unwrap().get("a").await.unwrap();
    assert_eq!(service.callers(), [EMAIL]);
}

#[tokio::test]
async fn unusable_credentials_are_told_at_start_without_their_secrets() {
    let (fake, service) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("adc.json");
    let mut aws = external_account(&fake, &file);
    aws["credential_source"] = json!({ "environment_id": "aws1", "url": "http://169.254.169.254/" });
    let with = |key: &str, value: Value| {
        let mut account = service_account();
        account[key] = value;
        account.to_string()
    };
    let bad_user = authorized_user(&fake).to_string().replace("1//refresh", "1//other");
    let cases = [
        ("{", "line 1 is not as it must be"),
        (r#"{"type":"gdch_service_account"}"#, "type 'gdch_service_account' is not supported"),
        (&with("private_key", json!(["very secret"])), "a field that type 'service_account' needs"),
        (&with("private_key", json!("very secret")), "it must be the PEM of an RSA key (PKCS#8)"),
        (&bad_user, "/token answered 400"),
        (&aws.to_string(), "identities of AWS, programs and certificates are not"),
        (&external_account(&fake, Path::new("/no/such/file")).to_string(), "'/no/such/file'"),
    ];
    for (content, expected) in cases {
        std::fs::write(&file, content).unwrap();
        let told = text(caller(&fake, &service, &file).await);
        assert!(told.starts_with("GCP credentials: ") && told.contains(expected), "{told}");
        assert!(!told.contains("very secret") && !told.contains("1//") && !told.contains("client secret"), "{told}");
    }
    let told = text(caller(&fake, &service, Path::new("/no/such/file")).await);
    assert!(told.contains("'/no/such/file'"), "{told}");
    let ec = GcpCredentials { private_key: Secret::new("-----BEGIN"), ..config("").credentials.unwrap() };
    let told = text(connect(GcpConfig { credentials: Some(ec), ..config(&fake.url()) }).await);
    assert!(told.contains(EMAIL) && told.contains("PKCS#8"), "{told}");
    assert_eq!(service.callers(), Vec::<String>::new());
}

#[tokio::test]
async fn no_credentials_at_all_are_told_at_start_and_soon() {
    let (fake, _) = start().await;
    fake.fail("computeMetadata", 1, Fault::Hang);
    let start = Instant::now();
    let told = text(connect_as(&fake, &[("GCE_METADATA_HOST", &fake.address.to_string())]).await);
    assert!(told.contains("there are none in the configuration") && told.contains("no answer within 5 s"), "{told}");
    assert!(start.elapsed() < Duration::from_secs(30));
    fake.fail("computeMetadata", 1, Fault::Answer(Reply::text(404, "no service account")));
    let told = text(connect_as(&fake, &[("GCE_METADATA_HOST", &fake.address.to_string())]).await);
    assert!(told.contains("answered 404: no service account"), "{told}");
}

#[tokio::test]
async fn a_metadata_server_that_is_not_ready_is_asked_again() {
    let (fake, _) = start().await;
    let host = fake.address.to_string();
    fake.fail("computeMetadata", 2, Fault::Drop);
    remote::hurry(connect_as(&fake, &[("GCE_METADATA_HOST", &host)])).await.unwrap();
    fake.fail("computeMetadata", 3, Fault::Answer(Reply::status(503)));
    let told = away(remote::hurry(connect_as(&fake, &[("GCE_METADATA_HOST", &host)])).await);
    assert!(told.starts_with("GCP credentials: ") && told.ends_with("answered 503"), "{told}");
}

#[tokio::test]
async fn tokens_are_renewed_before_their_end_and_replaced_when_refused() {
    let (fake, service) = start().await;
    service.put("a", &["v"]);
    service.set_life(10);
    let store = connect_as(&fake, &[("GCE_METADATA_HOST", &fake.address.to_string())]).await.unwrap();
    let tokens = || fake.trace().iter().filter(|line| line.contains("computeMetadata")).count();
    assert_eq!(tokens(), 1);
    remote::pass(Duration::from_secs(8)).await;
    let mut renewed = 0;
    for _ in 0..500 {
        renewed += tokens();
        if renewed > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(renewed, 1);
    store.get("a").await.unwrap();

    service.set_life(3600);
    service.revoke();
    remote::pass(Duration::from_secs(2)).await;
    assert_eq!(store.get("a").await.unwrap().as_slice(), b"v", "with a new token");
    assert_eq!(tokens(), 1);
}

#[tokio::test]
async fn the_configured_scopes_are_asked_for() {
    let (fake, service) = start().await;
    service.put("a", &["v"]);
    let scopes = vec![SCOPE.to_owned()];
    connect(GcpConfig { scopes, ..config(&fake.url()) }).await.unwrap().get("a").await.unwrap();
    let scopes = vec!["other".to_owned(), SCOPE.to_owned()];
    let store = connect(GcpConfig { scopes, ..config(&fake.url()) }).await.unwrap();
    assert!(text(store.get("a").await).contains("UNAUTHENTICATED"), "the fake knows one scope only");
}
