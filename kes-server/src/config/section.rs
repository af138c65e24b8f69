//! Typed access to the tree: strings, lists, durations, with the environment's values in place (kes-api §4.2).
//!
//! What has the wrong type is noted and read as absent, so that all mistakes of a file are told at once. The values of
//! a file must not be used before [`Reader::finish`] has said that there were none.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::duration::{self, Nanoseconds};
use super::yaml::{Map, Node, Scalar, Value};
use super::{ConfigError, Environment, Secret};

/// Puts values of the environment in place and notes mistakes.
pub(super) struct Reader<'a> {
    env: Environment<'a>,
    mistakes: RefCell<Vec<(usize, String)>>,
    /// Variables that are not set.
    unset: RefCell<Vec<(usize, String)>>,
    /// Which keys of which mapping were asked for, by the mapping's address.
    asked: RefCell<BTreeMap<*const Map, BTreeSet<String>>>,
}

/// A mapping of the file, or nothing if it is absent or null.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    map: Option<&'a Map>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(env: Environment<'a>) -> Self {
        Self { env, mistakes: RefCell::default(), unset: RefCell::default(), asked: RefCell::default() }
    }

    /// The node as a mapping.
    pub(super) fn section(&'a self, node: Option<&'a Node>) -> Section<'a> {
        let map = match node.map(|node| (node, &node.value)) {
            Some((_, Value::Map(map))) => {
                for double in &map.duplicates {
                    let text = format!("mapping key \"{}\" already defined at line {}", double.key, double.first);
                    self.mistakes.borrow_mut().push((double.line, text));
                }
                Some(map)
            }
            Some((node, _)) => {
                self.mistake(node, "a mapping");
                None
            }
            None => None,
        };
        Section { reader: self, map }
    }

    /// Says what was wrong, if anything was: an unset variable first, then all that has the wrong type.
    pub(super) fn finish(&self) -> Result<(), ConfigError> {
        if let Some((line, name)) = self.unset.borrow().iter().min_by_key(|(line, _)| line) {
            return Err(ConfigError::Variable { name: name.clone(), line: *line });
        }
        let mut mistakes = self.mistakes.borrow_mut();
        if mistakes.is_empty() {
            return Ok(());
        }
        mistakes.sort_by_key(|(line, _)| *line);
        let lines: Vec<_> = mistakes.iter().map(|(line, text)| format!("\n  line {line}: {text}")).collect();
        Err(ConfigError::Yaml(format!("unmarshal errors:{}", lines.concat())))
    }

    /// Keys that nobody asked for, with the keys above them: `keystore.vault.approle.retry`.
    pub(super) fn unknown(&self, root: &Node) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(root, "", &mut found);
        found
    }

    fn walk(&self, node: &Node, above: &str, found: &mut Vec<String>) {
        let Value::Map(map) = &node.value else { return };
        let asked = self.asked.borrow();
        let Some(asked) = asked.get(&std::ptr::from_ref(map)) else { return };
        for (key, below) in &map.entries {
            if asked.contains(key) {
                self.walk(below, &format!("{above}{key}."), found);
            } else {
                found.push(format!("{above}{key}"));
            }
        }
    }

    fn mistake(&self, node: &Node, wanted: &str) {
        let found = match &node.value {
            Value::Map(_) => "!!map".into(),
            Value::List(_) => "!!seq".into(),
            Value::Scalar(scalar) => format!("{} `{}`", scalar.tag(), shortened(&scalar.text)),
        };
        self.mistakes.borrow_mut().push((node.line, format!("cannot unmarshal {found} into {wanted}")));
    }

    /// The scalar with the environment's value in place of `${NAME}`.
    fn expand(&self, node: &Node, scalar: &Scalar) -> Secret {
        let name = scalar.text.trim().strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).map(str::trim);
        let Some(name) = name else { return Secret::new(scalar.text.as_str()) };
        let value = (self.env)(name);
        if value.is_none() {
            self.unset.borrow_mut().push((node.line, name.to_owned()));
        }
        value.map(Secret::new).unwrap_or_default()
    }

    /// The node as a list; null is an empty one.
    fn list(&self, node: Option<&'a Node>) -> &'a [std::rc::Rc<Node>] {
        match node.map(|node| (node, &node.value)) {
            Some((_, Value::List(items))) => items,
            Some((node, _)) => {
                self.mistake(node, "a list");
                &[]
            }
            None => &[],
        }
    }

    /// The text of a scalar; empty for null.
    fn text(&self, node: &Node, expanded: bool) -> Secret {
        match &node.value {
            Value::Scalar(scalar) if scalar.is_null() => Secret::default(),
            Value::Scalar(scalar) if expanded => self.expand(node, scalar),
            Value::Scalar(scalar) => Secret::new(scalar.text.as_str()),
            Value::Map(_) | Value::List(_) => {
                self.mistake(node, "string");
                Secret::default()
            }
        }
    }
}

impl<'a> Section<'a> {
    /// True if the file has it, be it empty.
    pub(super) fn exists(self) -> bool {
        self.map.is_some()
    }

    /// The value of a key, unless it is null.
    pub(super) fn node(self, key: &str) -> Option<&'a Node> {
        let map = self.map?;
        self.reader.asked.borrow_mut().entry(std::ptr::from_ref(map)).or_default().insert(key.to_owned());
        map.entry(key).filter(|node| !matches!(&node.value, Value::Scalar(scalar) if scalar.is_null()))
    }

    pub(super) fn section(self, key: &str) -> Self {
        self.reader.section(self.node(key))
    }

    /// The sections by name, for mappings whose keys are names.
    pub(super) fn sections(self) -> impl Iterator<Item = (&'a str, Self)> {
        let entries = self.map.map_or(&[][..], |map| &map.entries);
        entries.iter().map(move |(name, _)| (name.as_str(), self.section(name)))
    }

    /// The mappings of a list.
    pub(super) fn items(self, key: &str) -> impl Iterator<Item = Self> {
        let is_null = |node: &Node| matches!(&node.value, Value::Scalar(scalar) if scalar.is_null());
        let items = self.reader.list(self.node(key)).iter();
        items.map(move |node| self.reader.section(Some(&**node).filter(|node| !is_null(node))))
    }

    /// A string, empty if absent.
    pub(super) fn string(self, key: &str) -> String {
        self.secret(key).expose().to_owned()
    }

    /// A string, or this one if absent or empty.
    pub(super) fn string_or(self, key: &str, default: &str) -> String {
        let text = self.string(key);
        if text.is_empty() { default.to_owned() } else { text }
    }

    /// A string that must not be shown, empty if absent.
    pub(super) fn secret(self, key: &str) -> Secret {
        self.node(key).map(|node| self.reader.text(node, true)).unwrap_or_default()
    }

    /// A list of strings.
    pub(super) fn strings(self, key: &str) -> Vec<String> {
        self.texts(key, true)
    }

    /// A list of strings in which `${NAME}` is nothing special.
    pub(super) fn patterns(self, key: &str) -> Vec<String> {
        self.texts(key, false)
    }

    fn texts(self, key: &str, expanded: bool) -> Vec<String> {
        let items = self.reader.list(self.node(key)).iter();
        items.map(|node| self.reader.text(node, expanded).expose().to_owned()).collect()
    }

    pub(super) fn duration(self, key: &str) -> Option<Nanoseconds> {
        let node = self.node(key)?;
        let duration = match &node.value {
            // a plain number is none, not even zero
            Value::Scalar(scalar) if scalar.is_text() => duration::parse(self.reader.expand(node, scalar).expose()),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => None,
        };
        if duration.is_none() {
            self.reader.mistake(node, "time.Duration");
        }
        duration
    }

    /// A boolean, false if absent.
    pub(super) fn boolean(self, key: &str) -> bool {
        let Some(node) = self.node(key) else { return false };
        let value = match &node.value {
            Value::Scalar(scalar) => boolean(scalar, self.reader.expand(node, scalar).expose()),
            Value::List(_) | Value::Map(_) => None,
        };
        if value.is_none() {
            self.reader.mistake(node, "bool");
        }
        value.unwrap_or_default()
    }
}

/// `true` and `false` only if plain; the words of YAML 1.1 also if quoted, and thus from the environment.
fn boolean(scalar: &Scalar, text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" if scalar.tag() == "!!bool" => Some(true),
        "false" | "False" | "FALSE" if scalar.tag() == "!!bool" => Some(false),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 10 {
        text.to_owned()
    } else {
        format!("{}...", text.chars().take(7).collect::<String>())
    }
}
