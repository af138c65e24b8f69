//! YAML as a tree of nodes that know where they are (docs/kes-protocol.md §4.1): KES's configuration and kestack.yaml.
//!
//! The parser is `saphyr-parser`; here its events become a tree with anchors resolved and merge keys applied. Aliases are
//! shared, so that a small file is a small tree.

use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};
use zeroize::Zeroizing;

/// Nobody writes a configuration that deep; without a bound a hostile file would exhaust the stack.
const MAX_DEPTH: usize = 1_000;

/// A place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Counted from 1; 0 if the parser does not know.
    pub line: usize,
    /// Counted from 1.
    pub column: usize,
}

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Where it starts.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// The three kinds of nodes.
#[derive(Debug)]
pub enum Value {
    /// A text, a number, a boolean or null.
    Scalar(Scalar),
    /// A sequence.
    List(Vec<Rc<Node>>),
    /// A mapping.
    Map(Map),
}

/// A scalar as written; its reader decides what it means.
#[derive(Debug)]
pub struct Scalar {
    /// Its text.
    pub text: Zeroizing<String>,
    plain: bool,
    tag: Option<String>,
}

/// The entries of a mapping in the order of the file.
#[derive(Debug, Default)]
pub struct Map {
    /// Those whose key is a scalar, each key once.
    pub entries: Vec<Entry>,
    /// Duplicate keys.
    pub duplicates: Vec<Duplicate>,
    /// Keys that are lists or mappings.
    pub unnamed: Vec<Rc<Node>>,
}

/// One entry of a mapping.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// The place of the key.
    pub place: Place,
    /// Its value.
    pub node: Rc<Node>,
}

/// A duplicate key.
#[derive(Debug)]
pub struct Duplicate {
    /// The key.
    pub key: String,
    /// The place of its second occurrence.
    pub place: Place,
    /// The line of its first occurrence.
    pub first: usize,
}

/// Text that is not YAML, or not a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub text: String,
    /// True if the parser says so.
    pub is_syntax: bool,
}

/// Reads the first document; later ones are not even looked at. `None` for a text without any.
///
/// # Errors
/// The first thing that is not YAML.
pub fn parse(text: &str) -> Result<Option<Rc<Node>>, Mistake> {
    if let Some(at) = text.find(is_forbidden) {
        let before = text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        let place = Place { line: before.matches('\n').count() + 1, column };
        return Err(Mistake::new(place, "control characters are not allowed"));
    }
    let mut loader = Loader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| Mistake::of(&error))?;
        if let Some(root) = loader.event(event, place(&span.start))? {
            return Ok(Some(root));
        }
    }
    Ok(None)
}

/// The variable of a text that is nothing but `${NAME}`.
pub fn variable(text: &str) -> Option<&str> {
    text.trim().strip_prefix("${")?.strip_suffix('}').map(str::trim)
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

impl Mistake {
    fn new(place: Place, text: impl Into<String>) -> Self {
        Self { place, text: text.into(), is_syntax: false }
    }

    fn of(error: &ScanError) -> Self {
        Self { place: place(error.marker()), text: error.info().to_owned(), is_syntax: true }
    }
}

/// What YAML does not have as it is, only as an escape (YAML 1.2.2 §5.1).
fn is_forbidden(character: char) -> bool {
    (character.is_control() && !"\t\n\r\u{85}".contains(character)) || "\u{fffe}\u{ffff}".contains(character)
}

impl Map {
    /// The value of a key.
    pub fn entry(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &*entry.node)
    }

    fn new(pairs: Vec<(Rc<Node>, Rc<Node>)>) -> Self {
        let mut map = Self::default();
        let mut lines = BTreeMap::new();
        let mut merges = Vec::new();
        for (key, node) in pairs {
            let Value::Scalar(name) = &key.value else {
                map.unnamed.push(key);
                continue;
            };
            if name.is_merge() {
                merges.push(node);
                continue;
            }
            let name = name.text.to_string();
            if let Some(&first) = lines.get(&name) {
                map.duplicates.push(Duplicate { key: name, place: key.place, first });
            } else {
                lines.insert(name.clone(), key.place.line);
                map.entries.push(Entry { key: name, place: key.place, node });
            }
        }
        for merge in merges {
            map.merge(&merge);
        }
        map
    }

    /// Takes over the entries of another mapping, or of several, that this one does not have.
    fn merge(&mut self, other: &Node) {
        match &other.value {
            Value::Map(other) => self.inherit(other),
            Value::List(others) => {
                // no lists in lists: nested aliases would take forever
                for other in others {
                    if let Value::Map(other) = &other.value {
                        self.inherit(other);
                    }
                }
            }
            Value::Scalar(_) => {}
        }
    }

    fn inherit(&mut self, other: &Self) {
        for entry in &other.entries {
            if self.entry(&entry.key).is_none() {
                self.entries.push(entry.clone());
            }
        }
    }
}

impl Scalar {
    /// True if there is no value.
    pub fn is_null(&self) -> bool {
        self.tag() == "!!null"
    }

    /// True if it can only be a text: quoted, or no number, boolean or null.
    pub fn is_text(&self) -> bool {
        self.tag() == "!!str"
    }

    /// The tag of the core schema that it has, written or not.
    pub fn tag(&self) -> &str {
        if let Some(tag) = &self.tag {
            return tag;
        }
        match self.text.as_str() {
            _ if !self.plain => "!!str",
            "" | "~" | "null" | "Null" | "NULL" => "!!null",
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => "!!bool",
            text if is_integer(text) => "!!int",
            text if text.contains(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok() => "!!float",
            _ => "!!str",
        }
    }

    /// Its value, if it is a boolean.
    pub fn boolean(&self) -> Option<bool> {
        (self.tag() == "!!bool").then(|| self.text.eq_ignore_ascii_case("true"))
    }

    /// Its value, if it is an integer that fits.
    pub fn integer(&self) -> Option<i64> {
        if self.tag() != "!!int" {
            return None;
        }
        let (sign, digits) = match self.text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => ("", self.text.trim_start_matches('+')),
        };
        let radixes = [("0x", 16), ("0o", 8), ("0b", 2), ("", 10)];
        let (digits, radix) =
            radixes.iter().find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, *radix)))?;
        i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
    }

    fn is_merge(&self) -> bool {
        self.plain && *self.text == "<<"
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix = |prefix, radix| digits.strip_prefix(prefix).is_some_and(|d| u64::from_str_radix(d, radix).is_ok());
    digits.parse::<u64>().is_ok() || radix("0x", 16) || radix("0o", 8) || radix("0b", 2)
}

/// A collection whose end has not been seen.
enum Open {
    List(Vec<Rc<Node>>),
    Map { pairs: Vec<(Rc<Node>, Rc<Node>)>, key: Option<Rc<Node>> },
}

#[derive(Default)]
struct Loader {
    /// With the place and the anchor of each.
    open: Vec<(Open, Place, usize)>,
    anchors: BTreeMap<usize, Rc<Node>>,
}

impl Loader {
    /// Takes one event; the root once it is complete.
    fn event(&mut self, event: Event<'_>, place: Place) -> Result<Option<Rc<Node>>, Mistake> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| format!("!!{}", tag.suffix));
                let text = Zeroizing::new(text.into_owned());
                let scalar = Scalar { text, plain: style == ScalarStyle::Plain, tag };
                Ok(self.close(Node { place, value: Value::Scalar(scalar) }, anchor))
            }
            Event::SequenceStart(anchor, _) => self.start(Open::List(Vec::new()), place, anchor),
            Event::MappingStart(anchor, _) => self.start(Open::Map { pairs: Vec::new(), key: None }, place, anchor),
            Event::SequenceEnd | Event::MappingEnd => Ok(self.end()),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => Ok(self.insert(Rc::clone(node))),
                None => Err(Mistake::new(place, "anchor value contains itself")),
            },
            _ => Ok(None),
        }
    }

    fn start(&mut self, open: Open, place: Place, anchor: usize) -> Result<Option<Rc<Node>>, Mistake> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Mistake::new(place, format!("exceeded max depth of {MAX_DEPTH}")));
        }
        self.open.push((open, place, anchor));
        Ok(None)
    }

    fn end(&mut self) -> Option<Rc<Node>> {
        let (open, place, anchor) = self.open.pop()?;
        let value = match open {
            Open::List(items) => Value::List(items),
            Open::Map { pairs, .. } => Value::Map(Map::new(pairs)),
        };
        self.close(Node { place, value }, anchor)
    }

    fn close(&mut self, node: Node, anchor: usize) -> Option<Rc<Node>> {
        let node = Rc::new(node);
        // the parser counts anchors from 1
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.insert(node)
    }

    fn insert(&mut self, node: Rc<Node>) -> Option<Rc<Node>> {
        match self.open.last_mut() {
            None => return Some(node),
            Some((Open::List(items), ..)) => items.push(node),
            Some((Open::Map { pairs, key }, ..)) => match key.take() {
                Some(key) => pairs.push((key, node)),
                None => *key = Some(node),
            },
        }
        None
    }
}
