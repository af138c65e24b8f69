//! A standby names the active server. Whoever answers for the endpoint may name any server, and credentials go there.

use super::*;

/// `location` instead of what the server would say to the requests whose trace line contains `matching`.
fn redirect(fake: &Fake, matching: &str, status: u16, location: &str) {
    fake.fail(matching, 1, Fault::Answer(Reply::status(status).with("location", location)));
}

#[tokio::test]
async fn a_redirect_to_the_same_host_is_followed_once() {
    let (active, _) = start().await;
    let (standby, service) = start().await;
    let store = connect(v1(&standby)).await.unwrap();
    service.put("kv", "key", serde_json::json!({ "key": "v" }));
    for status in [301, 302, 307] {
        redirect(&standby, "GET /v1/kv/key", status, &format!("{}/v1/kv/key", active.url()));
        active.fail(
            "GET /v1/kv/key",
            1,
            Fault::Answer(Reply::json(200, &serde_json::json!({ "data": { "key": "v" } }))),
        );
        assert_eq!(store.get("key").await.unwrap().as_slice(), b"v", "{status}");
    }
    redirect(&standby, "GET /v1/kv/key", 307, "/v1/kv/key");
    redirect(&standby, "GET /v1/kv/key", 307, "/v1/kv/key");
    assert!(refusal(store.get("key")).await.contains("answered 307"));
    redirect(&standby, "GET /v1/kv/key", 308, "http://elsewhere.example/");
    let text = refusal(store.get("key")).await;
    assert!(text.contains("answered 308, a redirect to http://elsewhere.example that is not followed"), "{text}");
}

/// The other host is this machine under its other name.
#[tokio::test]
async fn another_host_gets_nothing_unless_it_is_named() {
    let (standby, _) = start().await;
    let (other, _) = start().await;
    let port = other.address.port();
    let elsewhere = |path: &str| format!("http://localhost:{port}/v1/{path}");
    let told = format!("answered 307: a redirect to http://localhost:{port}, which");
    redirect(&standby, "/login", 307, &elsewhere("auth/approle/login"));
    let text = refusal(connect(v1(&standby))).await;
    assert!(text.contains(&told) && text.contains("keystore.vault.nodes does not name"), "{text}");
    let store = connect(v1(&standby)).await.unwrap();
    for status in [301, 302, 307] {
        redirect(&standby, "GET /v1/kv/key", status, &elsewhere("kv/key"));
        assert!(refusal(store.get("key")).await.contains("no credentials are sent there"));
    }
    redirect(&standby, "DELETE /v1/kv/key", 307, &elsewhere("kv/key"));
    assert!(refusal(store.delete("key")).await.contains(&told));
    redirect(&standby, "list=true", 307, &elsewhere("kv?list=true"));
    assert!(refusal(store.list("")).await.contains(&told));
    assert_eq!(other.trace(), Vec::<String>::new(), "no call at all");

    for (node, followed) in [
        (format!("http://localhost:{port}"), true),
        ("localhost".into(), true),
        (format!("localhost:{port}"), true),
        ("localhost:1".into(), false),
        (format!("vault.example:{port}"), false),
    ] {
        let store = connect(VaultConfig { nodes: vec![node.clone()], ..v1(&standby) }).await.unwrap();
        redirect(&standby, "GET /v1/kv/key", 307, &elsewhere("kv/key"));
        let got = store.get("key").await;
        assert_eq!(other.trace().len(), usize::from(followed), "{node}: {got:?}");
    }
    assert!(refusal(connect(VaultConfig { nodes: vec!["ftp://x".into()], ..v1(&standby) })).await.contains("ftp://x"));
}

#[tokio::test]
async fn no_redirect_leaves_tls() {
    let secure = Fake::start_tls(Arc::<Vault>::default()).await;
    let (plain, _) = start().await;
    let (client, ca) = (None, secure.ca());
    let store = connect(VaultConfig { tls: VaultTls { client, ca }, ..v1(&secure) }).await.unwrap();
    redirect(&secure, "GET /v1/kv/key", 307, &format!("{}/v1/kv/key", plain.url()));
    let text = refusal(store.get("key")).await;
    assert!(text.contains("which is not HTTPS: no credentials are sent there"), "{text}");
    assert_eq!(plain.trace(), Vec::<String>::new());
}
