//! Ciphertexts in all their forms (docs/kes-protocol.md §5.3, §5.4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_server::crypto::Key;
use kes_server::fuzzing::legacy_ciphertext;
use serde_json::Value;

/// The secret of the test data's ciphertexts, in the stored form that a constant can have.
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

const MSGPACK_NAMES: [&str; 4] = ["AES256", "AES256-GCM_SHA256", "ChaCha20", "XCHACHA20-POLY1305"];
const JSON_NAMES: [&str; 2] = ["AES-256-GCM-HMAC-SHA-256", "ChaCha20Poly1305"];

/// The first byte chooses the key's algorithm and where to split and to damage; the rest is a ciphertext, and then a
/// plaintext and its context.
pub fn check(input: &[u8]) {
    let Some((&control, input)) = input.split_first() else { return };
    let algorithm = if control & 1 == 0 { "AES256" } else { "ChaCha20" };
    let stored = format!("{{\"bytes\":\"{SECRET}\",\"algorithm\":\"{algorithm}\"}}");
    let key = Key::decode(stored.as_bytes()).unwrap();
    forms(input);
    opens(&key, input, usize::from(control));
    round_trip(&key, input, usize::from(control));
}

/// What the documented forms are is read as documented; what is read can be written as each of them and read again.
fn forms(input: &[u8]) {
    let read = legacy_ciphertext(input);
    let documented = documented(input);
    assert!(documented.is_none() || documented == read, "read {read:?}, not {documented:?}");
    let Some(modern) = read else { return };
    for name in MSGPACK_NAMES {
        assert_eq!(legacy_ciphertext(&msgpack(name, &modern)), Some(modern.clone()), "{name}");
    }
    for name in JSON_NAMES {
        assert_eq!(legacy_ciphertext(&json(name, &modern)), Some(modern.clone()), "{name}");
    }
}

/// If it decrypts at all, then not with another context, and not with one bit changed.
fn opens(key: &Key, input: &[u8], at: usize) {
    let Ok(plain) = key.decrypt(input, b"") else { return };
    let mut modern = legacy_ciphertext(input).unwrap_or_else(|| input.to_vec());
    assert_eq!(plain.len() + 44, modern.len());
    assert_eq!(key.decrypt(&modern, b"").unwrap(), plain);
    assert!(key.decrypt(&modern, b"x").is_err());
    let damaged = at % modern.len();
    modern[damaged] ^= 1;
    assert!(key.decrypt(&modern, b"").is_err());
}

fn round_trip(key: &Key, input: &[u8], at: usize) {
    let (context, plain) = input.split_at(at.min(input.len()));
    let mut sealed = key.encrypt(plain, context).unwrap();
    assert_eq!(sealed.len(), plain.len() + 44);
    for form in [sealed.clone(), msgpack(MSGPACK_NAMES[at % 4], &sealed), json(JSON_NAMES[at % 2], &sealed)] {
        assert_eq!(key.decrypt(&form, context).unwrap().as_slice(), plain);
        assert!(key.decrypt(&form[..form.len() - 1], context).is_err());
    }
    assert!(key.decrypt(&sealed, &[context, b"x"].concat()).is_err());
    let damaged = (at * 7) % sealed.len();
    sealed[damaged] ^= 1;
    assert!(key.decrypt(&sealed, context).is_err());
}

/// `modern` split into its parts: what is sealed, iv, nonce.
fn parts(modern: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let (rest, nonce) = modern.split_at(modern.len() - 12);
    let (sealed, iv) = rest.split_at(rest.len() - 16);
    (sealed, iv, nonce)
}

fn msgpack(name: &str, modern: &[u8]) -> Vec<u8> {
    let (sealed, iv, nonce) = parts(modern);
    let mut out = vec![0x95, 0xd9, u8::try_from(name.len()).unwrap()];
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\xa3key");
    for bytes in [iv, nonce, sealed] {
        out.push(0xc6);
        out.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

fn json(name: &str, modern: &[u8]) -> Vec<u8> {
    let (sealed, iv, nonce) = parts(modern);
    let [sealed, iv, nonce] = [sealed, iv, nonce].map(|bytes| STANDARD.encode(bytes));
    format!("{{\"aead\":\"{name}\",\"id\":\"key\",\"iv\":\"{iv}\",\"nonce\":\"{nonce}\",\"bytes\":\"{sealed}\"}}")
        .into()
}

/// The rule of docs/kes-protocol.md §5.4 at its word.
fn documented(input: &[u8]) -> Option<Vec<u8>> {
    match input.first()? {
        0x95 => documented_msgpack(&input[1..]),
        b'{' => documented_json(input),
        _ => None,
    }
}

fn documented_msgpack(mut rest: &[u8]) -> Option<Vec<u8>> {
    let name = text(&mut rest)?;
    text(&mut rest)?;
    let (iv, nonce, sealed) = (binary(&mut rest)?, binary(&mut rest)?, binary(&mut rest)?);
    let fits = rest.is_empty() && iv.len() == 16 && nonce.len() == 12 && MSGPACK_NAMES.contains(&name);
    fits.then(|| [sealed, iv, nonce].concat())
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = match take(rest, 1)?[0] {
        short @ 0xa0..=0xbf => usize::from(short & 0x1f),
        0xd9 => number(rest, 1)?,
        0xda => number(rest, 2)?,
        0xdb => number(rest, 4)?,
        _ => return None,
    };
    std::str::from_utf8(take(rest, length)?).ok()
}

fn binary<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = match take(rest, 1)?[0] {
        0xc4 => number(rest, 1)?,
        0xc5 => number(rest, 2)?,
        0xc6 => number(rest, 4)?,
        _ => return None,
    };
    take(rest, length)
}

fn number(rest: &mut &[u8], width: usize) -> Option<usize> {
    Some(take(rest, width)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

/// Only objects whose names stand once, in whatever case.
fn documented_json(input: &[u8]) -> Option<Vec<u8>> {
    let Value::Object(object) = serde_json::from_slice(input).ok()? else { return None };
    let names: std::collections::BTreeSet<_> = object.keys().map(|name| name.to_ascii_lowercase()).collect();
    let bytes = |name: &str| STANDARD.decode(object.get(name)?.as_str()?).ok();
    let (iv, nonce, sealed) = (bytes("iv")?, bytes("nonce")?, bytes("bytes")?);
    let known = JSON_NAMES.contains(&object.get("aead")?.as_str()?);
    let fits = names.len() == object.len() && known && iv.len() == 16 && nonce.len() == 12;
    fits.then(|| [sealed, iv, nonce].concat())
}
