//! GCP Secret Manager judged by Google's own clients, by REST against our fake.

use kes_server::keystore::{KeyStore as _, KeyStoreError};
use serde_json::json;

use super::conformance::VALUE;
use super::fake::gcp::{EMAIL, IMPERSONATION, public_key};
use super::gcp::{config, connect, start};
use super::gcp_login::{authorized_user, external_account, service_account};
use super::judge::Judge;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn google_and_kes_read_each_other() {
    let judge = Judge::find("gcp");
    let (fake, service) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("account.json");
    std::fs::write(&file, service_account().to_string()).unwrap();
    let token = judge.ask(&["token", file.to_str().unwrap()]).await;
    let (host, token) = (fake.address.to_string(), token.as_str().unwrap());

    let store = connect(config(&fake.url())).await.unwrap();
    let value = std::str::from_utf8(VALUE).unwrap();
    store.create("ours", VALUE).await.unwrap();
    assert_eq!(judge.ask(&["read", &host, token, "ours"]).await, json!(value));
    let version = judge.ask(&["write", &host, token, "theirs", value]).await;
    assert_eq!(version, "projects/123456/secrets/theirs/versions/1");
    assert_eq!(store.get("theirs").await.unwrap().as_slice(), VALUE);
    assert_eq!(store.create("theirs", VALUE).await, Err(KeyStoreError::Exists));
    service.set_page(1);
    assert_eq!(judge.ask(&["names", &host, token]).await, json!(store.list("").await.unwrap()));
    judge.ask(&["delete", &host, token, "ours"]).await;
    assert_eq!(store.list("").await.unwrap(), ["theirs"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn google_checks_our_tokens() {
    let judge = Judge::find("gcp");
    let (fake, _) = start().await;
    connect(config(&fake.url())).await.unwrap().list("").await.unwrap();
    let token = fake.authorizations().pop().unwrap();
    let claims = judge.ask(&["claims", token.trim_start_matches("Bearer "), &public_key()]).await;
    assert_eq!((&claims["iss"], &claims["sub"], &claims["aud"]), (&json!(EMAIL), &json!(EMAIL), &json!("")));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn google_gets_tokens_from_the_fake_as_we_do() {
    let judge = Judge::find("gcp");
    let (fake, _) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let (file, subject) = (folder.path().join("adc.json"), folder.path().join("subject"));
    std::fs::write(&subject, "the subject").unwrap();
    let mut impersonated = external_account(&fake, &subject);
    impersonated["service_account_impersonation_url"] = json!(format!("{}{IMPERSONATION}", fake.url()));
    let cases = [
        (authorized_user(&fake), "ya29.user-1"),
        (external_account(&fake, &subject), "ya29.federated-2"),
        (impersonated, "ya29.impersonated-by-federated-4"),
    ];
    for (content, token) in cases {
        std::fs::write(&file, content.to_string()).unwrap();
        assert_eq!(judge.ask(&["token", file.to_str().unwrap()]).await, token);
    }
}
