//! AWS Secrets Manager against a fake: requests, retries, refusals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_server::config::{AwsConfig, AwsCredentials, KeyStoreConfig, Secret};
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};
use serde_json::json;

use super::conformance::{self, Missing, VALUE};
use super::fake::aws::{Aws, refused};
use super::fake::{Fake, Fault, Reply};
use super::remote;

pub async fn start() -> (Fake, Arc<Aws>) {
    let service = Arc::<Aws>::default();
    (Fake::start(service.clone()).await, service)
}

pub fn config(endpoint: &str, credentials: Option<(&str, &str, &str)>) -> AwsConfig {
    let credentials = credentials.map(|(access_key, secret_key, token)| AwsCredentials {
        access_key: access_key.into(),
        secret_key: Secret::new(secret_key),
        token: Secret::new(token),
    });
    AwsConfig { endpoint: endpoint.into(), region: "eu-central-1".into(), kms_key: String::new(), credentials }
}

pub async fn connect(config: AwsConfig) -> Result<Backend, KeyStoreError> {
    Backend::connect(&KeyStoreConfig::Aws(config), &Environment::empty()).await
}

pub async fn store(fake: &Fake) -> Backend {
    connect(config(&fake.url(), Some(("static", "secret", "")))).await.unwrap()
}

/// Text of an error that is neither *exists* nor *not found* nor *unreachable*.
pub fn text<T: std::fmt::Debug>(result: Result<T, KeyStoreError>) -> String {
    match result {
        Err(KeyStoreError::Other(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// Text of *unreachable*.
pub fn away<T: std::fmt::Debug>(result: Result<T, KeyStoreError>) -> String {
    match result {
        Err(KeyStoreError::Unreachable(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let (fake, _) = start().await;
    conformance::all(&store(&fake).await, Missing::IsSuccess).await;
}

#[tokio::test]
async fn the_requests_are_those_of_the_original() {
    let (fake, service) = start().await;
    let kms_key = "alias/minio".to_owned();
    let store =
        connect(AwsConfig { kms_key, ..config(&fake.url(), Some(("key-web", "secret", "token-web"))) }).await.unwrap();
    assert_eq!(store.to_string(), format!("AWS SecretsManager: {}", fake.url()));
    store.create("my-key", VALUE).await.unwrap();
    assert_eq!(service.stored("my-key").unwrap().as_bytes(), VALUE);
    assert_eq!(service.kms_key("my-key").unwrap(), "alias/minio");
    assert_eq!(store.get("my-key").await.unwrap().as_slice(), VALUE);
    assert_eq!(store.list("my").await.unwrap(), ["my-key"]);
    store.delete("my-key").await.unwrap();
    store.status().await.unwrap();
    let mut trace = fake.trace();
    let token = random_token(&mut trace[1]);
    assert!(token.chars().filter(|c| *c == '-').count() == 4 && token.len() == 36, "{token}");
    let value = String::from_utf8_lossy(VALUE);
    assert_eq!(
        trace,
        [
            "GET /",
            &format!(
                r#"POST / secretsmanager.CreateSecret {{"ClientRequestToken":"","Name":"my-key","SecretString":"{value}","KmsKeyId":"alias/minio"}}"#
            ),
            r#"POST / secretsmanager.GetSecretValue {"SecretId":"my-key"}"#,
            r"POST / secretsmanager.ListSecrets {}",
            r#"POST / secretsmanager.DeleteSecret {"SecretId":"my-key","ForceDeleteWithoutRecovery":true}"#,
            "GET /",
        ]
    );
}

/// Takes the random token out of a line.
fn random_token(line: &mut String) -> String {
    let start = line.find(r#"Token":""#).unwrap() + 8;
    let end = start + line[start..].find('"').unwrap();
    line.drain(start..end).collect()
}

#[tokio::test]
async fn all_pages_are_asked_for() {
    let (fake, service) = start().await;
    (0..250).for_each(|number| service.put(&format!("key-{number:03}"), &[]));
    assert_eq!(store(&fake).await.list("key-1").await.unwrap().len(), 100);
    let trace = fake.trace();
    assert_eq!(
        trace.iter().map(|line| line.rsplit(' ').next().unwrap()).collect::<Vec<_>>(),
        ["/", "{}", r#"{"NextToken":"100"}"#, r#"{"NextToken":"200"}"#]
    );
    let same = json!({ "SecretList": [], "NextToken": "x" });
    fake.fail("ListSecrets", 2, Fault::Answer(Reply::json(200, &same)));
    assert!(text(store(&fake).await.list("").await).contains("this one again"));
}

#[tokio::test]
async fn entries_of_others_are_read() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    service.put("text", &[("SecretString", std::str::from_utf8(VALUE).unwrap())]);
    service.put("binary", &[("SecretBinary", &STANDARD.encode(VALUE))]);
    service.put("damaged", &[("SecretBinary", "%")]);
    service.put("nothing", &[]);
    assert_eq!(store.get("text").await.unwrap().as_slice(), VALUE);
    assert_eq!(store.get("binary").await.unwrap().as_slice(), VALUE);
    assert!(text(store.get("damaged").await).ends_with("a SecretBinary that is not base64"));
    assert!(text(store.get("nothing").await).ends_with("neither a SecretString nor a SecretBinary"));
}

#[tokio::test]
async fn what_fails_for_a_moment_is_tried_four_times() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    fake.fail("CreateSecret", 3, Fault::Answer(Reply::status(500)));
    store.create("a", VALUE).await.unwrap();
    let mut trace = fake.trace().split_off(1);
    let tokens: Vec<_> = trace.iter_mut().map(random_token).collect();
    assert!(tokens.len() == 4 && tokens.iter().all(|token| token == &tokens[0]), "{tokens:?}");

    fake.fail("CreateSecret", 1, Fault::DropAnswer);
    store.create("b", VALUE).await.unwrap();
    assert_eq!(service.stored("b").unwrap().as_bytes(), VALUE, "stored at the first attempt, told at the second");

    fake.trace();
    fake.fail("GetSecretValue", 4, Fault::Answer(Reply::status(500)));
    let start = Instant::now();
    assert!(away(store.get("a").await).contains("answered 500"));
    assert!(start.elapsed() > Duration::from_millis(200) && start.elapsed() < Duration::from_secs(20));
    assert_eq!(fake.trace().len(), 4);

    fake.fail("GetSecretValue", 4, Fault::Drop);
    assert!(matches!(store.get("a").await, Err(KeyStoreError::Unreachable(_))));
    assert_eq!(fake.trace().len(), 4);
    assert_eq!(store.get("a").await.unwrap().as_slice(), VALUE);
}

#[tokio::test]
async fn too_many_requests_are_slowed_down() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    service.put("a", &[("SecretString", "v")]);
    fake.fail("GetSecretValue", 1, Fault::Answer(refused("ThrottlingException", "Rate exceeded")));
    let start = Instant::now();
    store.get("a").await.unwrap();
    assert!(start.elapsed() > Duration::from_millis(500) && start.elapsed() < Duration::from_secs(20));

    fake.fail("GetSecretValue", 1, Fault::Answer(Reply::status(429).with("retry-after", "1")));
    let start = Instant::now();
    store.get("a").await.unwrap();
    assert!(start.elapsed() > Duration::from_millis(1500), "{:?}", start.elapsed());

    fake.fail("GetSecretValue", 1, Fault::Answer(Reply::status(503).with("retry-after", "3600")));
    let start = Instant::now();
    assert!(away(store.get("a").await).contains("answered 503"), "an hour is not waited for");
    assert!(start.elapsed() < Duration::from_secs(30));

    // with the status of a mistake
    fake.fail("GetSecretValue", 4, Fault::Answer(refused("ThrottlingException", "Rate exceeded")));
    assert!(away(remote::hurry(store.get("a")).await).contains("Rate exceeded"));
    fake.fail("CreateSecret", 4, Fault::Answer(refused("LimitExceededException", "no more secrets")));
    assert!(text(remote::hurry(store.create("b", VALUE)).await).contains("quota of secrets is used up"));
}

#[tokio::test]
async fn refusals_are_told_once_and_with_what_helps() {
    let (fake, _) = start().await;
    let store = store(&fake).await;
    let cases = [
        ("AccessDeniedException", "allow it in the policy"),
        ("DecryptionFailure", "kms:Decrypt"),
        ("EncryptionFailure", "kms:GenerateDataKey"),
        ("InvalidRequestException", "recovery window"),
        ("InvalidSignatureException", "this machine's clock"),
        ("UnrecognizedClientException", "does not know this access key"),
        ("ExpiredTokenException", "get new credentials"),
    ];
    fake.trace();
    for (code, hint) in cases {
        fake.fail("GetSecretValue", 1, Fault::Answer(refused(code, "no")));
        let text = text(store.get("a").await);
        assert!(text.starts_with("secretsmanager:GetSecretValue: POST http://127.0.0.1:"), "{text}");
        assert!(text.contains("answered 400") && text.contains(code) && text.contains(hint), "{text}");
    }
    assert_eq!(fake.trace().len(), cases.len(), "none is repeated");
    let namespaced = refused("com.amazonaws.secretsmanager#ResourceNotFoundException", "no");
    fake.fail("DeleteSecret", 1, Fault::Answer(namespaced));
    assert_eq!(store.delete("a").await, Err(KeyStoreError::NotFound));
    fake.fail("GetSecretValue", 1, Fault::Answer(Reply { body: b"<html>".to_vec(), ..Reply::status(200) }));
    assert!(text(store.get("a").await).contains("this is not how the keystore answers"));
}

#[tokio::test]
async fn hangs_outages_and_lost_answers_end_well() {
    let (fake, service) = start().await;
    let store = store(&fake).await;
    remote::keeps_the_reference_form(
        &store,
        |value| String::from_utf8_lossy(value).into_owned(),
        |name, value| service.put(name, &[("SecretString", value)]),
        |name| service.stored(name),
    )
    .await;
    remote::survives_lost_answers(&fake, &store, "CreateSecret", "DeleteSecret").await;
    remote::ends_a_hang(&fake, &store, "a").await;
    let (address, url) = (fake.address, fake.url());
    remote::tells_an_outage(fake, &store).await;
    let error = connect(config(&url, Some(("static", "secret", "")))).await.unwrap_err();
    assert!(matches!(error, KeyStoreError::Unreachable(_)), "{error}");
    let _fake = Fake::start_at(address, Arc::<Aws>::default()).await;
    store.status().await.unwrap();
    store.create("a", VALUE).await.unwrap();
}

#[tokio::test]
async fn incomplete_credentials_are_refused_before_anything_is_sent() {
    let (fake, _) = start().await;
    for credentials in [("static", "", ""), ("", "secret", ""), ("", "", "token")] {
        let text = text(connect(config(&fake.url(), Some(credentials))).await);
        assert!(text.contains("set both accesskey and secretkey"), "{text}");
    }
    assert_eq!(fake.trace(), Vec::<String>::new());
}
