//! The oldest and the newest objects under each key: whoever can read these can read what every earlier MinIO wrote.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use super::each::{Item, Opens, each};

/// The oldest version under each key, and the oldest that is in clear.
///
/// # Errors
/// As [`ends`].
pub fn oldest(drive: &Path) -> io::Result<Vec<Item>> {
    ends(drive, 1, 0)
}

/// So many of the oldest and of the newest versions under each key, and of those that lie in clear, each once. Reads all
/// metadata of the drive. What only a client's key opens is left out, and so are names that are not UTF-8.
///
/// # Errors
/// What keeps the drive from being read.
pub fn ends(drive: &Path, oldest: usize, newest: usize) -> io::Result<Vec<Item>> {
    let found: Mutex<BTreeMap<Opens, Ends>> = Mutex::default();
    each(drive, |item| {
        let is_asked_for = matches!(item.opens, Opens::Clear | Opens::Key(_)) && item.meta.to_str().is_some();
        if is_asked_for && let Ok(mut found) = found.lock() {
            found.entry(item.opens.clone()).or_default().add(item, oldest, newest);
        }
        Ok(())
    })?;
    let found = found.into_inner().unwrap_or_default();
    Ok(found.into_values().flat_map(Ends::once).map(|(_, item)| item).collect())
}

/// What sorts versions: when they were written, then their names.
type Age = (i64, String, String, Option<String>);

/// The ends of one key.
#[derive(Default)]
struct Ends {
    oldest: BTreeMap<Age, Item>,
    newest: BTreeMap<Age, Item>,
}

impl Ends {
    fn add(&mut self, item: Item, oldest: usize, newest: usize) {
        let age = (item.written, item.bucket.clone(), item.object.clone(), item.version.clone());
        let is_old =
            self.oldest.len() < oldest || self.oldest.last_key_value().is_some_and(|(youngest, _)| age < *youngest);
        let is_new = self.newest.len() < newest || self.newest.first_key_value().is_some_and(|(first, _)| age > *first);
        if is_old {
            self.oldest.insert(age.clone(), item.clone());
            if self.oldest.len() > oldest {
                self.oldest.pop_last();
            }
        }
        if is_new {
            self.newest.insert(age, item);
            if self.newest.len() > newest {
                self.newest.pop_first();
            }
        }
    }

    /// Both, without those that are among both.
    fn once(self) -> BTreeMap<Age, Item> {
        let Self { mut oldest, newest } = self;
        oldest.extend(newest);
        oldest
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_oldest_version_of_each_key_is_found() {
        let drive = tempfile::tempdir().unwrap();
        let place = |path: &str, content: &[u8]| fixture::place(drive.path(), path, content);
        place("docs/deep/small", include_bytes!("testdata/versions.meta"));
        place("docs/mp", include_bytes!("testdata/multipart.meta"));
        place("docs/plain", include_bytes!("testdata/plain.meta"));
        place("docs/folder__XLDIR__", include_bytes!("testdata/plain.meta"));
        place("other/strange", b"XL2 \x02\x00 something to come");
        let found = oldest(drive.path()).unwrap();
        let keys: Vec<_> = found.iter().map(|item| item.opens.clone()).collect();
        assert_eq!(keys, [Opens::Clear, Opens::Key("minio-backend-key".into())]);
        let small = &found[1];
        assert_eq!((small.bucket.as_str(), small.bytes), ("docs", 6), "{small:?}");
        assert_eq!(small.object, "deep/small", "{small:?}");
        assert_eq!(small.version.as_deref().map(str::len), Some(36), "{small:?}");
        assert!(found[0].version.is_none() && ["plain", "folder/"].contains(&found[0].object.as_str()));
        assert!(found.iter().all(|item| item.written > 0));
    }

    #[test]
    fn both_ends_of_each_key_come_once() {
        let item = |written: i64| Item {
            bucket: "b".into(),
            object: written.to_string(),
            version: None,
            bytes: 1,
            written,
            opens: Opens::Clear,
            is_current: true,
            meta: "b/o/xl.meta".into(),
        };
        let chosen = |count: usize, all: &[i64]| {
            let mut ends = Ends::default();
            for written in all {
                ends.add(item(*written), count, count);
            }
            ends.once().into_values().map(|item| item.written).collect::<Vec<_>>()
        };
        assert_eq!(chosen(2, &[5, 1, 9, 3, 7, 4]), [1, 3, 7, 9]);
        assert_eq!(chosen(2, &[5, 1, 9]), [1, 5, 9]);
        assert_eq!(chosen(2, &[]), [0_i64; 0]);
    }
}
