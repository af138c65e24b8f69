//! Typed access to the tree: strings, lists, durations, with the environment's values in place (docs/kes-protocol.md
//! §4.2).
//!
//! A value of the wrong type is noted and read as absent, so that all mistakes of a file are reported at once. The
//! values of a file must not be used before [`Reader::finish`] has said that there were none.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::duration::{self, Nanoseconds};
use super::{ConfigError, Environment, Secret};
use crate::auth::spelling;
use crate::yaml::{self, Entry, Map, Node, Scalar, Value};

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

/// A scalar's value.
struct Expanded {
    text: Secret,
    /// The variable of the environment that has it.
    variable: Option<String>,
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
                    self.mistakes.borrow_mut().push((double.place.line, text));
                }
                map.unnamed.iter().for_each(|key| self.mistake(key, "string"));
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

    /// Keys that nobody asked for, in quotes and with the keys above them: `'keystore.vault.approle.retry'`. One that
    /// is like a key that was asked for comes with that.
    pub(super) fn unknown(&self, root: &Node) -> Vec<String> {
        let mut found = Vec::new();
        self.walk(root, "", &mut found);
        found
    }

    fn walk(&self, node: &Node, above: &str, found: &mut Vec<String>) {
        let Value::Map(map) = &node.value else { return };
        let asked = self.asked.borrow();
        let Some(asked) = asked.get(&std::ptr::from_ref(map)) else { return };
        for Entry { key, node: below, .. } in &map.entries {
            if asked.contains(key) {
                self.walk(below, &format!("{above}{key}."), found);
                continue;
            }
            let others = asked.iter().filter(|other| map.entry(other).is_none()).map(String::as_str);
            let nearest = spelling::nearest(key, others).map(|other| format!(" (is it '{other}'?)"));
            found.push(format!("'{above}{key}'{}", nearest.unwrap_or_default()));
        }
    }

    /// Shows nothing of a scalar: where a section or a list must be, it may be a secret.
    fn mistake(&self, node: &Node, wanted: &str) {
        let found = match &node.value {
            Value::Map(_) => "!!map",
            Value::List(_) => "!!seq",
            Value::Scalar(scalar) => scalar.tag(),
        };
        self.mistakes.borrow_mut().push((node.place.line, format!("cannot unmarshal {found} into {wanted}")));
    }

    /// The same for a scalar that must be something that is public; the value of a variable may be a secret.
    fn mistaken_value(&self, node: &Node, scalar: &Scalar, value: &Expanded, wanted: &str) {
        let found = match &value.variable {
            Some(variable) => format!("the value of '{variable}'"),
            None => format!("{} `{}`", scalar.tag(), shortened(&scalar.text)),
        };
        self.mistakes.borrow_mut().push((node.place.line, format!("cannot unmarshal {found} into {wanted}")));
    }

    /// The scalar with the environment's value in place of `${NAME}`.
    fn expand(&self, node: &Node, scalar: &Scalar) -> Expanded {
        let name = yaml::variable(&scalar.text);
        let Some(name) = name else { return Expanded { text: Secret::new(scalar.text.as_str()), variable: None } };
        let value = (self.env)(name);
        if value.is_none() {
            self.unset.borrow_mut().push((node.place.line, name.to_owned()));
        }
        Expanded { text: value.map(Secret::new).unwrap_or_default(), variable: Some(name.to_owned()) }
    }

    /// The items of a list; null is an empty one. Items that are null are left out: templates leave them behind.
    fn list(&self, node: Option<&'a Node>) -> impl Iterator<Item = &'a Node> {
        let items: &[std::rc::Rc<Node>] = match node.map(|node| (node, &node.value)) {
            Some((_, Value::List(items))) => items,
            Some((node, _)) => {
                self.mistake(node, "a list");
                &[]
            }
            None => &[],
        };
        let is_null = |node: &Node| matches!(&node.value, Value::Scalar(scalar) if scalar.is_null());
        items.iter().map(|node| &**node).filter(move |node| !is_null(node))
    }

    /// The text of a scalar; empty for null.
    fn text(&self, node: &Node, expanded: bool) -> Secret {
        match &node.value {
            Value::Scalar(scalar) if scalar.is_null() => Secret::default(),
            Value::Scalar(scalar) if expanded => self.expand(node, scalar).text,
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

    /// The value of a key, be it null.
    pub(super) fn entry(self, key: &str) -> Option<&'a Node> {
        let map = self.map?;
        self.reader.asked.borrow_mut().entry(std::ptr::from_ref(map)).or_default().insert(key.to_owned());
        map.entry(key)
    }

    /// The value of a key, unless it is null.
    pub(super) fn node(self, key: &str) -> Option<&'a Node> {
        self.entry(key).filter(|node| !matches!(&node.value, Value::Scalar(scalar) if scalar.is_null()))
    }

    pub(super) fn section(self, key: &str) -> Self {
        self.reader.section(self.node(key))
    }

    /// The sections by name, for mappings whose keys are names.
    pub(super) fn sections(self) -> impl Iterator<Item = (&'a str, Self)> {
        let entries = self.map.map_or(&[][..], |map| &map.entries);
        entries.iter().map(move |entry| (entry.key.as_str(), self.section(&entry.key)))
    }

    /// The mappings of a list.
    pub(super) fn items(self, key: &str) -> impl Iterator<Item = Self> {
        self.reader.list(self.node(key)).map(move |node| self.reader.section(Some(node)))
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
        let items = self.reader.list(self.node(key));
        items.map(|node| self.reader.text(node, expanded).expose().to_owned()).collect()
    }

    pub(super) fn duration(self, key: &str) -> Option<Nanoseconds> {
        let node = self.node(key)?;
        match &node.value {
            Value::Scalar(scalar) => {
                let value = self.reader.expand(node, scalar);
                // a plain number is none, not even zero
                let duration = duration::parse(value.text.expose()).filter(|_| scalar.is_text());
                if duration.is_none() {
                    self.reader.mistaken_value(node, scalar, &value, "time.Duration");
                }
                duration
            }
            Value::List(_) | Value::Map(_) => {
                self.reader.mistake(node, "time.Duration");
                None
            }
        }
    }

    /// A boolean, false if absent.
    pub(super) fn boolean(self, key: &str) -> bool {
        let Some(node) = self.node(key) else { return false };
        let Value::Scalar(scalar) = &node.value else {
            self.reader.mistake(node, "bool");
            return false;
        };
        let value = self.reader.expand(node, scalar);
        let is_boolean = scalar.tag() == "!!bool" || value.variable.is_some();
        let boolean = boolean(value.text.expose(), is_boolean);
        if boolean.is_none() {
            self.reader.mistaken_value(node, scalar, &value, "bool");
        }
        boolean.unwrap_or_default()
    }
}

/// `true` and `false` only if they are plain or the environment's; the words of YAML 1.1 also if quoted.
fn boolean(text: &str, is_boolean: bool) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" if is_boolean => Some(true),
        "false" | "False" | "FALSE" if is_boolean => Some(false),
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
