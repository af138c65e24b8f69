//! Something in between answers for the keystore: a proxy, a captive portal, another server. Whatever it says, it must
//! not count as done.

use futures_util::future::join_all;
use kes_server::keystore::{KeyStore as _, KeyStoreError};

use super::conformance::VALUE;
use super::everyone::{self, Subject};
use super::fake::{Fault, Reply};

const OPERATIONS: [&str; 5] = ["create", "get", "delete", "list", "status"];

/// Where the keystore itself says exactly this, so that nobody can tell.
const TRUE_ALIKE: [(&str, &str, &str); 6] = [
    ("Entrust", "delete", "200 {}"),
    ("GCP", "delete", "200 {}"),
    ("GCP", "list", "200 {}"),
    ("Thales", "delete", "204"),
    ("Vault K/V v1", "delete", "204"),
    ("Vault K/V v2", "delete", "204"),
];

fn lies() -> Vec<(&'static str, Reply)> {
    let html =
        |status| Reply { headers: vec![("content-type".into(), "text/html".into())], ..Reply::text(status, "<html>") };
    let json = |status, text: &str| Reply { body: text.into(), ..Reply::json(status, &serde_json::json!({})) };
    vec![
        ("200 HTML", html(200)),
        ("200 {}", json(200, "{}")),
        ("200 []", json(200, "[{}]")),
        ("200 null", json(200, "null")),
        ("200 empty", Reply::status(200)),
        ("201 HTML", html(201)),
        ("201 {}", json(201, "{}")),
        ("204", Reply::status(204)),
        ("302", Reply::status(302).with("location", "https://portal.example/login")),
        ("404 HTML", html(404)),
        ("404 {}", json(404, "{}")),
        ("404 empty", Reply::status(404)),
        ("409 HTML", html(409)),
        ("500", html(500)),
    ]
}

/// The answer that a client of kes would get.
fn told<T>(result: &Result<T, KeyStoreError>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(KeyStoreError::Exists) => "exists",
        Err(KeyStoreError::NotFound) => "not found",
        Err(_) => "502",
    }
}

/// The result of each operation while every answer is this lie.
async fn outcomes(Subject { fake, store, .. }: &Subject, lie: &Reply) -> [&'static str; 5] {
    fake.fail("", usize::MAX, Fault::Answer(lie.clone()));
    let all = tokio::join!(
        store.create("new", VALUE),
        store.get("there"),
        store.delete("there"),
        store.list(""),
        store.status()
    );
    fake.heal();
    [told(&all.0), told(&all.1), told(&all.2), told(&all.3), told(&all.4)]
}

/// Every operation of a keystore under every lie; what must be is `502` for all but the exceptions above.
async fn judge(subject: Subject) -> (Vec<String>, Vec<String>) {
    let (mut rows, mut wrong) = (OPERATIONS.map(|it| format!("| {} | {it} |", subject.name)), Vec::new());
    for (name, lie) in lies() {
        let outcomes = outcomes(&subject, &lie).await;
        for ((operation, outcome), row) in OPERATIONS.into_iter().zip(outcomes).zip(&mut rows) {
            row.extend([" ", outcome, " |"]);
            // an answer of any kind is all that their status asks for
            let any_answer =
                operation == "status" && !["Entrust", "Vault K/V v1", "Vault K/V v2"].contains(&subject.name);
            let expected =
                if any_answer || TRUE_ALIKE.contains(&(subject.name, operation, name)) { "done" } else { "502" };
            if outcome != expected {
                wrong.push(format!("{} {operation} under {name}: {outcome}, not {expected}", subject.name));
            }
        }
    }
    if subject.store.get("there").await.unwrap().as_slice() != VALUE || subject.store.get("new").await.is_ok() {
        wrong.push(format!("{}: the lies left traces", subject.name));
    }
    (rows.into(), wrong)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_keystore_itself_can_say_that_something_is_done() {
    let judged = join_all(everyone::all().await.into_iter().map(judge)).await;
    let names: Vec<_> = lies().into_iter().map(|(name, _)| name).collect();
    println!("| keystore | operation | {} |", names.join(" | "));
    for row in judged.iter().flat_map(|(rows, _)| rows) {
        println!("{row}");
    }
    let wrong: Vec<_> = judged.iter().flat_map(|(_, wrong)| wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
