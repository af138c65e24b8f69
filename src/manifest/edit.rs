//! Another key in the text of kestack.yaml, with its comments and its order.

use std::collections::BTreeSet;
use std::rc::Rc;

use kes_server::auth::KeyName;
use kes_server::yaml::Value as Content;

use super::tree::{self, Node, entry};

/// Why a key cannot be exchanged in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uneditable {
    /// Where it stands, from 1; `None` if it does not stand there.
    pub line: Option<usize>,
    /// Why not.
    pub why: &'static str,
}

/// The text with `new` wherever a setting names `old`; as it is if none does. A file without `keys` gets them if `old` is
/// the key that then counts.
///
/// # Errors
/// If the file names both, or names one in a way that cannot be exchanged where it stands.
pub fn with_key(text: &str, old: &KeyName, new: &KeyName) -> Result<String, Uneditable> {
    let root = tree::load(text).map_err(|_| Uneditable { line: None, why: "it is not YAML" })?;
    let named = root.as_deref().map(named).unwrap_or_default();
    let text_of = |node: &Node| match &node.value {
        Content::Scalar(scalar) => Some(scalar.text.to_string()),
        _ => None,
    };
    let has = |name: &KeyName| named.iter().any(|node| text_of(node).as_deref() == Some(name.as_str()));
    let is_default = root.as_deref().is_none_or(|root| entry(root, "keys").is_none());
    let counts = has(old) || (is_default && *old == KeyName::minio_backend());
    if !counts {
        return Ok(text.to_owned());
    }
    if has(new) {
        return Err(Uneditable { line: None, why: "it names both keys" });
    }
    if is_default {
        return with_keys(text, root.as_deref(), new);
    }
    let places = named.iter().filter(|node| text_of(node).as_deref() == Some(old.as_str())).map(|node| node.place);
    // an alias stands where its anchor does; from the end on, so that earlier places stay
    let places: BTreeSet<_> = places.collect();
    let mut text = text.to_owned();
    for place in places.into_iter().rev() {
        let refused = Uneditable { line: Some(place.line), why: "the key does not stand there as a plain word" };
        let start = offset(&text, place.line, place.column).ok_or(refused.clone())?;
        let start = start + usize::from(text.get(start..).is_some_and(|rest| rest.starts_with(['"', '\''])));
        let rest = text.get(start..).and_then(|rest| rest.strip_prefix(old.as_str())).ok_or(refused.clone())?;
        if rest.starts_with(|sign: char| sign.is_ascii_alphanumeric() || "_-".contains(sign)) {
            return Err(refused);
        }
        text.replace_range(start..start + old.as_str().len(), new.as_str());
    }
    Ok(text)
}

/// The nodes that name keys.
fn named(root: &Node) -> Vec<Rc<Node>> {
    let list = |node: &Node, name: &str| match entry(node, name).map(|node| &node.value) {
        Some(Content::List(items)) => items.clone(),
        _ => vec![],
    };
    let value = |node: &Node, name: &str| match &node.value {
        Content::Map(map) => map.entries.iter().find(|entry| entry.key == name).map(|entry| entry.node.clone()),
        _ => None,
    };
    let mut named = list(root, "keys");
    named.extend(entry(root, "minio").and_then(|minio| value(minio, "default_key")));
    named.extend(list(root, "buckets").iter().filter_map(|bucket| value(bucket, "key")));
    named
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
        assert_eq!(edited(text, "old", "older").unwrap_err().why, "it names both keys");
    }

    #[test]
    fn keys_that_are_not_written_are_written() {
        assert_eq!(edited("", "minio-backend-key", "new").unwrap(), "keys: [new]\n");
        let text = "version: v1 # no line end";
        assert_eq!(edited(text, "minio-backend-key", "new").unwrap(), format!("{text}\nkeys: [new]\n"));
        assert_eq!(edited(text, "other", "new").unwrap(), text);
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
