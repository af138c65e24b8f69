//! Hashicorp Vault and OpenBao.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kes_server::config::{
    AppRole, EngineVersion, Jwt, KeyStoreConfig, Kubernetes, Secret, Transit, VaultAuth, VaultConfig, VaultTls,
};
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};

use super::conformance::{self, Missing, VALUE};
use super::fake::vault::{JWT, Policy, ROLE_ID, Role, SECRET_ID, Vault};
use super::fake::{Fake, Fault, Reply};

mod entries;
mod judge;
mod outage;
mod redirects;
mod requests;
mod tls;
mod tokens;

pub async fn start() -> (Fake, Arc<Vault>) {
    let service = Arc::<Vault>::default();
    (Fake::start(service.clone()).await, service)
}

fn approle() -> VaultAuth {
    VaultAuth::AppRole(AppRole {
        engine: "approle".into(),
        namespace: String::new(),
        id: ROLE_ID.into(),
        secret: Secret::new(SECRET_ID),
    })
}

fn kubernetes(jwt: Jwt) -> VaultAuth {
    let (engine, role) = ("kubernetes".into(), "kes".into());
    VaultAuth::Kubernetes(Kubernetes { engine, namespace: String::new(), role, jwt })
}

/// The configuration for K/V v1 with the defaults of the file.
pub fn v1(fake: &Fake) -> VaultConfig {
    VaultConfig {
        endpoint: fake.url(),
        nodes: Vec::new(),
        engine: "kv".into(),
        version: EngineVersion::V1,
        namespace: String::new(),
        prefix: String::new(),
        transit: None,
        auth: approle(),
        tls: VaultTls::default(),
        ping: Duration::from_secs(15),
    }
}

pub fn v2(fake: &Fake) -> VaultConfig {
    VaultConfig { engine: "kv2".into(), version: EngineVersion::V2, ..v1(fake) }
}

fn transit() -> Transit {
    Transit { engine: "transit".into(), key: "kes".into() }
}

pub async fn connect(config: VaultConfig) -> Result<Backend, KeyStoreError> {
    Backend::connect(&KeyStoreConfig::Vault(Box::new(config)), &Environment::empty()).await
}

pub async fn connect_with(fake: &Fake, ca: Option<PathBuf>) -> Result<Backend, KeyStoreError> {
    connect(VaultConfig { tls: VaultTls { client: None, ca }, ..v1(fake) }).await
}

/// The requests without the polls of the health, which come when they come.
fn trace(fake: &Fake) -> Vec<String> {
    fake.trace().into_iter().filter(|line| !line.contains("/v1/sys/health")).collect()
}

async fn refusal<T: std::fmt::Debug>(call: impl Future<Output = Result<T, KeyStoreError>>) -> String {
    call.await.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn v1_conforms() {
    let (fake, _) = start().await;
    conformance::all(&connect(v1(&fake)).await.unwrap(), Missing::IsSuccess).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v2_conforms() {
    let (fake, _) = start().await;
    conformance::all(&connect(v2(&fake)).await.unwrap(), Missing::IsSuccess).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v2_with_transit_prefix_and_namespace_conforms() {
    let (fake, _) = start().await;
    let (prefix, namespace) = ("/of/minio//".into(), "team-a".into());
    let config = VaultConfig { transit: Some(transit()), prefix, namespace, ..v2(&fake) };
    conformance::all(&connect(config).await.unwrap(), Missing::IsSuccess).await;
}

/// Several kes, and a policy without `update`: the engine decides, and the losers get the reason.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_servers_one_creates() {
    let (fake, service) = start().await;
    for config in [v1(&fake), v2(&fake)] {
        let mount = config.engine.clone();
        let stores: Vec<_> =
            futures_util::future::join_all((0..9).map(|_| connect(config.clone()))).await.into_iter().collect();
        let stores: Vec<_> = stores.into_iter().map(Result::unwrap).collect();
        fake.fail("GET /v1/kv", 9, Fault::Slow(Duration::from_millis(300)));
        let values: Vec<_> = (0..9).map(|number| format!("value {number}")).collect();
        let creations = stores.iter().zip(&values).map(|(store, value)| store.create("race", value.as_bytes()));
        let results = futures_util::future::join_all(creations).await;
        fake.heal();
        let winner = results.iter().position(Result::is_ok).unwrap();
        assert_eq!(results.iter().filter(|result| **result == Err(KeyStoreError::Exists)).count(), 8, "{results:?}");
        assert_eq!(service.stored(&mount, "race").unwrap()["race"], values[winner]);
    }
}

/// K/V v1 with `update` has no guard of its own: one kes must not overwrite what it has just written.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_with_update_loses_no_key_of_one_server() {
    let (fake, service) = start().await;
    let policy = Policy::of(&[("kv/*", "create read update delete list")]);
    service.role(Role { policy, ..Role::default() });
    let store = connect(v1(&fake)).await.unwrap();
    let results = futures_util::future::join_all((0..9).map(|_| store.create("race", VALUE))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|result| **result == Err(KeyStoreError::Exists)).count(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_names_are_one_page() {
    let (fake, service) = start().await;
    let store = connect(v1(&fake)).await.unwrap();
    for number in 0..10_000 {
        service.put("kv", &format!("key-{number:05}"), serde_json::json!({ "v": "v" }));
    }
    assert_eq!(store.list("").await.unwrap().len(), 10_000);
    assert_eq!(fake.count("list=true"), 1);
}
