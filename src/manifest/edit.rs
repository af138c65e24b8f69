//! Another key in the text of kestack.yaml, with its comments and its order.

use std::ops::Range;
use std::rc::Rc;

use kes_server::auth::KeyName;
use kes_server::yaml::{Place, Value as Content};

use super::tree::{self, Node, entry};

/// What may be around a word.
const QUOTES: [char; 2] = ['"', '\''];

/// Why a key cannot be exchanged in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uneditable {
    /// Where it is, from 1; `None` if it is not there.
    pub line: Option<usize>,
    /// Why not.
    pub why: &'static str,
}

/// The text with `new` wherever a setting names `old`; unchanged if none does. If `keys` lists both, the entry of `old`
/// is removed. A file without `keys` gets them if `old` is the key that then counts.
///
/// # Errors
/// If the file names one in a way that cannot be exchanged where it is.
pub fn with_key(text: &str, old: &KeyName, new: &KeyName) -> Result<String, Uneditable> {
    let root = tree::load(text).map_err(|_| Uneditable { line: None, why: "it is not YAML" })?;
    let named = root.as_deref().map(Named::of).unwrap_or_default();
    let is_default = root.as_deref().is_none_or(|root| entry(root, "keys").is_none());
    let has = |name: &KeyName| named.all().any(|node| is(node, name));
    let counts = has(old) || (is_default && *old == KeyName::minio_backend());
    if !counts {
        return Ok(text.to_owned());
    }
    let gone = named.to_remove(old, new);
    let edited = changed(text, named.changes(text, (old, new), gone)?)?;
    if is_default {
        return with_keys(&edited, root.as_deref(), new);
    }
    // whatever the form of the list, it must have become this one
    let kept = named.keys().filter(|key| gone.is_none_or(|gone| *key != gone.as_str()));
    let wanted = kept.map(|key| if key == old.as_str() { new.to_string() } else { key });
    let root = tree::load(&edited).ok().flatten();
    let found = root.as_deref().map(Named::of).unwrap_or_default();
    if found.keys().eq(wanted) && !found.all().any(|node| is(node, old)) {
        return Ok(edited);
    }
    Err(Uneditable { line: None, why: "`keys` is written in a form that kestack does not change" })
}

/// A part of the text, and what comes in its place.
type Change = (Range<usize>, String);

/// The nodes that name keys.
#[derive(Default)]
struct Named {
    /// In `keys`.
    listed: Vec<Rc<Node>>,
    /// As a default, of MinIO or of a bucket.
    elsewhere: Vec<Rc<Node>>,
    /// True if the first of the list is MinIO's default.
    first_is_default: bool,
}

impl Named {
    fn of(root: &Node) -> Self {
        let list = |node: &Node, name: &str| match entry(node, name).map(|node| &node.value) {
            Some(Content::List(items)) => items.clone(),
            _ => vec![],
        };
        let value = |node: &Node, name: &str| match &node.value {
            Content::Map(map) => map.entries.iter().find(|entry| entry.key == name).map(|entry| entry.node.clone()),
            _ => None,
        };
        let default = entry(root, "minio").and_then(|minio| value(minio, "default_key"));
        let first_is_default = default.is_none();
        let mut elsewhere: Vec<_> = default.into_iter().collect();
        elsewhere.extend(list(root, "buckets").iter().filter_map(|bucket| value(bucket, "key")));
        Self { listed: list(root, "keys"), elsewhere, first_is_default }
    }

    /// What changes where keys are named.
    fn changes(
        &self,
        text: &str,
        (old, new): (&KeyName, &KeyName),
        gone: Option<&KeyName>,
    ) -> Result<Vec<Change>, Uneditable> {
        let mut changes = Vec::new();
        for node in &self.listed {
            match gone {
                Some(gone) if is(node, gone) => changes.push(removal(text, node.place, gone)?),
                _ if is(node, old) => changes.push((word(text, node.place, old)?, new.to_string())),
                _ => {}
            }
        }
        for node in self.elsewhere.iter().filter(|node| is(node, old)) {
            changes.push((word(text, node.place, old)?, new.to_string()));
        }
        Ok(changes)
    }

    fn all(&self) -> impl Iterator<Item = &Rc<Node>> {
        self.listed.iter().chain(&self.elsewhere)
    }

    /// The list as it is written.
    fn keys(&self) -> impl Iterator<Item = String> {
        self.listed.iter().map(|node| text_of(node).unwrap_or_default())
    }

    /// Which of two listed keys is removed: the former one, unless that made another key than the new one MinIO's
    /// default.
    fn to_remove<'a>(&self, old: &'a KeyName, new: &'a KeyName) -> Option<&'a KeyName> {
        let place = |name: &KeyName| self.listed.iter().position(|node| is(node, name));
        match (place(old)?, place(new)?) {
            (0, further) if further > 1 && self.first_is_default => Some(new),
            _ => Some(old),
        }
    }
}

fn text_of(node: &Node) -> Option<String> {
    match &node.value {
        Content::Scalar(scalar) => Some(scalar.text.to_string()),
        _ => None,
    }
}

fn is(node: &Node, name: &KeyName) -> bool {
    text_of(node).as_deref() == Some(name.as_str())
}

/// The text with all changes; an alias has the place of its anchor, and is changed with it.
fn changed(text: &str, mut changes: Vec<Change>) -> Result<String, Uneditable> {
    changes.sort_unstable_by_key(|(part, _)| (part.start, part.end));
    changes.dedup();
    let (mut text, mut end) = (text.to_owned(), text.len());
    // from the end on, so that earlier places stay
    for (part, instead) in changes.into_iter().rev() {
        if part.end > end {
            return Err(Uneditable { line: None, why: "an alias names it" });
        }
        end = part.start;
        text.replace_range(part, &instead);
    }
    Ok(text)
}

/// Where the name of a key is, without its quotes.
fn word(text: &str, place: Place, name: &KeyName) -> Result<Range<usize>, Uneditable> {
    let refused = || Uneditable { line: Some(place.line), why: "the key does not stand there as a plain word" };
    let start = offset(text, place.line, place.column).ok_or_else(refused)?;
    let start = start + usize::from(text.get(start..).is_some_and(|rest| rest.starts_with(QUOTES)));
    let rest = text.get(start..).and_then(|rest| rest.strip_prefix(name.as_str())).ok_or_else(refused)?;
    if rest.starts_with(|sign: char| sign.is_ascii_alphanumeric() || "_-".contains(sign)) {
        return Err(refused());
    }
    Ok(start..start + name.as_str().len())
}

/// The end of an entry of a list: of its line, whose comment stays, or up to the comma of the next one.
fn removal(text: &str, place: Place, name: &KeyName) -> Result<Change, Uneditable> {
    let refused = || Uneditable { line: Some(place.line), why: "the entry cannot be taken out of `keys` there" };
    let Range { start, end } = word(text, place, name)?;
    let (before, after) = (text.get(..start).ok_or_else(refused)?, text.get(end..).ok_or_else(refused)?);
    let quotes = usize::from(before.ends_with(QUOTES));
    let before = before.get(..start - quotes).ok_or_else(refused)?;
    let after = after.get(quotes..).ok_or_else(refused)?;
    let line = before.rfind('\n').map_or(0, |end| end + 1);
    if before.get(line..).is_some_and(|before| before.trim() == "-") {
        let (rest, next) = after.split_once('\n').unwrap_or((after, ""));
        let indent = before.get(line..).and_then(|before| before.split('-').next()).unwrap_or_default();
        return match rest.trim() {
            "" => Ok((line..text.len() - next.len(), String::new())),
            comment if comment.starts_with('#') => Ok((line..text.len() - next.len(), format!("{indent}{comment}\n"))),
            _ => Err(refused()),
        };
    }
    if let Some(next) = after.trim_start().strip_prefix(',') {
        return Ok((before.len()..text.len() - next.trim_start_matches(' ').len(), String::new()));
    }
    match before.trim_end().strip_suffix(',') {
        Some(others) => Ok((others.len()..text.len() - after.len(), String::new())),
        None => Err(refused()),
    }
}

/// The text with a line of its own for the keys.
fn with_keys(text: &str, root: Option<&Node>, new: &KeyName) -> Result<String, Uneditable> {
    let is_block = match root.map(|root| &root.value) {
        None => true,
        Some(Content::Map(map)) => map.entries.iter().all(|entry| entry.place.column == 1) && !text.contains("\n..."),
        Some(_) => false,
    };
    if !is_block {
        return Err(Uneditable { line: None, why: "it has no line of its own for each setting" });
    }
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    Ok(format!("{text}{end}keys: [{new}]\n"))
}

fn offset(text: &str, line: usize, column: usize) -> Option<usize> {
    let start = match line.checked_sub(1)? {
        0 => 0,
        before => text.match_indices('\n').nth(before - 1)?.0 + 1,
    };
    let (within, _) = text.get(start..)?.char_indices().nth(column.checked_sub(1)?)?;
    Some(start + within)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn edited(text: &str, old: &str, new: &str) -> Result<String, Uneditable> {
        let edited = with_key(text, &old.parse().unwrap(), &new.parse().unwrap());
        if let Ok(text) = &edited {
            super::super::parse(text, Path::new("/"), &|_| None).unwrap();
        }
        edited
    }

    #[test]
    fn a_key_is_exchanged_wherever_a_setting_names_it_and_all_else_stays() {
        let text = "# old stays here\nname: old # and here\nkeys:\n  - \"old\"   # first\n  - older\nminio: {port: 0, default_key: 'old'}\n\
                    buckets:\n  # ü\n  - {name: old, key: old}\n  - { key: older, name: abc }\n";
        let expected = "# old stays here\nname: old # and here\nkeys:\n  - \"newest\"   # first\n  - older\nminio: {port: 0, default_key: 'newest'}\n\
                        buckets:\n  # ü\n  - {name: old, key: newest}\n  - { key: older, name: abc }\n";
        assert_eq!(edited(text, "old", "newest").unwrap(), expected);
        assert_eq!(edited(expected, "newest", "old").unwrap(), text, "and back");
        assert_eq!(edited(text, "other", "newest").unwrap(), text, "nothing names it");
    }

    #[test]
    fn of_two_listed_keys_the_former_goes() {
        for (text, expected) in [
            ("keys: [old, new] # both\n", "keys: [new] # both\n"),
            ("keys: [ a, new, 'old' ]\n", "keys: [ a, new ]\n"),
            ("keys: [new, old, a]\nminio: { default_key: old }\n", "keys: [new, a]\nminio: { default_key: new }\n"),
            (
                "keys:\n- new\n- \"old\"\nbuckets: [{ name: abc, key: old }]\n",
                "keys:\n- new\nbuckets: [{ name: abc, key: new }]\n",
            ),
            (
                "# all\nkeys:\n  # ü\n  - old   # first\n  # then\n  - new\n",
                "# all\nkeys:\n  # ü\n  # first\n  # then\n  - new\n",
            ),
            ("keys:\n  - new\n  - old", "keys:\n  - new\n"),
            ("keys: [\n  old, # first\n  new, # then\n]\n", "keys: [\n  # first\n  new, # then\n]\n"),
            // the first is MinIO's default
            ("keys: [old, a, new]\n", "keys: [new, a]\n"),
            ("keys: [old, a, new]\nminio: { default_key: a }\n", "keys: [a, new]\nminio: { default_key: a }\n"),
            ("keys:\n  - old # first\n  - a\n  - new # last\n", "keys:\n  - new # first\n  - a\n  # last\n"),
        ] {
            assert_eq!(edited(text, "old", "new").unwrap(), expected, "{text}");
        }
        assert_eq!(edited("keys: [new, a]\n", "old", "new").unwrap(), "keys: [new, a]\n", "again");
        let refused = edited("keys: [&k old, new]\nbuckets: [{ name: abc, key: *k }]\n", "old", "new");
        assert!(refused.is_err(), "the alias would lose its anchor: {refused:?}");
    }

    #[test]
    fn keys_that_are_not_written_are_written() {
        assert_eq!(edited("", "minio-backend-key", "new").unwrap(), "keys: [new]\n");
        let text = "version: v1 # no line end";
        assert_eq!(edited(text, "minio-backend-key", "new").unwrap(), format!("{text}\nkeys: [new]\n"));
        assert_eq!(edited(text, "other", "new").unwrap(), text);
        let text = "buckets: [{ name: abc, key: minio-backend-key }]\n";
        let expected = "buckets: [{ name: abc, key: new }]\nkeys: [new]\n";
        assert_eq!(edited(text, "minio-backend-key", "new").unwrap(), expected);
        assert!(edited("{ version: v1 }", "minio-backend-key", "new").is_err());
    }

    #[test]
    fn an_alias_follows_its_anchor_and_what_is_written_otherwise_is_refused() {
        let text = "keys: [&k old]\nbuckets: [{ name: abc, key: *k }]\n";
        match edited(text, "old", "new") {
            Ok(edited) => assert_eq!(edited, text.replace("old", "new")),
            Err(refused) => assert_eq!(refused.line, Some(1)),
        }
        let refused = edited("keys: [\"o\\x6cd\"]\n", "old", "new").unwrap_err();
        assert_eq!(refused.line, Some(1));
    }
}
