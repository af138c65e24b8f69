//! JSON as the clients of KES expect it, and as stored keys hold it: what Go's encoder writes, what Go's decoder
//! takes.

mod decode;

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;
use zeroize::Zeroizing;

pub(crate) use self::decode::{Bytes, Fields, Text, decode, decode_all, unicode};

/// Encodes one value and the newline that ends every document. `capacity` should cover it, so that no part of a
/// secret is left behind in memory by growing.
pub(crate) fn encode(value: &impl Serialize, capacity: usize) -> serde_json::Result<Zeroizing<Vec<u8>>> {
    let mut document = Zeroizing::new(Vec::with_capacity(capacity));
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut *document, GoFormatter))?;
    document.push(b'\n');
    Ok(document)
}

/// What is wrong with a document, for people: where, never what, since any part of it may be a secret.
pub(crate) fn mistake(error: &serde_json::Error) -> String {
    format!("not the JSON that it must be (line {}, column {})", error.line(), error.column())
}

/// A string with its quotes.
pub(crate) fn quoted(text: &str) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    // Writing a string to memory cannot fail.
    let _: serde_json::Result<()> =
        text.serialize(&mut serde_json::Serializer::with_formatter(&mut quoted, GoFormatter));
    quoted
}

/// Bytes in a response.
pub(crate) struct Base64<'a>(pub(crate) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(self.0)))
    }
}

/// Also escapes what could end a script element in a web page, and U+FFFD, which stands for bytes that were not UTF-8.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: io::Write + ?Sized>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if !may_be_special(fragment) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}', '\u{fffd}']) {
            let (clean, special) = rest.split_at(at);
            let mut following = special.chars();
            writer.write_all(clean.as_bytes())?;
            if let Some(special) = following.next() {
                write!(writer, "\\u{:04x}", u32::from(special))?;
            }
            rest = following.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Whether a string has a byte that special characters have. Looks at all bytes, many at once, because mostly there is
/// none: what is in responses is base64.
fn may_be_special(text: &str) -> bool {
    text.bytes().fold(false, |found, byte| found | matches!(byte, b'<' | b'>' | b'&' | 0xE2 | 0xEF))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_go_writes() {
        for (text, expected) in [
            ("<", "\\u003c"),
            (">", "\\u003e"),
            ("&", "\\u0026"),
            ("\u{2029}", "\\u2029"),
            ("\u{fffd}", "\\ufffd"),
            ("â+/=", "â+/="),
        ] {
            assert_eq!(quoted(text), format!("\"{expected}\"").into_bytes());
        }
        assert_eq!(quoted("<a&b>\"\\\n\u{2028}é"), b"\"\\u003ca\\u0026b\\u003e\\\"\\\\\\n\\u2028\xc3\xa9\"");
        let document = encode(&Base64(b"hello"), 16).unwrap();
        assert_eq!(document.as_slice(), b"\"aGVsbG8=\"\n");
    }
}
