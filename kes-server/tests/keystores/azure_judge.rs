//! Azure Key Vault judged by Azure's own Python clients, which log in and speak TLS.

use std::sync::Arc;

use kes_server::keystore::KeyStore as _;
use serde_json::json;

use super::azure::{client, connect, environment};
use super::conformance::VALUE;
use super::fake::Fake;
use super::fake::azure::{Azure, SECRET};
use super::judge::Judge;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the vendors' clients of KESTACK_PYTHON"]
async fn azures_client_and_kes_read_each_other() {
    let judge = Judge::find("key_vault");
    // one vault with two doors: Azure's client takes TLS alone
    let service = Arc::<Azure>::default();
    let (ours, theirs) = (Fake::start(service.clone()).await, Fake::start_tls(service.clone()).await);
    let (url, ca) = (theirs.url(), theirs.ca().unwrap());
    let ask = async |arguments: &[&str]| {
        let arguments = [&[arguments[0], &url, ca.to_str().unwrap(), SECRET], &arguments[1..]].concat();
        judge.ask(&arguments).await
    };
    let store = connect(&ours, client(SECRET), &environment(&ours, &[])).await.unwrap();
    let value = std::str::from_utf8(VALUE).unwrap();
    store.create("ours", VALUE).await.unwrap();
    assert_eq!(ask(&["read", "ours"]).await, json!(value));
    ask(&["write", "theirs", value]).await;
    assert_eq!(store.get("theirs").await.unwrap().as_slice(), VALUE);
    for number in 0..30 {
        service.put(&format!("more-{number}"), "v");
    }
    let names = store.list("").await.unwrap();
    assert_eq!(names.len(), 32);
    assert_eq!(ask(&["names"]).await, json!(names));
    ask(&["delete", "ours"]).await;
    store.create("ours", b"again").await.unwrap();
    assert_eq!(ask(&["read", "ours"]).await, json!("again"));
}
