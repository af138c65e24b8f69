//! Logins and tokens (docs/keystores-protocol.md §4.2, §4.3, §14: 11, 12, 14).

use super::*;

#[tokio::test]
async fn a_service_account_logs_in_with_the_file_as_it_is_now() {
    let (fake, service) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{JWT}\n")).unwrap();
    let config = VaultConfig { auth: kubernetes(Jwt::File(file.clone())), ..v1(&fake) };
    let store = connect(config.clone()).await.unwrap();
    let login = format!(r#"PUT /v1/auth/kubernetes/login {{"jwt":"{JWT}","role":"kes"}}"#);
    assert_eq!(trace(&fake), [login]);

    service.credential("another.token");
    std::fs::write(&file, "another.token").unwrap();
    service.forget_tokens();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    store.create("key", VALUE).await.unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(refusal(connect(config)).await.contains("failed to read vault kubernetes JWT"));
    let config = VaultConfig { auth: kubernetes(Jwt::Token(Secret::new("another.token"))), ..v1(&fake) };
    connect(config).await.unwrap();
}

#[tokio::test]
async fn a_refused_login_says_why_and_what_to_check() {
    let (fake, service) = start().await;
    service.credential("rotated");
    let text = refusal(connect(v1(&fake))).await;
    let expected =
        r#"/v1/auth/approle/login answered 400: {"errors":["invalid role or secret ID"]}; check id and secret"#;
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains(SECRET_ID), "{text}");
    service.credential(SECRET_ID);
    let shown = format!("{:?}", connect(v1(&fake)).await.unwrap());
    assert!(!shown.contains(SECRET_ID) && !shown.contains("hvs."), "{shown}");
    let text = refusal(connect(VaultConfig { auth: kubernetes(Jwt::Token(Secret::new(JWT))), ..v1(&fake) })).await;
    assert!(text.ends_with("check role and jwt of keystore.vault.kubernetes"), "{text}");
}

#[tokio::test]
async fn a_lost_token_is_replaced_once_and_a_denied_one_is_not() {
    let (fake, service) = start().await;
    let store = connect(v1(&fake)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    trace(&fake);
    service.forget_tokens();
    store.create("key", VALUE).await.unwrap();
    let all: Vec<_> = trace(&fake).iter().map(|line| line.split(" {").next().unwrap().to_owned()).collect();
    let expected = [
        "GET /v1/kv/key",
        "GET /v1/auth/token/lookup-self",
        "PUT /v1/auth/approle/login",
        "GET /v1/kv/key",
        "PUT /v1/kv/key",
    ];
    assert_eq!(all, expected);

    tokio::time::sleep(Duration::from_millis(1100)).await;
    fake.fail("/v1/kv/key", 1, Fault::Answer(Reply::status(403)));
    assert!(refusal(store.get("key")).await.contains("answered 403"));
    assert_eq!(trace(&fake), ["GET /v1/kv/key", "GET /v1/auth/token/lookup-self"]);
}

#[tokio::test]
async fn many_requests_with_a_lost_token_log_in_once() {
    let (fake, service) = start().await;
    let store = connect(v1(&fake)).await.unwrap();
    service.put("kv", "key", serde_json::json!({ "key": "v" }));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    service.forget_tokens();
    let reads = futures_util::future::join_all((0..20).map(|_| store.get("key"))).await;
    assert!(reads.iter().all(Result::is_ok), "{reads:?}");
    assert_eq!(fake.count("/login"), 2);
}

#[tokio::test]
async fn short_tokens_are_renewed_in_time() {
    let (fake, service) = start().await;
    for (renewable, renewal) in [(true, "/renew-self {\"increment\":0}"), (false, "/login")] {
        service.role(Role { life: 2, renewable, ..Role::default() });
        let store = connect(v1(&fake)).await.unwrap();
        service.put("kv", "key", serde_json::json!({ "key": "v" }));
        trace(&fake);
        for _ in 0..22 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            store.get("key").await.unwrap();
        }
        let (renewals, asked) = (fake.count(renewal), fake.count("lookup-self"));
        assert!((2..=4).contains(&renewals) && asked == 0, "{renewals} renewals, {asked} questions");
    }
}

#[tokio::test]
async fn the_end_of_all_renewals_is_a_login() {
    let (fake, service) = start().await;
    service.role(Role { life: 2, max: 3, ..Role::default() });
    let store = connect(v1(&fake)).await.unwrap();
    service.put("kv", "key", serde_json::json!({ "key": "v" }));
    for _ in 0..22 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        store.get("key").await.unwrap();
    }
    assert!(fake.count("/login") >= 2);
    assert!(fake.count("/renew-self") + fake.count("/login") <= 8);
}
