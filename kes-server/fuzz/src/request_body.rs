//! Bodies of requests (docs/kes-protocol.md §1.4).

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};
use kes_server::fuzzing::request_body;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The routes with a body, their fields in the order of the handler, and how many of them hold bytes.
const ROUTES: [(&str, &[&str], usize); 5] = [
    ("/v1/key/import/", &["key", "cipher"], 1),
    ("/v1/key/encrypt/", &["plaintext", "context", "version"], 2),
    ("/v1/key/generate/", &["context", "version"], 1),
    ("/v1/key/decrypt/", &["ciphertext", "context", "version"], 2),
    ("/v1/key/hmac/", &["message", "version"], 1),
];

/// The first byte chooses the route. What any JSON reader understands is taken or refused by the documented rule, and
/// what is taken is taken again in its plainest form.
pub fn check(input: &[u8]) {
    let Some((&control, document)) = input.split_first() else { return };
    let (route, names, bytes) = ROUTES[usize::from(control) % ROUTES.len()];
    let taken = request_body(route, document);
    match first(document) {
        First::Fields(fields) => assert_eq!(taken, documented(&fields, names, bytes), "{route}"),
        First::NoBody => assert_eq!(taken, None, "{route}"),
        First::NoJson => {}
    }
    let Some(taken) = taken else { return };
    let plain = |(index, field): (usize, &Vec<u8>)| {
        let value = if index < bytes { STANDARD.encode(field) } else { String::from_utf8(field.clone()).unwrap() };
        (names[index].to_owned(), Value::String(value))
    };
    let again = Value::Object(taken.iter().enumerate().map(plain).collect()).to_string();
    assert_eq!(request_body(route, again.as_bytes()), Some(taken), "{route}");
}

/// The first value of a document.
enum First {
    Fields(Vec<(String, Value)>),
    /// Of another type than a body.
    NoBody,
    /// A reader that keeps all values does not take it; ours skips what it does not know.
    NoJson,
}

fn first(document: &[u8]) -> First {
    match serde_json::Deserializer::from_slice(document).into_iter::<Value>().next() {
        Some(Ok(Value::Null)) => First::Fields(Vec::new()),
        Some(Ok(Value::Object(_))) => {
            let mut reader = serde_json::Deserializer::from_slice(document);
            First::Fields(Entries::deserialize(&mut reader).unwrap().0)
        }
        Some(Ok(_)) => First::NoBody,
        Some(Err(_)) | None => First::NoJson,
    }
}

/// The fields of an object in the order of the document; names may stand twice.
struct Entries(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Entries;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Names in any case, unknown ones ignored, the last of duplicates counts, null means no bytes, and leaves a text as it
/// is; every value of a known name must be of its type.
fn documented(fields: &[(String, Value)], names: &[&str], bytes: usize) -> Option<Vec<Vec<u8>>> {
    let mut taken = vec![Vec::new(); names.len()];
    for (name, value) in fields {
        let Some(index) = names.iter().position(|known| *known == folded(name)) else { continue };
        taken[index] = match value {
            Value::Null if index < bytes => Vec::new(),
            Value::Null => continue,
            Value::String(text) if index < bytes => decoded(text)?,
            Value::Array(numbers) if index < bytes => {
                let byte =
                    |number: &Value| if number.is_null() { Some(0) } else { u8::try_from(number.as_u64()?).ok() };
                numbers.iter().map(byte).collect::<Option<_>>()?
            }
            Value::String(text) => text.clone().into_bytes(),
            _ => return None,
        };
    }
    // the version is read, but nobody asks for it
    taken.truncate(if names.contains(&"version") { bytes } else { names.len() });
    Some(taken)
}

/// In Unicode's simple case folding two other letters are the same as one of ASCII.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('\u{212a}', "k").replace('\u{17f}', "s")
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let engine = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical);
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    GeneralPurpose::new(&alphabet::STANDARD, engine).decode(text).ok()
}
