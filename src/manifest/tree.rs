//! The file as a tree that knows its lines, and the list of mistakes found in it.

use std::fmt;

use saphyr::{LoadableYamlNode as _, MarkedYaml, Scalar, YamlData};
use serde_json::{Map, Value};
use strsim::osa_distance;

use super::Environment;

/// A node of the file.
pub(super) type Node<'a> = MarkedYaml<'a>;

/// Reads the first document; `None` for an empty file.
pub(super) fn load(text: &str) -> Result<Option<Node<'_>>, Mistake> {
    let documents = MarkedYaml::load_from_str(text).map_err(|error| {
        let marker = error.marker();
        Mistake { line: marker.line(), column: marker.col() + 1, text: error.info().to_owned() }
    })?;
    Ok(documents.into_iter().next().filter(|node| !is_null(node)))
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mistake {
    line: usize,
    column: usize,
    text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.text)
    }
}

/// Reads values out of nodes and remembers what is wrong with them.
pub(super) struct Reader<'e> {
    env: Environment<'e>,
    pub(super) mistakes: Vec<Mistake>,
}

impl<'e> Reader<'e> {
    pub(super) fn new(env: Environment<'e>) -> Self {
        Self { env, mistakes: Vec::new() }
    }

    pub(super) fn wrong(&mut self, node: &Node<'_>, text: impl Into<String>) {
        let start = node.span.start;
        self.mistakes.push(Mistake { line: start.line(), column: start.col() + 1, text: text.into() });
    }

    /// The entries of a mapping. Keys that are not known are mistakes; so are values that are not a mapping.
    pub(super) fn entries<'n>(
        &mut self,
        node: &'n Node<'n>,
        what: &str,
        known: &[&str],
    ) -> Vec<(String, &'n Node<'n>)> {
        let YamlData::Mapping(mapping) = &node.data else {
            if !is_null(node) {
                self.wrong(node, format!("{what} must be a mapping"));
            }
            return vec![];
        };
        let mut entries = Vec::new();
        for (key, value) in mapping {
            let Some(name) = key.data.as_str() else {
                self.wrong(key, format!("a key of {what} must be a word"));
                continue;
            };
            if known.is_empty() || known.contains(&name) {
                entries.push((name.to_owned(), value));
            } else {
                self.wrong(key, unknown(name, what, known));
            }
        }
        entries
    }

    /// The items of a list.
    pub(super) fn items<'n>(&mut self, node: &'n Node<'n>, what: &str) -> &'n [Node<'n>] {
        if let YamlData::Sequence(items) = &node.data {
            return items;
        }
        self.wrong(node, format!("{what} must be a list"));
        &[]
    }

    /// A text, with `${NAME}` replaced by the variable.
    pub(super) fn text(&mut self, node: &Node<'_>, what: &str) -> Option<String> {
        let text = match &node.data {
            YamlData::Value(Scalar::String(text)) => text.to_string(),
            YamlData::Value(Scalar::Integer(number)) => number.to_string(),
            YamlData::Value(Scalar::Boolean(word)) => word.to_string(),
            _ => {
                self.wrong(node, format!("{what} must be a string"));
                return None;
            }
        };
        self.expand(node, text)
    }

    fn expand(&mut self, node: &Node<'_>, text: String) -> Option<String> {
        let name = text.trim().strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).map(str::trim);
        let Some(name) = name else { return Some(text) };
        let value = (self.env)(name);
        if value.is_none() {
            self.wrong(node, format!("the variable '{name}' is not set"));
        }
        value
    }

    /// A text that is read further.
    pub(super) fn parsed<T>(&mut self, node: &Node<'_>, what: &str) -> Option<T>
    where
        T: std::str::FromStr<Err: fmt::Display>,
    {
        let text = self.text(node, what)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(node, format!("{what}: {error}"));
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, node: &Node<'_>, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, what)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(node, unknown(&text, what, &all));
        }
        found
    }

    pub(super) fn boolean(&mut self, node: &Node<'_>, what: &str) -> Option<bool> {
        let found = node.data.as_bool();
        if found.is_none() {
            self.wrong(node, format!("{what} must be true or false"));
        }
        found
    }

    /// A port number; 0 means any free one.
    pub(super) fn port(&mut self, node: &Node<'_>, what: &str) -> Option<u16> {
        let found = node.data.as_integer().and_then(|number| u16::try_from(number).ok());
        if found.is_none() {
            self.wrong(node, format!("{what} must be a port number, 1 to 65535, or 0 for any free one"));
        }
        found
    }

    /// A number within a range.
    pub(super) fn number(&mut self, node: &Node<'_>, what: &str, range: std::ops::RangeInclusive<u16>) -> Option<u16> {
        let number = node.data.as_integer().and_then(|number| u16::try_from(number).ok());
        let found = number.filter(|number| range.contains(number));
        if found.is_none() {
            self.wrong(node, format!("{what} must be a number from {} to {}", range.start(), range.end()));
        }
        found
    }

    /// The same as JSON, variables put in.
    pub(super) fn json(&mut self, node: &Node<'_>) -> Value {
        match &node.data {
            YamlData::Mapping(mapping) => Value::Object(
                mapping
                    .iter()
                    .filter_map(|(key, value)| Some((key.data.as_str()?.to_owned(), self.json(value))))
                    .collect::<Map<_, _>>(),
            ),
            YamlData::Sequence(items) => items.iter().map(|item| self.json(item)).collect(),
            YamlData::Value(Scalar::Null) => Value::Null,
            YamlData::Value(Scalar::Boolean(word)) => (*word).into(),
            YamlData::Value(Scalar::Integer(number)) => (*number).into(),
            YamlData::Value(Scalar::FloatingPoint(number)) => (**number).into(),
            YamlData::Value(Scalar::String(text)) => {
                self.expand(node, text.to_string()).map_or(Value::Null, Value::String)
            }
            _ => {
                self.wrong(node, "this kind of value is not supported");
                Value::Null
            }
        }
    }
}

/// The value of a key of a mapping.
pub(super) fn entry<'n>(node: &'n Node<'n>, name: &str) -> Option<&'n Node<'n>> {
    let YamlData::Mapping(mapping) = &node.data else { return None };
    mapping.iter().find(|(key, _)| key.data.as_str() == Some(name)).map(|(_, value)| value)
}

pub(super) fn is_null(node: &Node<'_>) -> bool {
    matches!(node.data, YamlData::Value(Scalar::Null))
}

/// `unknown key 'bukets' in the manifest, did you mean 'buckets'?`
fn unknown(word: &str, what: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|known| (osa_distance(word, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= 1 + word.len() / 4 => {
            format!("'{word}' is not known in {what}, did you mean '{known}'?")
        }
        _ => format!("'{word}' is not known in {what}; known are: {}", known.join(", ")),
    }
}
