//! Large bodies that do not end, and somebody else who sends one that does.

use std::{
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use kes_server::auth::ApiKey;

use crate::{
    dial::{Dialer, rest},
    support::Folder,
};

/// Bodies that do not end, and bytes of each.
const STALLED: usize = 66;
const LENGTH: usize = 17_000;

/// How long the attack lasts: the server gives up such a body after 15 s.
const ATTACK: Duration = Duration::from_secs(8);

/// More than it may take, on a machine that runs other tests too. On an idle one it is some milliseconds.
const LONGEST: Duration = Duration::from_secs(3);

fn post(length: usize) -> String {
    format!(
        "POST /v1/key/encrypt/witness HTTP/1.1\r\nHost: kes\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// The parser's own words show what it found, and that may be a key.
#[test]
fn what_a_malformed_body_holds_is_in_no_log() {
    const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    let folder = Folder::new();
    let server = folder.serve();
    assert!(folder.kes(&["key", "create", "-k", "one"]).status.success());
    let admin = Dialer::admin(&folder, "http/1.1");
    let lines = || std::fs::read_to_string(folder.path("stderr")).unwrap();
    for (path, field) in [
        ("import/two", "key"),
        ("encrypt/one", "plaintext"),
        ("decrypt/one", "ciphertext"),
        ("generate/one", "context"),
    ] {
        for body in [
            format!("\"{SECRET}\""),
            format!("[\"{SECRET}\"]"),
            format!("{{\"{field}\":[\"{SECRET}\"]}}"),
            format!("{{\"{field}\":{{\"{SECRET}\":1}}}}"),
            format!("{{\"{field}\":\"{SECRET}"),
            format!("{{\"{field}\":\"!{SECRET}\"}}"),
        ] {
            let method = if path.starts_with("import") { "PUT" } else { "POST" };
            let head = format!("{method} /v1/key/{path} HTTP/1.1\r\nHost: kes\r\nConnection: close\r\n");
            let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            let answer = admin.say(request.as_bytes()).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("MDEy"), "{body}: {answer}");
        }
    }
    assert_eq!(server.terminate(), Some(0));
    let (told, printed) = (lines(), std::fs::read_to_string(folder.path("stdout")).unwrap());
    assert!(told.contains("the body is not the JSON that it must be (line 1, column "), "{told}");
    assert!(!told.contains("MDEy") && !printed.contains("MDEy"), "{told}{printed}");
}

#[test]
fn bodies_that_do_not_end_delay_only_their_identity() {
    let folder = Folder::new();
    let key = ApiKey::generate().unwrap();
    let known = "744f36cca67eb1912cb282e08e86bd2fe0d09004a28cf6e7c6bd56cdd6bf65aa";
    folder.write("config.yaml", &folder.config("keys").replace(known, key.identity().as_str()));
    let server = folder.serve();
    let (hostile, admin) = (Dialer::with_key(&folder, &key, "http/1.1"), Dialer::admin(&folder, "http/1.1"));
    assert!(folder.kes(&["key", "create", "-k", "witness"]).status.success());
    let stalled: Vec<_> = (0..STALLED)
        .map(|_| {
            let mut connection = hostile.connect().unwrap();
            connection.write_all(post(LENGTH).as_bytes()).unwrap();
            // less than announced, and more than what is read at once
            connection.write_all(&vec![b' '; LENGTH - 100]).unwrap();
            connection
        })
        .collect();
    let document = format!("{{\"plaintext\":\"{}\"}}", "QUFB".repeat(7_500));
    let request = post(document.len()) + &document;
    let (began, mut longest, mut count) = (Instant::now(), Duration::ZERO, 0);
    while began.elapsed() < ATTACK {
        let asked = Instant::now();
        let mut connection = admin.connect().unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        let (answer, _) = rest(&mut connection).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        longest = longest.max(asked.elapsed());
        count += 1;
        thread::sleep(Duration::from_millis(20));
    }
    println!("{STALLED} bodies that do not end: {count} requests of 30 kB of another, the slowest in {longest:?}");
    assert!(longest < LONGEST, "{longest:?}");
    drop(stalled);
    assert_eq!(server.terminate(), Some(0));
}
