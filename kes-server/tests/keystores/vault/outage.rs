//! Retries, lost answers, seal (docs/keystores-protocol.md §4.1, §4.4, §4.5, §14: 19).

use serde_json::json;

use super::*;

#[tokio::test]
async fn the_status_decides_about_another_attempt() {
    let (fake, _) = start().await;
    let store = connect(v1(&fake)).await.unwrap();
    let rules = [(400, 1), (403, 1), (405, 1), (501, 1), (429, 3), (412, 3), (500, 3), (503, 3)];
    let calls = rules.map(|(status, attempts)| {
        let path = format!("/v1/kv/after-{status}");
        fake.fail(&path, 3, Fault::Answer(Reply::status(status)));
        let (fake, store) = (&fake, &store);
        async move {
            let text = refusal(store.delete(&format!("after-{status}"))).await;
            assert!(text.contains(&format!("{path} answered {status}")), "{text}");
            assert_eq!(fake.count(&path), attempts, "after {status}");
        }
    });
    futures_util::future::join_all(calls).await;
    fake.fail("DELETE /v1/kv/a", 2, Fault::Answer(Reply::status(503)));
    store.delete("a").await.unwrap();
    fake.fail("GET /v1/kv/a", 3, Fault::Drop);
    assert!(matches!(store.get("a").await, Err(KeyStoreError::Unreachable(_))));
    assert_eq!(store.get("a").await, Err(KeyStoreError::NotFound));
}

#[tokio::test]
async fn a_creation_that_hangs_holds_up_no_other_name() {
    let (fake, service) = start().await;
    let store = connect(v1(&fake)).await.unwrap();
    fake.fail("PUT /v1/kv/slow", usize::MAX, Fault::Hang);
    let others = async {
        super::super::remote::eventually(|| fake.count("PUT /v1/kv/slow") == 1).await;
        let names: Vec<_> = (0..32).map(|number| format!("other-{number}")).collect();
        futures_util::future::join_all(names.iter().map(|name| store.create(name, VALUE))).await
    };
    tokio::select! {
        _ = store.create("slow", VALUE) => panic!("it hangs"),
        results = tokio::time::timeout(Duration::from_secs(10), others) => {
            assert!(results.unwrap().iter().all(Result::is_ok));
        }
    }
    assert!(service.stored("kv", "other-31").is_some());
}

/// The first write succeeded, its answer got lost, and the second is refused because of the first.
#[tokio::test]
async fn a_key_whose_creation_was_not_answered_is_created() {
    let (fake, service) = start().await;
    for config in [v1(&fake), v2(&fake), VaultConfig { transit: Some(transit()), prefix: "p".into(), ..v2(&fake) }] {
        let store = connect(config).await.unwrap();
        fake.fail("PUT /v1/kv", 1, Fault::DropAnswer);
        store.create("key", b"value").await.unwrap();
        assert_eq!(store.get("key").await.unwrap().as_slice(), b"value");
        assert_eq!(store.create("key", b"value").await, Err(KeyStoreError::Exists));
    }
    let store = connect(v2(&fake)).await.unwrap();
    fake.fail("PUT /v1/kv2", 3, Fault::DropAnswer);
    store.create("lost", b"value").await.unwrap();
    fake.fail("PUT /v1/kv2", 3, Fault::Drop);
    assert!(matches!(store.create("never", b"value").await, Err(KeyStoreError::Unreachable(_))));
    assert_eq!(service.stored("kv2", "never"), None);
}

#[tokio::test]
async fn a_key_that_someone_else_created_meanwhile_exists() {
    let (fake, service) = start().await;
    for (config, status) in [(v1(&fake), 403), (v2(&fake), 400)] {
        let mount = config.engine.clone();
        let store = connect(config).await.unwrap();
        service.put(&mount, "key", json!({ "key": "theirs" }));
        fake.fail(&format!("GET /v1/{mount}/"), 1, Fault::Answer(Reply::json(404, &json!({ "errors": [] }))));
        fake.fail(&format!("PUT /v1/{mount}/"), 1, Fault::Answer(Reply::status(status)));
        assert_eq!(store.create("key", VALUE).await, Err(KeyStoreError::Exists));
        assert_eq!(store.get("key").await.unwrap().as_slice(), b"theirs");
    }
}

#[tokio::test]
async fn a_vault_that_hangs_is_given_up() {
    let (fake, _) = start().await;
    let store = connect(v1(&fake)).await.unwrap();
    fake.fail("GET /v1/kv/key", 9, Fault::Hang);
    fake.fail("GET /v1/sys/health", 9, Fault::Hang);
    let (get, status) = (async { store.get("key").await }, async { store.status().await });
    let pause = async {
        while fake.count("GET /v1/kv/key") == 0 || fake.count("/sys/health") < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::pause();
        tokio::time::Instant::now()
    };
    let (get, status, begin) = tokio::join!(get, status, pause);
    assert!(matches!(get, Err(KeyStoreError::Unreachable(_))), "{get:?}");
    assert!(matches!(status, Err(KeyStoreError::Unreachable(_))), "{status:?}");
    assert!(begin.elapsed() <= Duration::from_secs(31));
}

#[tokio::test]
async fn answers_that_are_not_of_a_vault_are_told_without_their_content() {
    let (fake, _) = start().await;
    let store = connect(v1(&fake)).await.unwrap();
    let page = || Reply { status: 200, headers: Vec::new(), body: b"<html>hunter2</html>".to_vec() };
    fake.fail("GET /v1/kv", 2, Fault::Answer(page()));
    for text in [refusal(store.get("key")).await, refusal(store.list("")).await] {
        assert!(text.contains("this is not how the keystore answers") && !text.contains("hunter2"), "{text}");
    }
    fake.fail("GET /v1/kv", 2, Fault::Answer(Reply { status: 404, ..page() }));
    for text in [refusal(store.get("key")).await, refusal(store.list("")).await] {
        assert!(text.contains("/v1/kv") && !text.contains("does not exist"), "{text}");
    }
}

#[tokio::test]
async fn a_sealed_vault_is_unreachable_and_back_when_it_is_unsealed() {
    let (fake, service) = start().await;
    let store = connect(v1(&fake)).await.unwrap();
    service.put("kv", "key", json!({ "key": "v" }));
    service.seal(true);
    let refused = KeyStoreError::Unreachable("vault: key store is sealed".into());
    assert_eq!(store.status().await, Err(refused.clone()));
    trace(&fake);
    assert_eq!(store.create("key", VALUE).await, Err(refused.clone()));
    assert_eq!(store.get("key").await, Err(refused.clone()));
    assert_eq!(store.delete("key").await, Err(refused.clone()));
    assert_eq!(store.list("").await, Err(refused));
    assert_eq!(trace(&fake), Vec::<String>::new(), "a sealed vault is not asked for keys");
    service.seal(false);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(store.get("key").await.unwrap().as_slice(), b"v", "long before the next poll");
    service.initialize(false);
    assert!(matches!(store.status().await, Err(KeyStoreError::Unreachable(_))));
}

#[tokio::test]
async fn the_poll_finds_out_about_the_seal() {
    let (fake, service) = start().await;
    let store = connect(VaultConfig { ping: Duration::from_millis(100), ..v1(&fake) }).await.unwrap();
    service.seal(true);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(fake.count("/sys/health") >= 3);
    assert!(refusal(store.get("key")).await.ends_with("vault: key store is sealed"));
    service.seal(false);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(store.get("key").await, Err(KeyStoreError::NotFound));
    service.seal(true);
    let error = connect(v1(&fake)).await.unwrap_err();
    assert!(matches!(error, KeyStoreError::Unreachable(_)), "the start waits until it is unsealed");
    let text = error.to_string();
    assert!(text.ends_with("answered 503: Vault is sealed; unseal it, or wait until one of its servers is active"));
}

/// As in MinIO KES, only a Vault that says so or does not answer in time is unreachable (docs/keystores-protocol.md
/// §1.5).
#[tokio::test]
async fn a_vault_that_is_gone_is_unavailable() {
    let (fake, _) = start().await;
    let store = connect(v1(&fake)).await.unwrap();
    let url = fake.url();
    drop(fake);
    tokio::task::yield_now().await;
    match store.status().await {
        Err(KeyStoreError::Other(text)) => assert!(text.contains(&format!("{url}/v1/sys/health")), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(store.get("key").await, Err(KeyStoreError::Unreachable(_))));
}
