//! YAML as a tree of nodes that know their lines (docs/kes-protocol.md §4.1).
//!
//! The parser is `saphyr-parser`; here its events become a tree with anchors resolved and merge keys applied.

use std::collections::BTreeMap;
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};
use zeroize::Zeroizing;

use super::ConfigError;

/// Nobody writes a configuration that deep; without a bound a hostile file would exhaust the stack.
const MAX_DEPTH: usize = 1_000;

/// A node and the line on which it starts, counted from 1.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(Map),
}

/// A scalar as written; what it means is for its reader to decide.
#[derive(Debug)]
pub(super) struct Scalar {
    pub(super) text: Zeroizing<String>,
    plain: bool,
    tag: Option<String>,
}

/// The entries of a mapping in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Map {
    pub(super) entries: Vec<(String, Rc<Node>)>,
    /// Keys that stand twice.
    pub(super) duplicates: Vec<Duplicate>,
    /// Keys that are lists or mappings.
    pub(super) unnamed: Vec<Rc<Node>>,
}

#[derive(Debug)]
pub(super) struct Duplicate {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) first: usize,
}

/// Reads the first document; later ones are not even looked at.
pub(super) fn parse(text: &str) -> Result<Rc<Node>, ConfigError> {
    if let Some(at) = text.find(is_forbidden) {
        let line = text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1;
        return Err(ConfigError::Yaml(format!("line {line}: control characters are not allowed")));
    }
    let mut loader = Loader::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax(&error))?;
        if let Some(root) = loader.event(event, span.start.line())? {
            return Ok(root);
        }
    }
    Err(ConfigError::Empty)
}

/// What YAML does not have as it is, only as an escape (YAML 1.2.2 §5.1).
fn is_forbidden(character: char) -> bool {
    (character.is_control() && !"\t\n\r\u{85}".contains(character)) || "\u{fffe}\u{ffff}".contains(character)
}

impl Map {
    pub(super) fn entry(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, node)| &**node)
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
                map.duplicates.push(Duplicate { key: name, line: key.line, first });
            } else {
                lines.insert(name.clone(), key.line);
                map.entries.push((name, node));
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
        for (key, node) in &other.entries {
            if self.entry(key).is_none() {
                self.entries.push((key.clone(), Rc::clone(node)));
            }
        }
    }
}

impl Scalar {
    pub(super) fn is_null(&self) -> bool {
        self.tag() == "!!null"
    }

    /// True if it can only be a text: quoted, or no number, boolean or null.
    pub(super) fn is_text(&self) -> bool {
        self.tag() == "!!str"
    }

    /// The tag of the core schema that it has, written or not.
    pub(super) fn tag(&self) -> &str {
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
    /// With the line and the anchor of each.
    open: Vec<(Open, usize, usize)>,
    anchors: BTreeMap<usize, Rc<Node>>,
}

impl Loader {
    /// Takes one event; the root once it is complete.
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<Option<Rc<Node>>, ConfigError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| format!("!!{}", tag.suffix));
                let text = Zeroizing::new(text.into_owned());
                let scalar = Scalar { text, plain: style == ScalarStyle::Plain, tag };
                Ok(self.close(Node { line, value: Value::Scalar(scalar) }, anchor))
            }
            Event::SequenceStart(anchor, _) => self.start(Open::List(Vec::new()), line, anchor),
            Event::MappingStart(anchor, _) => self.start(Open::Map { pairs: Vec::new(), key: None }, line, anchor),
            Event::SequenceEnd | Event::MappingEnd => Ok(self.end()),
            Event::Alias(anchor) => match self.anchors.get(&anchor) {
                Some(node) => Ok(self.insert(Rc::clone(node))),
                None => Err(ConfigError::Yaml(format!("line {line}: anchor value contains itself"))),
            },
            _ => Ok(None),
        }
    }

    fn start(&mut self, open: Open, line: usize, anchor: usize) -> Result<Option<Rc<Node>>, ConfigError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(ConfigError::Yaml(format!("line {line}: exceeded max depth of {MAX_DEPTH}")));
        }
        self.open.push((open, line, anchor));
        Ok(None)
    }

    fn end(&mut self) -> Option<Rc<Node>> {
        let (open, line, anchor) = self.open.pop()?;
        let value = match open {
            Open::List(items) => Value::List(items),
            Open::Map { pairs, .. } => Value::Map(Map::new(pairs)),
        };
        self.close(Node { line, value }, anchor)
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

/// The words and lines of MinIO KES for text that is not YAML.
fn syntax(error: &ScanError) -> ConfigError {
    let line = error.marker().line();
    let problem = error.info().split_once(", ").map_or(error.info(), |(_, problem)| problem);
    let (line, problem) = if problem == "found a tab" {
        // the parser points to the scalar before
        (line + 1, "found a tab character that violates indentation")
    } else if error.info().starts_with("while parsing") {
        // MinIO KES counts these from 0
        (line - usize::from(line > 0), problem)
    } else {
        (line, problem)
    };
    let place = if line == 0 { String::new() } else { format!("line {line}: ") };
    ConfigError::Yaml(format!("{place}{problem}"))
}
