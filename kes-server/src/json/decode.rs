//! What Go's decoder takes.

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

/// The body of a request: an object whose field names match in any case. Fields that are absent or null keep their
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

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = Option<&'static str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().copied().find(|known| known.eq_ignore_ascii_case(name)))
    }
}

/// Bytes in a request: a base64 string, an array of numbers, or null for none.
#[derive(Default)]
pub(crate) struct Bytes(pub(crate) Zeroizing<Vec<u8>>);

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
        while let Some(byte) = numbers.next_element()? {
            bytes.push(byte);
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
        cipher: Option<String>,
    }

    impl Fields for Body {
        const NAMES: &'static [&'static str] = &["context", "cipher"];

        fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, values: &mut A) -> Result<(), A::Error> {
            match field {
                "context" => self.context = values.next_value()?,
                _ => self.cipher = values.next_value()?,
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
            r#"{"context":"Yw==""#,
        ] {
            assert_eq!(context(document), None, "{document}");
        }
    }
}
