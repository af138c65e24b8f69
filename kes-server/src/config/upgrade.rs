//! Rewrites older spellings as today's, by edits of the text: comments, order and layout stay (docs/kes-protocol.md
//! §4.7).

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::{Config, ConfigError, Environment, invalid};

/// A configuration in today's spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    /// The text of the file.
    pub text: String,
    /// The changes, a line each; empty if the file was up to date.
    pub changes: Vec<String>,
}

/// An entry of a mapping: where its key and its value stand, in characters.
#[derive(Debug)]
struct Entry {
    /// The keys from the root to this one.
    path: Vec<String>,
    key: std::ops::Range<usize>,
    /// Line and column of the key, from 0.
    column: usize,
    line: usize,
    value: std::ops::Range<usize>,
    value_line: usize,
    is_map: bool,
    is_plain: bool,
}

/// Replaces a range of characters.
type Edit = (std::ops::Range<usize>, String);

/// Rewrites the text of a configuration. The result means the same.
pub(super) fn upgrade(text: &str, env: Environment<'_>) -> Result<Upgraded, ConfigError> {
    let before = Config::parse(text, env)?;
    let characters: Vec<char> = text.chars().collect();
    let mut entries = entries(text)?;
    let (mut edits, mut changes) = (Vec::new(), Vec::new());
    for entry in &mut entries {
        // the parser ends a collection where the next thing begins
        while characters.get(entry.value.end.wrapping_sub(1)).is_some_and(|last| last.is_whitespace()) {
            entry.value.end -= 1;
        }
    }
    for entry in &entries {
        if let Some((edit, change)) = rewrite(entry, &entries, &characters) {
            edits.extend(edit);
            changes.push(change);
        }
    }
    let text = apply(characters, edits);
    let after = Config::parse(&text, env)?;
    if same(&before, &after) {
        Ok(Upgraded { text, changes })
    } else {
        Err(invalid(
            "this file cannot be rewritten without changing its meaning; change it by hand as the warnings say",
        ))
    }
}

/// Whether two configurations mean the same; their warnings may differ.
fn same(one: &Config, other: &Config) -> bool {
    let shown = |config: &Config| format!("{:?}", Config { warnings: Vec::new(), ..config.clone() });
    shown(one) == shown(other) && one.keystore == other.keystore
}

fn rewrite(entry: &Entry, all: &[Entry], text: &[char]) -> Option<(Vec<Edit>, String)> {
    let path: Vec<&str> = entry.path.iter().map(String::as_str).collect();
    let has = |path: &[&str]| all.iter().any(|entry| entry.path == path);
    match path.as_slice() {
        ["root"] if !has(&["admin", "identity"]) => {
            let value: String = text.get(entry.value.clone())?.iter().collect();
            let value = if entry.is_plain { format!("\"{value}\"") } else { value };
            let edit = (entry.key.start..entry.value.end, format!("admin: {{ identity: {value} }}"));
            Some((vec![edit], "root is now admin.identity".into()))
        }
        ["policy", name, "paths"] if !has(&["policy", name, "allow"]) => {
            Some((vec![(entry.key.clone(), "allow".into())], format!("policy.{name}.paths is now policy.{name}.allow")))
        }
        ["keys"] if entry.is_map && !has(&["keystore"]) => {
            Some((vec![(entry.key.clone(), "keystore".into())], "keys is now keystore".into()))
        }
        ["keystore" | "keys", "secretsmanager"] if !has(&[path.first()?, "aws"]) => {
            Some((nested(entry, text, "aws"), "keystore.secretsmanager is now keystore.aws.secretsmanager".into()))
        }
        _ => None,
    }
}

/// Puts an entry one level deeper, below `parent`.
fn nested(entry: &Entry, text: &[char], parent: &str) -> Vec<Edit> {
    let (start, end) = (entry.key.start, entry.value.end);
    if entry.value_line == entry.line {
        return vec![(start..start, format!("{parent}: {{ ")), (end..end, " }".into())];
    }
    let indent = " ".repeat(entry.column + 2);
    let mut edits = vec![(start..start, format!("{parent}:\n{indent}"))];
    let lines = text.iter().enumerate().take(end).skip(start).filter(|(_, character)| **character == '\n');
    edits.extend(lines.map(|(at, _)| (at + 1..at + 1, "  ".to_owned())));
    edits
}

fn apply(mut text: Vec<char>, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    for (range, replacement) in edits {
        text.splice(range, replacement.chars());
    }
    text.into_iter().collect()
}

/// A mapping or a list that is being read.
enum Open {
    List { start: usize, line: usize },
    Map { start: usize, line: usize, key: Option<Key> },
}

struct Key {
    text: String,
    span: std::ops::Range<usize>,
    line: usize,
    column: usize,
}

/// All entries of all mappings of the first document.
fn entries(text: &str) -> Result<Vec<Entry>, ConfigError> {
    let (mut open, mut found): (Vec<Open>, Vec<Entry>) = (Vec::new(), Vec::new());
    for event in Parser::new_from_str(text) {
        // the text was parsed before
        let (event, span) = event.map_err(|error| invalid(error.to_string()))?;
        let (start, end) = (span.start.index(), span.end.index());
        match event {
            Event::Scalar(text, style, ..) => {
                if let Some(Open::Map { key: key @ None, .. }) = open.last_mut() {
                    let (line, column) = (span.start.line(), span.start.col());
                    *key = Some(Key { text: text.into_owned(), span: start..end, line, column });
                } else {
                    value(&mut open, &mut found, (start..end, span.start.line()), false, style == ScalarStyle::Plain);
                }
            }
            Event::Alias(_) => value(&mut open, &mut found, (start..end, span.start.line()), false, false),
            Event::SequenceStart(..) => open.push(Open::List { start, line: span.start.line() }),
            Event::MappingStart(..) => open.push(Open::Map { start, line: span.start.line(), key: None }),
            Event::SequenceEnd | Event::MappingEnd => {
                let (is_map, start, line) = match open.pop() {
                    Some(Open::Map { start, line, .. }) => (true, start, line),
                    Some(Open::List { start, line }) => (false, start, line),
                    None => return Ok(found),
                };
                value(&mut open, &mut found, (start..end, line), is_map, false);
            }
            Event::DocumentEnd => return Ok(found),
            _ => {}
        }
    }
    Ok(found)
}

/// Notes the value of the innermost mapping's key.
fn value(
    open: &mut [Open],
    found: &mut Vec<Entry>,
    (span, value_line): (std::ops::Range<usize>, usize),
    is_map: bool,
    is_plain: bool,
) {
    let mut path: Vec<String> = open
        .iter()
        .filter_map(|open| match open {
            Open::Map { key: Some(key), .. } => Some(key.text.clone()),
            _ => None,
        })
        .collect();
    let Some(Open::Map { key, .. }) = open.last_mut() else { return };
    let Some(Key { text, span: key, line, column }) = key.take() else { return };
    path.pop();
    path.push(text);
    found.push(Entry { path, key, column, line, value: span, value_line, is_map, is_plain });
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "tls: { key: k, cert: c }\n";

    fn upgraded(text: &str) -> Upgraded {
        let env = |name: &str| (name == "ROOT").then(|| "a".repeat(64));
        upgrade(text, &env).unwrap()
    }

    #[test]
    fn every_old_spelling_is_rewritten_in_place() {
        let old = format!(
            "# ours\nroot: ${{ROOT}} # who\n{REST}policy:\n  app:\n    paths:\n    - /v1/key/*  # all\nkeys:\n  secretsmanager:\n    \
             endpoint: h\n    # where\n    region: r\n"
        );
        let new = format!(
            "# ours\nadmin: {{ identity: \"${{ROOT}}\" }} # who\n{REST}policy:\n  app:\n    allow:\n    - /v1/key/*  # all\nkeystore:\n  aws:\n    \
             secretsmanager:\n      endpoint: h\n      # where\n      region: r\n"
        );
        let upgraded = upgraded(&old);
        assert_eq!(upgraded.text, new);
        assert_eq!(upgraded.changes.len(), 4);
        assert!(Config::parse(&new, &|_| Some("a".into())).unwrap().warnings.is_empty());
    }

    #[test]
    fn a_section_in_braces_too() {
        let old = format!("root: x\n{REST}keystore: {{ secretsmanager: {{ endpoint: h, region: r }} }}\n");
        let new = "keystore: { aws: { secretsmanager: { endpoint: h, region: r } } }\n";
        assert!(upgraded(&old).text.ends_with(new), "{}", upgraded(&old).text);
    }

    #[test]
    fn what_is_up_to_date_stays_as_it_is() {
        let text = format!("admin: {{ identity: x }}\n{REST}keystore:\n  fs: {{ path: /k }}\n");
        assert_eq!(upgraded(&text), Upgraded { text, changes: vec![] });
    }
}
