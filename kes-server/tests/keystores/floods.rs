//! Answers without end: bounded for each call, and for all pages of a listing together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kes_server::keystore::{Backend, KeyStore as _};
use serde_json::{Value, json};

use super::everyone;
use super::fake::{self, Fake, Fault, Reply, Request, Service};
use super::{aws, azure, entrust, fortanix, gcp, keysecure, vault};

/// Names of a page, 1 MiB in all.
const PAGE: usize = 128;

/// A keystore whose listings have no end; all else is as always.
struct Endless<S> {
    inner: S,
    page: fn(&Request, usize) -> Option<Value>,
    pages: Arc<AtomicUsize>,
}

impl<S: Service> Service for Endless<S> {
    fn answer(&self, request: &Request) -> Reply {
        match (self.page)(request, self.pages.load(Ordering::Relaxed)) {
            Some(page) => {
                self.pages.fetch_add(1, Ordering::Relaxed);
                Reply::json(200, &page)
            }
            None => self.inner.answer(request),
        }
    }
}

async fn endless<S: Service + Default>(page: fn(&Request, usize) -> Option<Value>) -> (Fake, Arc<AtomicUsize>) {
    let pages = Arc::<AtomicUsize>::default();
    (Fake::start(Endless { inner: S::default(), page, pages: pages.clone() }).await, pages)
}

/// The names of a page as `show` shows each.
fn names(page: usize, show: impl Fn(String) -> Value) -> Vec<Value> {
    (0..PAGE).map(|number| show(format!("{page:06}-{number:03}-{}", "x".repeat(8 << 10)))).collect()
}

async fn is_bounded(name: &str, store: Backend, pages: &AtomicUsize) {
    let text = store.list("").await.unwrap_err().to_string();
    assert!(text.contains("the listing is larger than 16 MiB"), "{name}: {text}");
    let pages = pages.load(Ordering::Relaxed);
    assert!(pages <= 17, "{name}: {pages} pages");
}

#[tokio::test]
async fn a_listing_of_aws_ends() {
    let (fake, pages) = endless::<fake::aws::Aws>(|request, page| {
        let names = || names(page, |name| json!({ "Name": name }));
        (request.header("x-amz-target") == "secretsmanager.ListSecrets")
            .then(|| json!({ "SecretList": names(), "NextToken": format!("{page}") }))
    })
    .await;
    is_bounded("AWS", aws::store(&fake).await, &pages).await;
}

#[tokio::test]
async fn a_listing_of_azure_ends() {
    let (fake, pages) = endless::<fake::azure::Azure>(|request, page| {
        let origin = &request.origin;
        let names = || names(page, |name| json!({ "id": format!("{origin}/secrets/{name}") }));
        let next = format!("{origin}/secrets?api-version=7.5&$skiptoken={page}");
        (request.path == "/secrets" && !request.header("authorization").is_empty())
            .then(|| json!({ "value": names(), "nextLink": next }))
    })
    .await;
    is_bounded("Azure", azure::store(&fake).await, &pages).await;
}

#[tokio::test]
async fn a_listing_of_entrust_ends() {
    let (fake, pages) = endless::<fake::entrust::Entrust>(|request, page| {
        let names = || names(page, |name| json!({ "name": name }));
        let next = BASE64.encode(json!({ "box_id": "box", "next_ctx": format!("{page}") }).to_string());
        request.path.contains("/ListSecretIds/").then(|| json!({ "secrets": names(), "next_token": next }))
    })
    .await;
    is_bounded("Entrust", entrust::connect(&fake, "box", "password").await.unwrap(), &pages).await;
}

#[tokio::test]
async fn a_listing_of_fortanix_ends() {
    let (fake, pages) = endless::<fake::fortanix::Fortanix>(|request, page| {
        let names = || names(page, |name| json!({ "kid": "kid", "name": name }));
        (request.method == "GET" && request.path == "/crypto/v1/keys").then(|| names().into())
    })
    .await;
    is_bounded("Fortanix", fortanix::connect(&fake, "", "YXBwOmtleQ==").await.unwrap(), &pages).await;
}

#[tokio::test]
async fn a_listing_of_gcp_ends() {
    let (fake, pages) = endless::<fake::gcp::Gcp>(|request, page| {
        let names = || names(page, |name| json!({ "name": format!("projects/1/secrets/{name}") }));
        (request.method == "GET" && request.path.ends_with("/secrets"))
            .then(|| json!({ "secrets": names(), "nextPageToken": format!("{page}") }))
    })
    .await;
    is_bounded("GCP", gcp::store(&fake).await, &pages).await;
}

#[tokio::test]
async fn a_listing_of_thales_ends() {
    let (fake, pages) = endless::<fake::keysecure::KeySecure>(|request, page| {
        let names = || names(page, |name| json!({ "name": name }));
        let skip = request.query("skip").parse::<usize>();
        (request.method == "GET" && request.path.ends_with("/secrets"))
            .then(|| json!({ "skip": skip.unwrap(), "total": 1_000_000_000, "resources": names() }))
    })
    .await;
    is_bounded("Thales", keysecure::connect(&fake, "refresh").await.unwrap(), &pages).await;
}

/// One page is all that it has.
#[tokio::test]
async fn a_listing_of_vault_ends() {
    let (fake, pages) = endless::<fake::vault::Vault>(|request, page| {
        let names = || (0..17).flat_map(|more| names(page + more, Value::from)).collect::<Vec<_>>();
        (request.query("list") == "true").then(|| json!({ "data": { "keys": names() } }))
    })
    .await;
    is_bounded("Vault", vault::connect(vault::v1(&fake)).await.unwrap(), &pages).await;
}

#[tokio::test]
async fn a_listing_may_be_larger_than_any_other_answer() {
    let (fake, service) = vault::start().await;
    let name = |number: usize| format!("{number:05}-{}", "k".repeat(74));
    for number in 0..15_000 {
        service.put("kv", &name(number), json!({ "v": "v" }));
    }
    let listed = vault::connect(vault::v1(&fake)).await.unwrap().list("").await.unwrap();
    assert_eq!((listed.len(), listed.last().unwrap()), (15_000, &name(14_999)));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_answer_is_larger_than_a_mebibyte() {
    let large = Reply { body: vec![b' '; (1 << 20) + 1], ..Reply::json(200, &json!({})) };
    for everyone::Subject { name, fake, store } in everyone::all().await {
        fake.fail("", usize::MAX, Fault::Answer(large.clone()));
        for text in [
            store.get("there").await.unwrap_err().to_string(),
            store.create("new", b"v").await.unwrap_err().to_string(),
            store.delete("there").await.unwrap_err().to_string(),
        ] {
            assert!(text.contains("the answer is larger than 1 MiB"), "{name}: {text}");
        }
        // any answer, however large, is one
        let is_any_answer = !name.starts_with("Vault") && name != "Entrust";
        assert_eq!(store.status().await.is_ok(), is_any_answer, "{name}");
        fake.heal();
        assert!(store.get("there").await.is_ok(), "{name}");
    }
}
