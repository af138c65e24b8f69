//! Stored keys, both forms (docs/kes-protocol.md §5.2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_server::crypto::{Algorithm, CreatedAt, Key};
use serde_json::Value;

/// A key that is read is written and read again as the same key; one of the legacy form is what its object says.
pub fn check(input: &[u8]) {
    let Ok(key) = Key::decode(input) else { return };
    shows_a_time(&key);
    match key.hmac(b"message") {
        Ok(_) => modern(&key, input),
        Err(_) => legacy(&key, input),
    }
}

fn modern(key: &Key, input: &[u8]) {
    assert!(serde_json::from_slice::<Value>(input).is_err(), "JSON has no HMAC key");
    let stored = key.encode();
    let again = Key::decode(&stored).unwrap();
    same(key, &again);
    assert_eq!(again.encode(), stored);
    assert_eq!(again.hmac(b"message"), key.hmac(b"message"));
    // line breaks are nothing
    let broken: Vec<u8> = stored.chunks(7).flat_map(|line| [line, b"\r\n"].concat()).collect();
    assert_eq!(Key::decode(&broken).unwrap().encode(), stored);
    assert!(!format!("{key:?}").contains(std::str::from_utf8(&stored[8..40]).unwrap()), "the key is shown");
}

fn legacy(key: &Key, input: &[u8]) {
    let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(input) else { panic!("no HMAC key, but no JSON") };
    let fields = |name: &str| -> Vec<_> {
        object.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    };
    let [Value::String(secret)] = fields("bytes")[..] else { return };
    let secret = STANDARD.decode(secret.replace(['\r', '\n'], "")).unwrap();
    let named = fields("algorithm").first().and_then(|name| name.as_str());
    let named = named.filter(|name| !name.is_empty()).unwrap_or("AES256");
    assert_eq!(named.parse::<Algorithm>(), Ok(key.algorithm()));
    same(key, &Key::import(key.algorithm(), &secret, key.created_by()).unwrap());
}

/// One encrypts what the other decrypts.
fn same(one: &Key, other: &Key) {
    assert_eq!(one.algorithm(), other.algorithm());
    assert_eq!(one.created_by(), other.created_by());
    let sealed = one.encrypt(b"plain", b"context").unwrap();
    assert_eq!(other.decrypt(&sealed, b"context").unwrap().as_slice(), b"plain");
}

/// Clients read the time as RFC 3339: four digits are the year.
fn shows_a_time(key: &Key) {
    let shown = key.created_at().to_string();
    let is_year = shown.split('-').next().is_some_and(|year| year.len() == 4);
    assert!(is_year && shown.as_bytes()[10] == b'T', "{shown}");
    assert_eq!(CreatedAt::parse(&shown).as_ref(), Some(key.created_at()), "{shown}");
    let (seconds, nanos) = key.created_at().parts();
    assert!((0..1_000_000_000).contains(&nanos), "{nanos}");
    assert_eq!(CreatedAt::from_parts(seconds, nanos).unwrap().parts(), (seconds, nanos));
}
