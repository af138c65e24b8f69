//! Decodes JSON as Go's decoder does.

use std::fmt;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use zeroize::Zeroizing;

/// Standard base64: padding is mandatory, the unused bits of the last character are not looked at.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// Decodes the first value of a document; what follows it is not looked at.
pub(crate) fn decode<T: Fields>(document: &[u8]) -> serde_json::Result<T> {
    Ok(Object::<T>::deserialize(&mut serde_json::Deserializer::from_slice(document))?.0)
}

/// Decodes a document that is one value and nothing more.
pub(crate) fn decode_all<T: Fields>(document: &[u8]) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(document);
    let value = Object::<T>::deserialize(&mut reader)?.0;
    reader.end().map(|()| value)
}

/// An object, such as the body of a request, whose field names match in any case. Fields that are absent or null keep their
/// default, unknown ones are skipped, of duplicates the last counts.
pub(crate) trait Fields: Default {
    /// Names, lower-case.
    const NAMES: &'static [&'static str];

    /// Takes the value of the field of this name, one of [`Self::NAMES`].
    fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, values: &mut A) -> Result<(), A::Error>;
}

struct Object<T>(T);

impl<'de, T: Fields> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(T::default())).map(Self)
    }
}

struct ObjectVisitor<T>(T);

impl<'de, T: Fields> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        Ok(self.0)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<T, A::Error> {
        while let Some(field) = map.next_key_seed(FieldName(T::NAMES))? {
            match field {
                Some(name) => self.0.take(name, &mut map)?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(self.0)
    }
}

struct FieldName(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Option<&'static str>;

    /// As bytes, because a name that is not UTF-8 is only one that nobody knows.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for FieldName {
    type Value = Option<&'static str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field name")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, name: &'de [u8]) -> Result<Self::Value, E> {
        self.visit_bytes(printable(name)?)
    }

    fn visit_bytes<E: de::Error>(self, name: &[u8]) -> Result<Self::Value, E> {
        let folded = if name.is_ascii() { None } else { Some(fold(name)) };
        let name = folded.as_deref().map_or(name, str::as_bytes);
        Ok(self.0.iter().copied().find(|known| known.as_bytes().eq_ignore_ascii_case(name)))
    }
}

/// With the only two letters outside of ASCII that are the same as one of ASCII in another case (Unicode's simple case
/// folding).
fn fold(name: &[u8]) -> String {
    unicode(name).replace('\u{212a}', "k").replace('\u{17f}', "s")
}

/// Bytes as text, with U+FFFD for each that is not part of UTF-8, as Go reads it.
pub(crate) fn unicode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// A text in a request. What is not Unicode is U+FFFD.
#[derive(Debug, Default)]
pub(crate) struct Text(pub(crate) String);

impl Text {
    /// Takes a value's place; null leaves what is there.
    pub(crate) fn replace(&mut self, value: Option<Self>) {
        if let Some(value) = value {
            *self = value;
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(TextVisitor)
    }
}

/// Refuses control characters that are not escaped. For strings as bytes the JSON library does not.
fn printable<E: de::Error>(text: &[u8]) -> Result<&[u8], E> {
    match text.iter().find(|byte| **byte < 0x20) {
        Some(_) => Err(E::custom("control character in a string")),
        None => Ok(text),
    }
}

/// With one byte that is not UTF-8 in place of each half of a surrogate pair, which the JSON library writes in three.
fn without_surrogates(mut text: &[u8]) -> Vec<u8> {
    let mut without = Vec::with_capacity(text.len());
    loop {
        text = match text {
            [0xed, 0xa0..=0xff, _, rest @ ..] => {
                without.push(0xed);
                rest
            }
            [byte, rest @ ..] => {
                without.push(*byte);
                rest
            }
            [] => return without,
        };
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, text: &'de [u8]) -> Result<Text, E> {
        printable(text).map(unicode).map(Text)
    }

    /// A text with escapes.
    fn visit_bytes<E: de::Error>(self, text: &[u8]) -> Result<Text, E> {
        Ok(Text(unicode(&without_surrogates(text))))
    }
}

/// Bytes in a request: a base64 string, an array of numbers in which null is 0, or null for none.
#[derive(Default)]
pub(crate) struct Bytes(pub(crate) Zeroizing<Vec<u8>>);

impl Bytes {
    /// Takes a value's place; null leaves nothing.
    pub(crate) fn replace(&mut self, value: Option<Self>) {
        *self = value.unwrap_or_default();
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BytesVisitor)
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a base64 string or an array of bytes")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Bytes, E> {
        Ok(Bytes::default())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
        let decoded = if text.contains(['\r', '\n']) {
            LENIENT.decode(Zeroizing::new(text.replace(['\r', '\n'], "")).as_bytes())
        } else {
            LENIENT.decode(text)
        };
        decoded.map(|bytes| Bytes(Zeroizing::new(bytes))).map_err(|_| E::custom("illegal base64 data"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Bytes, A::Error> {
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(byte) = numbers.next_element::<Option<u8>>()? {
            bytes.push(byte.unwrap_or_default());
        }
        Ok(Bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Body {
        context: Bytes,
        cipher: Text,
    }

    impl Fields for Body {
        const NAMES: &'static [&'static str] = &["context", "cipher"];

        fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, values: &mut A) -> Result<(), A::Error> {
            match field {
                "context" => self.context.replace(values.next_value()?),
                _ => self.cipher.replace(values.next_value()?),
            }
            Ok(())
        }
    }

    fn context(document: &str) -> Option<Vec<u8>> {
        decode::<Body>(document.as_bytes()).ok().map(|body| body.context.0.to_vec())
    }

    #[test]
    fn takes_what_go_takes() {
        for (document, bytes) in [
            (r#"{"context":"Yw=="}"#, "c"),
            (r#" {"CONTEXT":"Yw=="} garbage"#, "c"),
            (r#"{"context":"AA==","Context":"Yw=="}"#, "c"),
            (r#"{"context":[99]}"#, "c"),
            (r#"{"context":[99,null]}"#, "c\0"),
            ("{\"\u{17f}\":1,\"context\":\"Yw==\"}", "c"),
            (r#"{"context":"Y\nw=\r="}"#, "c"),
            (r#"{"context":"Yx=="}"#, "c"),
            (r#"{"context":null,"other":{"context":[1]}}"#, ""),
            (r#"{"cipher":null}"#, ""),
            ("null", ""),
            ("{}", ""),
        ] {
            assert_eq!(context(document).as_deref(), Some(bytes.as_bytes()), "{document}");
        }
    }

    #[test]
    fn text_that_is_not_unicode_is_taken() {
        for document in [b"{\"cipher\":\"\xff\",\"\xff\":1}".as_slice(), br#"{"cipher":"\ud800","\ud800":1}"#] {
            let body = decode::<Body>(document).unwrap();
            assert!(body.cipher.0.chars().all(|character| character == '\u{fffd}'), "{}", body.cipher.0);
        }
        let kept = decode::<Body>(br#"{"cipher":"a","CIPHER":null}"#).unwrap();
        assert_eq!(kept.cipher.0, "a");
        assert_eq!(decode::<Body>(br#"{"cipher":"a\ud800b"}"#).unwrap().cipher.0, "a\u{fffd}b");
        assert!(decode::<Body>(b"{\"cipher\":\"\x01\"}").is_err() && decode::<Body>(b"{\"\x01\":1}").is_err());
        assert_eq!(fold("\u{212a}ey".as_bytes()), "key");
    }

    #[test]
    fn refuses_what_go_refuses() {
        for document in [
            "",
            "x",
            "[]",
            "1",
            "\u{feff}{}",
            r#"{"context":1}"#,
            r#"{"context":"Yw"}"#,
            r#"{"context":"Y w=="}"#,
            r#"{"context":"__8="}"#,
            r#"{"context":[256]}"#,
            r#"{"cipher":1}"#,
            r#"{"cipher":["a"]}"#,
            r#"{"context":[[1]]}"#,
            r#"{"context":"Yw==""#,
        ] {
            assert_eq!(context(document), None, "{document}");
        }
    }
}
