//! The oldest object under each key: whoever can read these can read what every earlier MinIO wrote.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::xl::{self, Protection, Stored, Version};
use super::{buckets, context, walk};

/// An object of the drive, in the version that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged {
    /// Its bucket.
    pub bucket: String,
    /// Its name.
    pub object: String,
    /// The ID of its version; `None` in a bucket that kept none.
    pub version: Option<String>,
    /// Name of the key that protects it; `None` if none does.
    pub key: Option<String>,
    /// Length as the client sees it, in bytes.
    pub bytes: u64,
    /// When it was written, in nanoseconds.
    written: i64,
}

/// The oldest version under each key, and the oldest that lies in clear. Reads all metadata of the drive. What only a
/// client's key opens is left out, and so are names that are not UTF-8.
///
/// # Errors
/// What keeps the drive from being read.
pub fn oldest(drive: &Path) -> io::Result<Vec<Aged>> {
    let mut all = Found::default();
    for bucket in buckets(drive)? {
        let folder = drive.join(&bucket);
        let read = |found: &mut Found, path: &Path| {
            let Some(object) = context::object(path, &folder) else { return Ok(()) };
            for version in xl::versions(path)?.into_iter().flatten() {
                if let Version::Object(stored) = version {
                    found.extend(aged(&bucket, &object, stored));
                }
            }
            Ok(())
        };
        for Found(tally) in walk::objects(&folder, read)? {
            all.extend(tally.into_values());
        }
    }
    Ok(all.0.into_values().collect())
}

/// The oldest seen of each key.
#[derive(Default)]
struct Found(BTreeMap<Option<String>, Aged>);

impl Extend<Aged> for Found {
    fn extend<T: IntoIterator<Item = Aged>>(&mut self, more: T) {
        for aged in more {
            let known = self.0.entry(aged.key.clone()).or_insert_with(|| aged.clone());
            if aged.written < known.written {
                *known = aged;
            }
        }
    }
}

fn aged(bucket: &str, object: &str, stored: Stored) -> Option<Aged> {
    let key = match stored.protection {
        Protection::Client => return None,
        Protection::None => None,
        Protection::Key { name, .. } => Some(name),
    };
    let Stored { bytes, written, version, .. } = stored;
    Some(Aged { bucket: bucket.to_owned(), object: object.to_owned(), version, key, bytes, written })
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
        let keys: Vec<_> = found.iter().map(|aged| aged.key.as_deref()).collect();
        assert_eq!(keys, [None, Some("minio-backend-key")]);
        let small = &found[1];
        assert_eq!((small.bucket.as_str(), small.bytes), ("docs", 6), "{small:?}");
        assert_eq!(small.object, "deep/small", "{small:?}");
        assert_eq!(small.version.as_deref().map(str::len), Some(36), "{small:?}");
        assert!(found[0].version.is_none() && ["plain", "folder/"].contains(&found[0].object.as_str()));
        assert!(found.iter().all(|aged| aged.written > 0));
    }
}
