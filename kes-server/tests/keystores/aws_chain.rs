//! The default chain of AWS credentials: every source, their order, rotation and outages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kes_server::config::KeyStoreConfig;
use kes_server::keystore::{Backend, Environment, KeyStore as _};

use super::aws::{away, config, start, text};
use super::conformance::VALUE;
use super::fake::{Fake, Fault, Reply};
use super::remote;

/// Variables that can change while the server runs, with the metadata service at the fake.
#[derive(Debug, Clone, Default)]
struct Variables(Arc<Mutex<BTreeMap<String, String>>>);

impl Variables {
    fn of(fake: &Fake) -> Self {
        let variables = Self::default();
        variables.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("{}/", fake.url()));
        variables.set("AWS_ENDPOINT_URL_STS", &format!("{}/sts", fake.url()));
        variables
    }

    fn set(&self, name: &str, value: &str) {
        self.0.lock().unwrap().insert(name.into(), value.into());
    }

    async fn connect(&self, fake: &Fake) -> Backend {
        let variables = self.clone();
        let environment = Environment::new(move |name| variables.0.lock().unwrap().get(name).cloned());
        Backend::connect(&KeyStoreConfig::Aws(config(&fake.url(), None)), &environment).await.unwrap()
    }
}

#[tokio::test]
async fn each_source_is_used_and_the_first_wins() {
    let (fake, service) = start().await;
    let (variables, folder) = (Variables::of(&fake), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let used = async || {
        service.put("a", &[("SecretString", "v")]);
        variables.connect(&fake).await.get("a").await.unwrap();
        service.used().concat()
    };
    assert_eq!(used().await, "key-instance-1");

    std::fs::write(path("token"), "let me in\n").unwrap();
    variables.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/container", fake.url()));
    variables.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &path("token"));
    assert_eq!(used().await, "key-container-2");

    std::fs::create_dir(path(".aws")).unwrap();
    let profiles = "[default]\naws_access_key_id = file\naws_secret_access_key = s\n\n\
                    [kes]\naws_access_key_id=key-file\naws_secret_access_key=s\naws_session_token=token-file\n";
    std::fs::write(path(".aws/credentials"), profiles).unwrap();
    variables.set("HOME", &path(""));
    assert_eq!(used().await, "file");
    variables.set("AWS_PROFILE", "kes");
    assert_eq!(used().await, "key-file");
    std::fs::rename(path(".aws/credentials"), path("moved")).unwrap();
    std::fs::write(path(".aws/config"), profiles.replace("[kes]", "[profile kes]")).unwrap();
    assert_eq!(used().await, "key-container-3", "the configuration file is not for credentials");
    variables.set("AWS_SHARED_CREDENTIALS_FILE", &path("moved"));
    assert_eq!(used().await, "key-file");

    std::fs::write(path("jwt"), "a-jwt\n").unwrap();
    variables.set("AWS_WEB_IDENTITY_TOKEN_FILE", &path("jwt"));
    variables.set("AWS_ROLE_ARN", "arn:aws:iam::1:role/kes");
    assert_eq!(used().await, "key-web-4");

    variables.set("AWS_ACCESS_KEY", "old-name");
    variables.set("AWS_SECRET_KEY", "s");
    assert_eq!(used().await, "old-name");
    variables.set("AWS_ACCESS_KEY_ID", "key-env");
    variables.set("AWS_SECRET_ACCESS_KEY", "s");
    variables.set("AWS_SESSION_TOKEN", "token-env");
    assert_eq!(used().await, "key-env");
}

#[tokio::test]
async fn the_instance_is_asked_as_the_original_asks() {
    let (fake, service) = start().await;
    service.put("a", &[("SecretString", "v")]);
    let store = Variables::of(&fake).connect(&fake).await;
    store.get("a").await.unwrap();
    store.get("a").await.unwrap();
    assert_eq!(
        fake.trace(),
        [
            "GET /",
            "PUT /latest/api/token",
            "GET /latest/meta-data/iam/security-credentials/",
            "GET /latest/meta-data/iam/security-credentials/the-role",
            r#"POST / secretsmanager.GetSecretValue {"SecretId":"a"}"#,
            r#"POST / secretsmanager.GetSecretValue {"SecretId":"a"}"#,
        ],
        "once for both calls"
    );
}

#[tokio::test]
async fn the_token_service_is_asked_as_a_web_identity() {
    let (fake, service) = start().await;
    let (variables, folder) = (Variables::of(&fake), tempfile::tempdir().unwrap());
    let jwt = folder.path().join("jwt");
    std::fs::write(&jwt, "a-jwt\n").unwrap();
    variables.set("AWS_WEB_IDENTITY_TOKEN_FILE", jwt.to_str().unwrap());
    variables.set("AWS_ROLE_ARN", "arn:aws:iam::1:role/kes");
    service.put("a", &[("SecretString", "v")]);
    variables.connect(&fake).await.get("a").await.unwrap();
    let call = "POST /sts Action=AssumeRoleWithWebIdentity&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fkes\
                &WebIdentityToken=a-jwt&Version=2011-06-15&RoleSessionName=kes";
    assert_eq!(fake.trace()[1], call);

    std::fs::write(&jwt, "another-jwt").unwrap();
    let text = text(variables.connect(&fake).await.get("a").await);
    assert_eq!(text, "AWS credentials: web identity: InvalidIdentityToken: No such token");
}

#[tokio::test]
async fn credentials_are_fetched_again_before_they_end_and_kept_if_that_fails() {
    let (fake, service) = start().await;
    service.put("a", &[("SecretString", "v")]);
    let store = Variables::of(&fake).connect(&fake).await;
    // two minutes before their end others are asked for, so here at every call
    service.set_life(60);
    store.get("a").await.unwrap();
    store.get("a").await.unwrap();
    assert_eq!(service.used(), ["key-instance-1", "key-instance-2"]);
    fake.fail("security-credentials", usize::MAX, Fault::Answer(Reply::status(500)));
    store.get("a").await.unwrap();
    fake.trace();
    store.get("a").await.unwrap();
    assert_eq!(fake.trace().len(), 1, "not asked again at once");
    assert_eq!(service.used(), ["key-instance-2", "key-instance-2"]);
    fake.heal();
}

#[tokio::test]
async fn credentials_that_still_hold_do_not_wait_for_a_silent_service() {
    let (fake, service) = start().await;
    let (variables, folder) = (Variables::of(&fake), tempfile::tempdir().unwrap());
    let jwt = folder.path().join("jwt");
    std::fs::write(&jwt, "a-jwt").unwrap();
    variables.set("AWS_WEB_IDENTITY_TOKEN_FILE", jwt.to_str().unwrap());
    variables.set("AWS_ROLE_ARN", "arn:aws:iam::1:role/kes");
    service.put("a", &[("SecretString", "v")]);
    service.set_life(60);
    let store = variables.connect(&fake).await;
    store.get("a").await.unwrap();
    fake.fail("/sts", usize::MAX, Fault::Hang);
    let waited = remote::hurry(async {
        let start = tokio::time::Instant::now();
        store.get("a").await.unwrap();
        start.elapsed()
    });
    let waited = waited.await;
    assert!(waited < Duration::from_secs(10), "a request has 15 s: {waited:?}");
    fake.heal();
}

#[tokio::test]
async fn refused_credentials_are_replaced_by_newer_ones_once() {
    let (fake, service) = start().await;
    let variables = Variables::of(&fake);
    variables.set("AWS_ACCESS_KEY_ID", "first");
    variables.set("AWS_SECRET_ACCESS_KEY", "s");
    let store = variables.connect(&fake).await;
    store.create("a", VALUE).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    service.revoke("first");
    assert!(text(store.get("a").await).contains("UnrecognizedClientException"), "there are no others yet");
    variables.set("AWS_ACCESS_KEY_ID", "second");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(store.get("a").await.unwrap().as_slice(), VALUE);
    assert_eq!(service.used(), ["first", "second"]);
}

#[tokio::test]
async fn missing_credentials_are_told_at_the_first_call_and_soon() {
    let (fake, _) = start().await;
    let variables = Variables::of(&fake);
    variables.set("AWS_EC2_METADATA_DISABLED", "TRUE");
    let store = variables.connect(&fake).await;
    store.status().await.unwrap();
    assert!(text(store.get("a").await).contains("set keystore.aws.secretsmanager.credentials"));
    assert_eq!(fake.trace(), ["GET /", "GET /"]);

    variables.set("AWS_EC2_METADATA_DISABLED", "false");
    fake.fail("/latest/api/token", 1, Fault::Hang);
    let store = variables.connect(&fake).await;
    let start = Instant::now();
    let results = futures_util::future::join_all((0..20).map(|_| store.get("a"))).await;
    let results: Vec<_> = results.into_iter().map(text).collect();
    let parts = ["no answer within 5 s", "set keystore.aws.secretsmanager.credentials"];
    assert!(results.iter().all(|text| parts.iter().all(|part| text.contains(part))), "{results:?}");
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(fake.trace().len(), 2, "one search for all who ask");
}

#[tokio::test]
async fn a_profile_that_leads_to_no_keys_is_named() {
    let (fake, _) = start().await;
    let variables = Variables::of(&fake);
    variables.set("AWS_EC2_METADATA_DISABLED", "true");
    variables.set("AWS_PROFILE", "kse");
    let told = text(variables.connect(&fake).await.get("a").await);
    assert!(
        told.contains("the shared credentials file, where AWS_PROFILE=kse leads to no keys, the container"),
        "{told}"
    );
    variables.set("AWS_SHARED_CREDENTIALS_FILE", "/no/such/file");
    let told = text(variables.connect(&fake).await.get("a").await);
    assert!(told.contains("AWS_PROFILE=kse AWS_SHARED_CREDENTIALS_FILE=/no/such/file leads to no keys"), "{told}");
}

#[tokio::test]
async fn a_source_that_is_configured_and_does_not_answer_may_do_so_later() {
    let (fake, service) = start().await;
    service.put("a", &[("SecretString", "v")]);
    let variables = Variables::of(&fake);
    variables.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/container");
    let told = away(variables.connect(&fake).await.get("a").await);
    assert!(told.starts_with("AWS credentials: container: "), "{told}");
    variables.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/container", fake.url()));
    fake.fail("/container", 1, Fault::Answer(Reply::status(500)));
    away(variables.connect(&fake).await.get("a").await);
    fake.fail("/container", 1, Fault::Answer(Reply::status(403)));
    text(variables.connect(&fake).await.get("a").await);
}

#[tokio::test]
async fn no_secret_is_in_the_error_of_a_damaged_source() {
    let (fake, _) = start().await;
    let damaged = r#"{"Code":"Success","AccessKeyId":"AKIA","SecretAccessKey":"very secret","Token":["very secret"]}"#;
    fake.fail("/the-role", 9, Fault::Answer(Reply { body: damaged.into(), ..Reply::status(200) }));
    let text = text(Variables::of(&fake).connect(&fake).await.get("a").await);
    assert_eq!(text, "AWS credentials: instance metadata: failed to parse IMDS credentials response");
}
