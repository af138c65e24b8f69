//! YAML of strangers as JSON, within bounds: merge keys are resolved, and what aliases repeat counts each time.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Most bytes that all documents of a file may take, with everything that their aliases repeat.
const BUDGET: usize = 4 << 20;
/// Memory of a value in addition to its text.
const NODE: usize = 32;
/// Name of the key whose mappings are merged into the one that it is in.
const MERGE: &str = "<<";

/// All documents of a text. Keys of a mapping become text.
///
/// # Errors
/// Why it is not YAML, or that it is too large.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, String> {
    let left = Cell::new(BUDGET);
    let documents = serde_yaml::Deserializer::from_str(text).map(|document| Tree(&left).deserialize(document));
    let documents: Result<Vec<Value>, serde_yaml::Error> = documents.collect();
    documents.map_err(|error| error.to_string())
}

/// Reads a value and takes its size from what is left.
#[derive(Clone, Copy)]
struct Tree<'a>(&'a Cell<usize>);

impl Tree<'_> {
    fn take<E: serde::de::Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(NODE + bytes);
        self.0.set(left.ok_or_else(|| E::custom("it is too large, with all that its aliases repeat"))?);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of YAML")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.take(0).map(|()| Value::Null)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.take(0).map(|()| value.into())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.take(0).map(|()| value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.take(0).map(|()| value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.take(0).map(|()| value.into())
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.take(value.len()).map(|()| value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.take(0)?;
        let (mut map, mut merged) = (Map::new(), Vec::new());
        while let Some(key) = entries.next_key_seed(self)? {
            let key = key_text(&key).map_err(A::Error::custom)?;
            let value = entries.next_value_seed(self)?;
            if key == MERGE {
                merged.push(value);
            } else if map.contains_key(&key) {
                return Err(A::Error::custom(format!("'{key}' is there twice")));
            } else {
                map.insert(key, value);
            }
        }
        for value in merged {
            merge(&mut map, value).map_err(A::Error::custom)?;
        }
        Ok(map.into())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("values with a tag, such as !reset, are not understood: write the value itself"))
    }
}

fn key_text(key: &Value) -> Result<String, String> {
    match key {
        Value::String(text) => Ok(text.clone()),
        Value::Array(_) | Value::Object(_) => Err("a key must be a string".into()),
        other => Ok(other.to_string()),
    }
}

/// Adds what a mapping, or each of a list of them, has and `map` does not. The first one that has a key gives its value.
fn merge(map: &mut Map<String, Value>, value: Value) -> Result<(), String> {
    match value {
        Value::Null => {}
        Value::Object(entries) => {
            for (key, value) in entries {
                map.entry(key).or_insert(value);
            }
        }
        Value::Array(items) if items.iter().all(Value::is_object) => {
            for item in items {
                merge(map, item)?;
            }
        }
        _ => return Err("'<<' must be a mapping, or a list of mappings".into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merges_are_resolved_however_deep_they_are() {
        let text = "a: &a { x: 1, y: 1 }\nb: &b { <<: *a, y: 2, z: 2 }\nc: { <<: *b, z: 3 }\nd: { <<: [{ x: 4 }, *b] }\n1: null\n";
        let document = &documents(text).unwrap()[0];
        assert_eq!(document["c"], json!({ "x": 1, "y": 2, "z": 3 }));
        assert_eq!(document["d"], json!({ "x": 4, "y": 2, "z": 2 }));
        assert_eq!(document["1"], json!(null));
        assert_eq!(documents("a: 1\n---\nb: on\n").unwrap(), [json!({ "a": 1 }), json!({ "b": "on" })]);
    }

    #[test]
    fn what_would_fill_the_memory_is_refused() {
        let items = "x, ".repeat(10_000);
        let aliases = "*a, ".repeat(10_000);
        let flat = format!("a: &a [{items}]\nb: [{aliases}]\n");
        let long = format!("a: &a {}\nb: [{aliases}]\n", "x".repeat(10_000));
        let mut laughs = String::from("a0: &a0 [x, x]\n");
        for level in 1..60 {
            use std::fmt::Write as _;
            writeln!(laughs, "a{level}: &a{level} [*a{0}, *a{0}]", level - 1).unwrap();
        }
        for text in [flat, long, laughs] {
            let start = std::time::Instant::now();
            assert!(documents(&text).is_err());
            assert!(start.elapsed() < std::time::Duration::from_secs(20));
        }
    }

    #[test]
    fn what_has_two_meanings_is_refused() {
        for (text, why) in
            [("a: 1\na: 2\n", "twice"), ("<<: 1\n", "mapping"), ("a: !reset null\n", "tag"), ("a: [\n", "")]
        {
            let error = documents(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
