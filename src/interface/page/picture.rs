//! Which key encrypts which bucket, as a picture: keys on the left, buckets on the right, and a line for each use.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::operate::buckets::Entry;
use crate::operate::inventory::Report;

/// Most buckets in a picture; the table below it has all.
const MOST: usize = 24;
/// Height of a row, and the most signs of a name that fit.
const ROW: usize = 60;
const SIGNS: usize = 16;
/// Colours that the style knows for keys.
const COLOURS: usize = 6;

/// The name of MinIO's own files.
const MINIO: &str = "MinIO's files";
/// The name of all keys that only clients have: no key of KES can have it.
const CLIENTS: &str = "clients' keys";

/// A picture.
#[derive(Debug, Default, Serialize)]
pub(super) struct Picture {
    height: usize,
    keys: Vec<Node>,
    buckets: Vec<Node>,
    lines: Vec<Line>,
    /// Buckets that did not fit.
    more: usize,
    /// Keys that did not fit.
    more_keys: usize,
    /// What the picture says, for whoever does not see it.
    words: String,
}

/// A key or a bucket.
#[derive(Debug, Serialize)]
struct Node {
    name: String,
    short: String,
    below: String,
    y: usize,
    /// Number of the colour; none where nothing encrypts.
    colour: Option<usize>,
}

/// That a key protects a bucket.
#[derive(Debug, Serialize)]
struct Line {
    from: usize,
    to: usize,
    colour: Option<usize>,
    /// True if only new objects would use it.
    waiting: bool,
}

/// What uses what, and how many objects there are.
#[derive(Default)]
struct Uses {
    /// By bucket and key; no key stands for none.
    pairs: BTreeMap<(String, Option<String>), u64>,
    keys: BTreeSet<String>,
}

impl Picture {
    /// The picture of what is on the drive and of what the buckets will do with new objects.
    pub(super) fn of(report: &Report, buckets: &[Entry], keys: impl IntoIterator<Item = String>) -> Self {
        let mut uses = Uses { keys: keys.into_iter().collect(), ..Uses::default() };
        for bucket in buckets {
            uses.pairs.insert((bucket.name.clone(), bucket.key.clone()), 0);
        }
        for (key, used) in &report.inventory.keys {
            for (bucket, count) in &used.buckets {
                *uses.pairs.entry((bucket.clone(), Some(key.clone()))).or_default() += count.objects;
            }
            if used.minio_files > 0 {
                uses.pairs.insert((MINIO.to_owned(), Some(key.clone())), used.minio_files);
            }
        }
        for (bucket, count) in &report.inventory.client_keys {
            *uses.pairs.entry((bucket.clone(), Some(CLIENTS.to_owned()))).or_default() += count.objects;
        }
        for (bucket, count) in &report.inventory.unencrypted {
            *uses.pairs.entry((bucket.clone(), None)).or_default() += count.objects;
        }
        uses.keys.extend(uses.pairs.keys().filter_map(|(_, key)| key.clone()));
        uses.draw()
    }
}

impl Uses {
    fn draw(&self) -> Picture {
        let mut names: Vec<_> = self.pairs.keys().map(|(bucket, _)| bucket.clone()).collect();
        names.dedup();
        names.sort_by_key(|name| name == MINIO);
        let more = names.len().saturating_sub(MOST);
        names.truncate(MOST);
        let (keys, more_keys) = self.shown_keys(&names);
        let rows = names.len().max(keys.len());
        let words = self.words();
        let mut picture = Picture { height: rows * ROW + 10, more, more_keys, words, ..Picture::default() };
        picture.keys =
            keys.iter().enumerate().map(|(n, key)| self.key(n, key.as_deref(), place(n, keys.len(), rows))).collect();
        for (n, name) in names.iter().enumerate() {
            self.bucket(&mut picture, &keys, name, place(n, names.len(), rows));
        }
        picture
    }

    /// The keys that fit, and how many do not: those that these buckets use come first, and no key has its place.
    fn shown_keys(&self, buckets: &[String]) -> (Vec<Option<String>>, usize) {
        let pairs = self.pairs.keys().filter(|(bucket, _)| buckets.contains(bucket));
        let used: BTreeSet<Option<&str>> = pairs.map(|(_, key)| key.as_deref()).collect();
        let has_none = used.contains(&None);
        let (mut keys, spare): (Vec<_>, Vec<_>) =
            self.keys.iter().map(String::as_str).partition(|key| used.contains(&Some(*key)));
        keys.extend(spare);
        let room = MOST - usize::from(has_none);
        let more = keys.len().saturating_sub(room);
        keys.truncate(room);
        keys.sort_unstable();
        let keys = keys.into_iter().map(|key| Some(key.to_owned()));
        (keys.chain(has_none.then_some(None)).collect(), more)
    }

    fn key(&self, number: usize, key: Option<&str>, y: usize) -> Node {
        let objects = self.pairs.iter().filter(|((bucket, used), _)| used.as_deref() == key && bucket != MINIO);
        let name = key.unwrap_or("no key").to_owned();
        let colour = key.map(|_| number % COLOURS);
        Node { short: short(&name), below: counted(objects.map(|(_, count)| count).sum()), name, y, colour }
    }

    fn bucket(&self, picture: &mut Picture, keys: &[Option<String>], name: &str, y: usize) {
        let own = self.pairs.iter().filter(|((bucket, _), _)| bucket == name);
        let mut objects = 0;
        for ((_, key), count) in own {
            objects += count;
            if let Some(number) = keys.iter().position(|known| known == key)
                && let Some(from) = picture.keys.get(number)
            {
                picture.lines.push(Line { from: from.y, to: y, colour: from.colour, waiting: *count == 0 });
            }
        }
        let below = if name == MINIO { plural(objects, "file") } else { counted(objects) };
        picture.buckets.push(Node { short: short(name), name: name.to_owned(), below, y, colour: None });
    }

    fn words(&self) -> String {
        let said = self.pairs.iter().map(|((bucket, key), count)| match key {
            Some(key) => format!("key {key} protects {} of {bucket}", counted(*count)),
            None => format!("nothing protects {} of {bucket}", counted(*count)),
        });
        let mut said: Vec<_> = said.take(MOST).collect();
        if let left @ 1.. = self.pairs.len().saturating_sub(MOST) {
            said.push(format!("and {left} more"));
        }
        said.join("; ")
    }
}

/// The middle of a row; the shorter column is in the middle of the longer.
fn place(number: usize, count: usize, rows: usize) -> usize {
    number * ROW + (rows - count) * ROW / 2 + ROW / 2 + 5
}

fn short(name: &str) -> String {
    if name.chars().count() <= SIGNS { name.to_owned() } else { name.chars().take(SIGNS - 1).chain(['…']).collect() }
}

fn counted(objects: u64) -> String {
    plural(objects, "object")
}

fn plural(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::drive::{Count, Inventory, KeyUse};

    fn report() -> Report {
        let count = Count { objects: 3, versions: 3, bytes: 30 };
        let used = KeyUse { buckets: [("docs".to_owned(), count)].into(), minio_files: 2, ..KeyUse::default() };
        let mut inventory = Inventory { keys: [("one".to_owned(), used)].into(), ..Inventory::default() };
        inventory.unencrypted.insert("open".into(), count);
        Report { name: "a".into(), inventory, unused_keys: vec![] }
    }

    #[test]
    fn every_use_is_a_line_from_its_key_to_its_bucket() {
        let empty = Entry {
            name: "empty".into(),
            encryption: "sse-kms".into(),
            key: Some("two".into()),
            automatic: false,
            versioning: false,
        };
        let picture = Picture::of(&report(), &[empty], ["spare".to_owned()]);
        let names = |nodes: &[Node]| nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&picture.keys), ["one", "spare", "two", "no key"]);
        assert_eq!(names(&picture.buckets), ["docs", "empty", "open", MINIO]);
        let at = |nodes: &[Node], name: &str| nodes.iter().find(|node| node.name == name).unwrap().y;
        let has = |key: &str, bucket: &str, waiting: bool| {
            let (from, to) = (at(&picture.keys, key), at(&picture.buckets, bucket));
            picture.lines.iter().any(|line| (line.from, line.to, line.waiting) == (from, to, waiting))
        };
        assert!(has("one", "docs", false) && has("one", MINIO, false) && has("two", "empty", true));
        assert!(has("no key", "open", false));
        assert_eq!(picture.lines.len(), 4);
        assert!(picture.words.contains("nothing protects 3 objects of open"), "{}", picture.words);
    }

    #[test]
    fn keys_in_use_and_no_key_have_their_places_among_many() {
        let keys = (0..100).map(|number| format!("a{number}"));
        let mut report = report();
        let count = Count { objects: 4, versions: 4, bytes: 4 };
        report.inventory.client_keys.insert("docs".into(), count);
        let picture = Picture::of(&report, &[], keys);
        let names: Vec<_> = picture.keys.iter().map(|node| node.name.as_str()).collect();
        assert!(["one", CLIENTS, "no key"].iter().all(|name| names.contains(name)), "{names:?}");
        assert_eq!((names.len(), picture.more_keys, picture.lines.len()), (MOST, 102 - (MOST - 1), 4));
    }

    #[test]
    fn long_names_and_many_buckets_fit() {
        let entry = |n: usize| Entry {
            name: format!("{n:060}"),
            encryption: "none".into(),
            key: None,
            automatic: false,
            versioning: false,
        };
        let buckets: Vec<_> = (0..100).map(entry).collect();
        let picture = Picture::of(&report(), &buckets, []);
        assert_eq!((picture.buckets.len(), picture.more), (MOST, 79));
        assert!(picture.words.ends_with("; and 79 more"), "{}", picture.words);
        assert!(picture.buckets.iter().all(|node| node.short.chars().count() <= SIGNS));
    }
}
