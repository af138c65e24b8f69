//! AWS Secrets Manager judged by others: moto checks our signatures and the policy, boto3 reads and writes.

use kes_server::config::KeyStoreConfig;
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};
use serde_json::json;
use tokio::process::Child;

use super::aws::{config, connect, start, text};
use super::conformance::{self, Missing, VALUE};
use super::judge::Judge;

/// What kes needs with the account's own KMS key (docs/keystores-protocol.md §13.1).
const MINIMUM: [&str; 4] = [
    "secretsmanager:CreateSecret",
    "secretsmanager:DeleteSecret",
    "secretsmanager:GetSecretValue",
    "secretsmanager:ListSecrets",
];

/// moto, with signatures and policies checked.
struct Moto {
    judge: Judge,
    url: String,
    _server: Child,
}

impl Moto {
    async fn start() -> Self {
        let judge = Judge::find("aws");
        // no call of ours before the first user is there: moto would count one that comes late as one of the free calls
        let variables = [("INITIAL_NO_AUTH_ACTION_COUNT", "0"), ("MOTO_IAM_LOAD_MANAGED_POLICIES", "false")];
        let (server, port) = judge.serve(&variables).await;
        Self { judge, url: format!("http://127.0.0.1:{port}"), _server: server }
    }

    /// Access key and secret key of a new user with a policy that allows these actions.
    async fn user(&self, name: &str, actions: &[&str]) -> (String, String) {
        let answer = self.judge.ask(&["user", &self.url, name, &json!(actions).to_string()]).await;
        (answer[0].as_str().unwrap().into(), answer[1].as_str().unwrap().into())
    }

    async fn connect(&self, (access_key, secret_key): &(String, String)) -> Backend {
        connect(config(&self.url, Some((access_key, secret_key, "")))).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn the_minimal_policy_is_enough_for_all_that_kes_does() {
    let moto = Moto::start().await;
    let user = moto.user("kes", &MINIMUM).await;
    conformance::all(&moto.connect(&user).await, Missing::IsSuccess).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn each_permission_is_needed_and_told_by_name() {
    let moto = Moto::start().await;
    let store = moto.connect(&moto.user("owner", &MINIMUM).await).await;
    store.create("there", VALUE).await.unwrap();
    for missing in MINIMUM {
        let name = missing.trim_start_matches("secretsmanager:");
        let others: Vec<_> = MINIMUM.into_iter().filter(|action| *action != missing).collect();
        let store = moto.connect(&moto.user(name, &others).await).await;
        let new = format!("new-{name}");
        let results = [
            store.create(&new, VALUE).await,
            store.delete(&new).await,
            store.get("there").await.map(drop),
            store.list("").await.map(drop),
        ];
        for (action, result) in MINIMUM.iter().zip(results) {
            if *action == missing {
                let text = text(result);
                assert!(text.starts_with(missing), "{text}");
                assert!(text.contains("AccessDenied") && text.contains("allow it in the policy"), "{text}");
            } else {
                assert_eq!(result, Ok(()), "{action} without {missing}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn wrong_keys_are_refused_and_told() {
    let moto = Moto::start().await;
    let (access_key, secret_key) = moto.user("kes", &MINIMUM).await;
    let wrong = text(moto.connect(&(access_key.clone(), "wrong".into())).await.get("a").await);
    assert!(wrong.contains("SignatureDoesNotMatch") && wrong.contains("check the secret key"), "{wrong}");
    let unknown = text(moto.connect(&("AKIAUNKNOWN".into(), secret_key.clone())).await.get("a").await);
    assert!(unknown.contains("InvalidClientTokenId") && unknown.contains("does not know this access key"), "{unknown}");
    for text in [wrong, unknown] {
        assert!(!text.contains(&secret_key) && !text.contains("Signature="), "{text}");
    }
    assert_eq!(moto.connect(&(access_key, secret_key)).await.get("a").await, Err(KeyStoreError::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn a_web_identity_assumes_its_role() {
    let moto = Moto::start().await;
    let folder = tempfile::tempdir().unwrap();
    let jwt = folder.path().join("jwt");
    std::fs::write(&jwt, "eyJhbGciOiJub25lIn0.e30.\n").unwrap();
    let variables = [
        ("AWS_ENDPOINT_URL_STS", moto.url.clone()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", jwt.to_str().unwrap().to_owned()),
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/kes".to_owned()),
    ];
    let variables = std::collections::HashMap::from(variables);
    let environment = Environment::new(move |name| variables.get(name).cloned());
    let store = Backend::connect(&KeyStoreConfig::Aws(config(&moto.url, None)), &environment).await.unwrap();
    moto.judge.ask(&["role", &moto.url, "kes", &json!(MINIMUM[..3]).to_string()]).await;
    store.create("a", VALUE).await.unwrap();
    assert_eq!(store.get("a").await.unwrap().as_slice(), VALUE);
    let text = text(store.list("").await);
    assert!(text.contains("assumed-role/kes/kes is not authorized"), "{text}");
}

/// On moto and on our own fake, which proves the fake.
async fn boto3_and_kes_read_each_other(judge: &Judge, url: &str, user: (&str, &str)) {
    let store = connect(config(url, Some((user.0, user.1, "")))).await.unwrap();
    let value = std::str::from_utf8(VALUE).unwrap();
    store.create("ours", VALUE).await.unwrap();
    assert_eq!(judge.ask(&["read", url, user.0, user.1, "ours"]).await, json!(value));
    for (name, form) in [("text", "SecretString"), ("binary", "SecretBinary")] {
        judge.ask(&["write", url, user.0, user.1, name, form, value]).await;
        assert_eq!(store.get(name).await.unwrap().as_slice(), VALUE);
        assert_eq!(store.create(name, VALUE).await, Err(KeyStoreError::Exists));
    }
    assert_eq!(judge.ask(&["names", url, user.0, user.1]).await, json!(store.list("").await.unwrap()));
    judge.ask(&["delete", url, user.0, user.1, "ours"]).await;
    assert_eq!(store.get("ours").await, Err(KeyStoreError::NotFound));
    assert_eq!(store.list("").await.unwrap(), ["binary", "text"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn boto3_and_kes_read_each_other_on_moto() {
    let moto = Moto::start().await;
    let user = moto.user("kes", &MINIMUM).await;
    boto3_and_kes_read_each_other(&moto.judge, &moto.url, (&user.0, &user.1)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn boto3_and_kes_read_each_other_on_the_fake() {
    let judge = Judge::find("aws");
    let (fake, _) = start().await;
    boto3_and_kes_read_each_other(&judge, &fake.url(), ("static", "secret")).await;
}
