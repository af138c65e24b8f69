//! What others left in the engine (docs/keystores-protocol.md §4.4, §14: 1, 2).

use serde_json::json;

use super::super::remote::{CHACHA, LEGACY};
use super::*;

#[tokio::test]
async fn keys_of_the_original_are_read_as_they_are() {
    let (fake, service) = start().await;
    for config in [v1(&fake), v2(&fake)] {
        let mount = config.engine.clone();
        let store = connect(config).await.unwrap();
        for (number, value) in [VALUE, CHACHA, LEGACY].into_iter().enumerate() {
            let name = format!("theirs-{number}");
            service.put(&mount, &name, json!({ &name: String::from_utf8_lossy(value) }));
            assert_eq!(store.get(&name).await.unwrap().as_slice(), value);
            assert_eq!(store.create(&name, VALUE).await, Err(KeyStoreError::Exists));
        }
    }
}

#[tokio::test]
async fn foreign_entries_are_not_keys_and_block_their_names() {
    let (fake, service) = start().await;
    for config in [v1(&fake), v2(&fake)] {
        let mount = config.engine.clone();
        let store = connect(config).await.unwrap();
        service.put(&mount, "foreign", json!({ "password": "hunter2", "number": 5, "list": [1, { "a": null }] }));
        service.put(&mount, "odd", json!({ "odd": 5 }));
        service.put(&mount, "dir/inside", json!({ "inside": "v" }));
        for name in ["foreign", "odd"] {
            for text in [refusal(store.get(name)).await, refusal(store.create(name, VALUE)).await] {
                assert!(text.ends_with("kes did not write it") && !text.contains("hunter2"), "{text}");
            }
        }
        assert_eq!(store.list("").await.unwrap(), ["dir/", "foreign", "odd"]);
        assert_eq!(store.get("dir").await, Err(KeyStoreError::NotFound));
    }
}

#[tokio::test]
async fn of_v2_the_first_version_is_the_key() {
    let (fake, service) = start().await;
    let store = connect(v2(&fake)).await.unwrap();
    store.create("key", b"first").await.unwrap();
    service.put("kv2", "key", json!({ "key": "second" }));
    assert_eq!(store.get("key").await.unwrap().as_slice(), b"first");
    service.delete_version("kv2", "key", 2);
    assert_eq!(store.get("key").await.unwrap().as_slice(), b"first");
    let text = refusal(store.create("key", VALUE)).await;
    assert!(text.contains("answered 404: the entry exists but no secret key is present"), "{text}");
    service.delete_version("kv2", "key", 1);
    assert!(refusal(store.get("key")).await.contains("no secret key is present"));
    store.delete("key").await.unwrap();
    store.create("key", b"again").await.unwrap();
    assert_eq!(store.get("key").await.unwrap().as_slice(), b"again");
}

#[tokio::test]
async fn a_rotated_transit_key_is_written_with_and_old_entries_are_read() {
    let (fake, service) = start().await;
    let store = connect(VaultConfig { transit: Some(transit()), ..v1(&fake) }).await.unwrap();
    store.create("old", b"1").await.unwrap();
    service.rotate("kes");
    store.create("new", b"2").await.unwrap();
    assert!(service.stored("kv", "new").unwrap()["new"].as_str().unwrap().starts_with("vault:v2:"));
    assert_eq!(store.get("old").await.unwrap().as_slice(), b"1");
    assert_eq!(store.get("new").await.unwrap().as_slice(), b"2");
    service.put("kv", "plain", json!({ "plain": "before transit" }));
    assert_eq!(store.get("plain").await.unwrap().as_slice(), b"before transit");

    let without = connect(v1(&fake)).await.unwrap();
    assert!(refusal(without.get("new")).await.ends_with("configure keystore.vault.transit"));
    let other = Some(Transit { engine: "transit".into(), key: "other".into() });
    let other = connect(VaultConfig { transit: other, ..v1(&fake) }).await.unwrap();
    assert!(refusal(other.get("new")).await.contains("answered 400: cipher: message authentication failed"));
    assert!(refusal(other.create("x", b"x")).await.contains("answered 400: encryption key not found"));
    fake.fail("/encrypt/", 1, Fault::Answer(Reply::json(200, &json!({ "data": { "ciphertext": "plain" } }))));
    assert!(refusal(store.create("x", b"x")).await.contains("does not start with 'vault:v'"));
    assert_eq!(service.stored("kv", "x"), None, "nothing is stored that is not encrypted");
}

#[tokio::test]
async fn an_empty_folder_is_not_a_missing_engine() {
    let (fake, _) = start().await;
    for config in [v1(&fake), v2(&fake), VaultConfig { prefix: "none".into(), ..v2(&fake) }] {
        assert_eq!(connect(config).await.unwrap().list("").await.unwrap(), Vec::<String>::new());
    }
    let text = r#"{"errors":["no handler for route \"no/key\". route entry not found."]}"#;
    let answer = Reply { status: 404, headers: Vec::new(), body: text.into() };
    let store = connect(VaultConfig { engine: "no".into(), ..v1(&fake) }).await.unwrap();
    fake.fail("/v1/no", 9, Fault::Answer(answer));
    for text in [
        refusal(store.get("key")).await,
        refusal(store.create("key", VALUE)).await,
        refusal(store.delete("key")).await,
        refusal(store.list("")).await,
    ] {
        assert!(text.contains("no handler for route") && text.contains("check engine"), "{text}");
    }
}

/// Version 1 paths on an engine of version 2 are answered like missing entries, but for a warning.
#[tokio::test]
async fn the_wrong_version_of_the_engine_is_told() {
    let (fake, service) = start().await;
    let policy = Policy::of(&[("kv2/*", "create read update delete list")]);
    service.role(Role { policy, ..Role::default() });
    let store = connect(VaultConfig { version: EngineVersion::V1, ..v2(&fake) }).await.unwrap();
    for text in [refusal(store.get("key")).await, refusal(store.create("key", VALUE)).await] {
        assert!(text.contains("Invalid path for a versioned K/V secrets engine"), "{text}");
    }
}

#[tokio::test]
async fn what_the_policy_lacks_is_named() {
    let (fake, service) = start().await;
    let denied = Policy::of(&[("kv2/data/key", "read")]);
    service.role(Role { policy: denied, ..Role::default() });
    let store = connect(v2(&fake)).await.unwrap();
    let needed = |what: &str| format!("the policy of the token must allow {what}");
    assert!(refusal(store.get("no")).await.ends_with(&needed("'read' on 'kv2/data/no'")));
    assert!(refusal(store.create("key", VALUE)).await.ends_with(&needed("'create' on 'kv2/data/key'")));
    assert!(refusal(store.delete("key")).await.ends_with(&needed("'delete' on 'kv2/metadata/key'")));
    assert!(refusal(store.list("")).await.ends_with(&needed("'list' on 'kv2/metadata/'")));
}
