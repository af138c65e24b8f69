//! The file as a tree that knows its lines, and the list of mistakes found in it.

use std::fmt;
use std::rc::Rc;

use kes_server::yaml::{self, Entry, Place, Scalar, Value as Content};
use serde_json::{Map, Value};
use strsim::osa_distance;

use super::Environment;

pub(super) use kes_server::yaml::Node;

/// Values of one file, aliases written out. kestack.yaml has some hundred.
const MOST_VALUES: usize = 100_000;

/// Reads the first document; `None` for an empty file.
pub(super) fn load(text: &str) -> Result<Option<Rc<Node>>, Mistake> {
    let root = yaml::parse(text).map_err(|mistake| Mistake::new(mistake.place, mistake.text))?;
    Ok(root.filter(|node| !is_null(node)))
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mistake {
    place: Place,
    text: String,
}

impl Mistake {
    fn new(place: Place, text: impl Into<String>) -> Self {
        Self { place, text: text.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place.line, self.place.column, self.text)
    }
}

/// Reads values out of nodes and remembers what is wrong with them.
pub(super) struct Reader<'e> {
    env: Environment<'e>,
    pub(super) mistakes: Vec<Mistake>,
    /// Values that may still be copied: aliases may name each other many times.
    left: usize,
}

impl<'e> Reader<'e> {
    pub(super) fn new(env: Environment<'e>) -> Self {
        Self { env, mistakes: Vec::new(), left: MOST_VALUES }
    }

    pub(super) fn wrong(&mut self, node: &Node, text: impl Into<String>) {
        self.wrong_at(node.place, text);
    }

    fn wrong_at(&mut self, place: Place, text: impl Into<String>) {
        self.mistakes.push(Mistake::new(place, text));
    }

    /// The entries of a mapping. Unknown or duplicate keys are mistakes; so are values that are not a mapping.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Vec<(String, &'n Node)> {
        let Content::Map(map) = &node.value else {
            if !is_null(node) {
                self.wrong(node, format!("{what} must be a mapping"));
            }
            return vec![];
        };
        for key in &map.unnamed {
            self.wrong(key, format!("a key of {what} must be a word"));
        }
        for twice in &map.duplicates {
            let text = format!("'{}' is in {what} twice, first in line {}", twice.key, twice.first);
            self.wrong_at(twice.place, text);
        }
        let mut entries = Vec::new();
        for Entry { key, place, node } in &map.entries {
            if known.is_empty() || known.contains(&key.as_str()) {
                entries.push((key.clone(), &**node));
            } else {
                self.wrong_at(*place, unknown(key, what, known));
            }
        }
        entries
    }

    /// The items of a list.
    pub(super) fn items<'n>(&mut self, node: &'n Node, what: &str) -> Vec<&'n Node> {
        if let Content::List(items) = &node.value {
            return items.iter().map(|item| &**item).collect();
        }
        self.wrong(node, format!("{what} must be a list"));
        vec![]
    }

    /// A text, with `${NAME}` replaced by the variable.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = match &node.value {
            Content::Scalar(scalar) if !scalar.is_null() => scalar.text.to_string(),
            _ => {
                self.wrong(node, format!("{what} must be a string"));
                return None;
            }
        };
        self.expand(node, text)
    }

    fn expand(&mut self, node: &Node, text: String) -> Option<String> {
        let name = yaml::variable(&text);
        let Some(name) = name else { return Some(text) };
        let value = (self.env)(name);
        if value.is_none() {
            self.wrong(node, format!("the variable '{name}' is not set"));
        }
        value
    }

    /// A text that is read further.
    pub(super) fn parsed<T>(&mut self, node: &Node, what: &str) -> Option<T>
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
    pub(super) fn word<T: Copy>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node, what)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(node, unknown(&text, what, &all));
        }
        found
    }

    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        let found = scalar(node).and_then(Scalar::boolean);
        if found.is_none() {
            self.wrong(node, format!("{what} must be true or false"));
        }
        found
    }

    /// A port number; 0 means any free one.
    pub(super) fn port(&mut self, node: &Node, what: &str) -> Option<u16> {
        let found = scalar(node).and_then(Scalar::integer).and_then(|number| u16::try_from(number).ok());
        if found.is_none() {
            self.wrong(node, format!("{what} must be a port number, 1 to 65535, or 0 for any free one"));
        }
        found
    }

    /// A number within a range.
    pub(super) fn number(&mut self, node: &Node, what: &str, range: std::ops::RangeInclusive<u16>) -> Option<u16> {
        let number = scalar(node).and_then(Scalar::integer).and_then(|number| u16::try_from(number).ok());
        let found = number.filter(|number| range.contains(number));
        if found.is_none() {
            self.wrong(node, format!("{what} must be a number from {} to {}", range.start(), range.end()));
        }
        found
    }

    /// The same as JSON, variables put in. All mappings are asked for their mistakes.
    pub(super) fn json(&mut self, node: &Node) -> Value {
        let Some(left) = self.left.checked_sub(1) else { return Value::Null };
        self.left = left;
        if left == 0 {
            self.wrong(node, format!("the file has more than {MOST_VALUES} values: aliases repeat each other"));
        }
        match &node.value {
            Content::Map(_) => {
                let entries = self.entries(node, "this mapping", &[]);
                Value::Object(entries.into_iter().map(|(key, value)| (key, self.json(value))).collect::<Map<_, _>>())
            }
            Content::List(items) => items.iter().map(|item| self.json(item)).collect(),
            Content::Scalar(scalar) => self.json_of(node, scalar),
        }
    }

    fn json_of(&mut self, node: &Node, scalar: &Scalar) -> Value {
        match scalar.tag() {
            "!!null" => Value::Null,
            "!!bool" => scalar.boolean().into(),
            "!!int" => scalar.integer().map_or_else(|| Value::from(scalar.text.as_str()), Value::from),
            "!!float" => scalar.text.parse::<f64>().map_or_else(|_| Value::from(scalar.text.as_str()), Value::from),
            _ => self.expand(node, scalar.text.to_string()).map_or(Value::Null, Value::String),
        }
    }
}

/// The value of a key of a mapping.
pub(super) fn entry<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    match &node.value {
        Content::Map(map) => map.entry(name),
        _ => None,
    }
}

pub(super) fn is_null(node: &Node) -> bool {
    scalar(node).is_some_and(Scalar::is_null)
}

fn scalar(node: &Node) -> Option<&Scalar> {
    match &node.value {
        Content::Scalar(scalar) => Some(scalar),
        _ => None,
    }
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
