//! The requests are those of MinIO KES (docs/keystores-protocol.md §4.1, §4.2, §4.4).

use super::super::fake::vault::Seen;
use super::*;

fn value() -> String {
    String::from_utf8_lossy(VALUE).into_owned()
}

const LOGIN: &str = r#"PUT /v1/auth/approle/login {"role_id":"kes-role","secret_id":"kes-secret"}"#;

#[tokio::test]
async fn of_v1() {
    let (fake, service) = start().await;
    let store = connect(v1(&fake)).await.unwrap();
    assert_eq!(store.to_string(), format!("Hashicorp Vault: {}", fake.url()));
    store.create("my-key", VALUE).await.unwrap();
    assert_eq!(service.stored("kv", "my-key").unwrap(), serde_json::json!({ "my-key": value() }));
    assert_eq!(store.create("my-key", VALUE).await, Err(KeyStoreError::Exists));
    assert_eq!(store.get("my-key").await.unwrap().as_slice(), VALUE);
    assert_eq!(store.list("my").await.unwrap(), ["my-key"]);
    store.delete("my-key").await.unwrap();
    let expected = [
        LOGIN,
        "GET /v1/kv/my-key",
        &format!(r#"PUT /v1/kv/my-key {{"my-key":"{}"}}"#, value()),
        "GET /v1/kv/my-key",
        "GET /v1/kv/my-key",
        "GET /v1/kv?list=true",
        "DELETE /v1/kv/my-key",
    ];
    assert_eq!(trace(&fake), expected);
}

#[tokio::test]
async fn of_v2_with_transit_and_prefix() {
    let (fake, service) = start().await;
    let config = VaultConfig { transit: Some(transit()), prefix: "/a//b/".into(), ..v2(&fake) };
    let store = connect(config).await.unwrap();
    store.create("my-key", VALUE).await.unwrap();
    let stored = service.stored("kv2", "a/b/my-key").unwrap()["my-key"].as_str().unwrap().to_owned();
    assert!(stored.starts_with("vault:v1:"), "{stored}");
    assert_eq!(store.get("my-key").await.unwrap().as_slice(), VALUE);
    assert_eq!(store.list("").await.unwrap(), ["my-key"]);
    store.delete("my-key").await.unwrap();
    let plaintext = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, VALUE);
    let expected = [
        LOGIN,
        "GET /v1/kv2/data/a/b/my-key",
        &format!(r#"POST /v1/transit/encrypt/kes {{"plaintext":"{plaintext}"}}"#),
        &format!(r#"PUT /v1/kv2/data/a/b/my-key {{"data":{{"my-key":"{stored}"}},"options":{{"cas":0}}}}"#),
        "GET /v1/kv2/data/a/b/my-key?version=1",
        &format!(r#"POST /v1/transit/decrypt/kes {{"ciphertext":"{stored}"}}"#),
        "GET /v1/kv2/metadata/a/b?list=true",
        "DELETE /v1/kv2/metadata/a/b/my-key",
    ];
    assert_eq!(trace(&fake), expected);
}

#[tokio::test]
async fn of_the_health() {
    let (fake, _) = start().await;
    let store = connect(v1(&fake)).await.unwrap();
    store.status().await.unwrap();
    let health = "GET /v1/sys/health?drsecondarycode=299&performancestandbycode=299&sealedcode=299&standbycode=299&\
                  uninitcode=299";
    assert!(fake.trace().iter().any(|line| line == health));
}

fn seen(service: &Vault) -> Vec<Seen> {
    service.seen()
}

#[tokio::test]
async fn headers_say_token_and_namespace_where_they_belong() {
    let (fake, service) = start().await;
    for (of_login, sent_at_login) in [("", "team-a"), ("/", ""), ("team-a", "team-a")] {
        let mut config = VaultConfig { namespace: "team-a".into(), ..v1(&fake) };
        if let VaultAuth::AppRole(role) = &mut config.auth {
            role.namespace = of_login.into();
        }
        let store = connect(config).await.unwrap();
        store.create("key", VALUE).await.unwrap();
        store.delete("key").await.unwrap();
        store.status().await.unwrap();
        for seen in seen(&service) {
            let (login, health) = (seen.path.ends_with("/login"), seen.path == "sys/health");
            assert!(seen.marked && seen.content_type.is_empty(), "{seen:?}");
            assert_eq!(seen.token, !login, "{seen:?}");
            let namespace = if login { sent_at_login } else { "team-a" };
            assert_eq!(seen.namespace, if health { "" } else { namespace }, "{seen:?}");
        }
    }
}

#[tokio::test]
async fn an_engine_may_be_mounted_deeper() {
    let (fake, service) = start().await;
    let store = connect(VaultConfig { engine: "deep/er".into(), ..v1(&fake) }).await.unwrap();
    store.create("key", VALUE).await.unwrap();
    assert!(service.stored("deep/er", "key").is_some());
    assert_eq!(store.list("").await.unwrap(), ["key"]);
}

/// As an agent of Vault on the same machine listens.
#[tokio::test]
async fn an_endpoint_may_be_a_socket() {
    let (fake, _) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let (listener, address) = (tokio::net::UnixListener::bind(&socket).unwrap(), fake.address);
    let agent = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = tokio::net::TcpStream::connect(address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    let endpoint = format!("unix://{}", socket.display());
    let store = connect(VaultConfig { endpoint: endpoint.clone(), ..v1(&fake) }).await.unwrap();
    assert_eq!(store.to_string(), format!("Hashicorp Vault: {endpoint}"));
    store.create("key", VALUE).await.unwrap();
    assert_eq!(store.get("key").await.unwrap().as_slice(), VALUE);
    agent.abort();
}

/// Of a proxy in front of it, which asks for a name and a password.
#[tokio::test]
async fn a_password_in_the_endpoint_is_sent_and_not_shown() {
    let (fake, _) = start().await;
    let endpoint = fake.url().replace("://", "://user:secret@");
    let store = connect(VaultConfig { endpoint, ..v1(&fake) }).await.unwrap();
    assert!(fake.authorizations().iter().all(|header| header.starts_with("Basic ")));
    let name = format!("Hashicorp Vault: {}", fake.url());
    assert_eq!(store.to_string(), name);
    let endpoint = "http://user:secret@127.0.0.1:1".into();
    let config = KeyStoreConfig::Vault(Box::new(VaultConfig { endpoint, ..v1(&fake) }));
    assert_eq!(config.display(), "Hashicorp Vault: http://127.0.0.1:1");
    let error = Backend::connect(&config, &Environment::empty()).await.unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_name_is_never_a_path() {
    let (fake, _) = start().await;
    let store = connect(VaultConfig { prefix: "folder".into(), ..v2(&fake) }).await.unwrap();
    trace(&fake);
    for name in ["", ".", "..", "a/b", "../a", "dir/"] {
        for text in [
            refusal(store.get(name)).await,
            refusal(store.create(name, VALUE)).await,
            refusal(store.delete(name)).await,
        ] {
            assert_eq!(text, format!("vault: '{name}' is not the name of a key"));
        }
    }
    assert_eq!(trace(&fake), Vec::<String>::new());
}
