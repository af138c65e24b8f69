//! Every version on a drive, as clients ask for it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::xl::{self, Protection, Version};
use super::{buckets, context, walk};

/// A version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its bucket.
    pub bucket: String,
    /// Its name.
    pub object: String,
    /// The ID of its version; `None` in a bucket that kept none.
    pub version: Option<String>,
    /// Length as the client sees it, in bytes.
    pub bytes: u64,
    /// When it was written, in nanoseconds since 1970; 0 if that is not known.
    pub written: i64,
    /// What opens it.
    pub opens: Opens,
    /// True if a client that names no version gets this one.
    pub is_current: bool,
    /// The metadata file, below the drive.
    pub meta: PathBuf,
}

/// What opens a version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opens {
    /// Nothing is needed: it is in clear.
    Clear,
    /// The key of that name.
    Key(String),
    /// A key of the client (SSE-C).
    Client,
    /// Its metadata is not understood, or cannot be read; only MinIO can say.
    Unknown,
}

/// Calls `visit`, in several threads, with every version on the drive. Delete markers hold nothing and are left out.
///
/// # Errors
/// What keeps a folder from being read, and those of `visit`.
pub fn each(drive: &Path, visit: impl Fn(Item) -> io::Result<()> + Sync) -> io::Result<()> {
    for bucket in buckets(drive)? {
        let folder = drive.join(&bucket);
        let read = |(): &mut (), path: &Path| {
            let place = Place { bucket: &bucket, folder: &folder, meta: path, drive };
            place.items()?.into_iter().try_for_each(&visit)
        };
        walk::objects(&folder, read)?;
    }
    Ok(())
}

/// Where the metadata of an object is.
struct Place<'a> {
    bucket: &'a str,
    folder: &'a Path,
    meta: &'a Path,
    drive: &'a Path,
}

impl Place<'_> {
    fn items(&self) -> io::Result<Vec<Item>> {
        let versions = match xl::versions(self.meta) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(error),
            read => read.ok().flatten().filter(|versions| !versions.contains(&Version::Unknown)),
        };
        let Some(versions) = versions else { return Ok(vec![self.item(None, (0, 0), Opens::Unknown, true)]) };
        let stored = versions.into_iter().enumerate().filter_map(|(number, version)| match version {
            Version::Object(stored) => Some((number, stored)),
            Version::DeleteMarker | Version::Unknown => None,
        });
        let item = |(number, stored): (usize, xl::Stored)| {
            let opens = match stored.protection {
                Protection::None => Opens::Clear,
                Protection::Client => Opens::Client,
                Protection::Key { name, .. } => Opens::Key(name),
            };
            // MinIO keeps the latest first
            self.item(stored.version, (stored.bytes, stored.written), opens, number == 0)
        };
        Ok(stored.map(item).collect())
    }

    fn item(&self, version: Option<String>, (bytes, written): (u64, i64), opens: Opens, is_current: bool) -> Item {
        let object = context::object(self.meta, self.folder).unwrap_or_else(|| {
            let folder = self.meta.parent().and_then(|folder| folder.strip_prefix(self.folder).ok());
            folder.unwrap_or(self.meta).to_string_lossy().into_owned()
        });
        let meta = self.meta.strip_prefix(self.drive).unwrap_or(self.meta).to_owned();
        Item { bucket: self.bucket.to_owned(), object, version, bytes, written, opens, is_current, meta }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn every_version_is_named_and_what_is_not_understood_too() {
        let drive = tempfile::tempdir().unwrap();
        let put = |folder: &str, content: &[u8]| {
            let folder = drive.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("xl.meta"), content).unwrap();
        };
        put("docs/deep/a", include_bytes!("testdata/versions.meta"));
        put("docs/folder__XLDIR__", b"XL2 is something else");
        let all = Mutex::new(vec![]);
        each(drive.path(), |item| {
            all.lock().unwrap().push(item);
            Ok(())
        })
        .unwrap();
        let mut all = all.into_inner().unwrap();
        all.sort_by(|a, b| a.object.cmp(&b.object));
        let (known, unknown): (Vec<_>, Vec<_>) = all.into_iter().partition(|item| item.opens != Opens::Unknown);
        assert!(known.len() >= 2 && known.iter().all(|item| item.bucket == "docs" && item.object == "deep/a"));
        assert!(known.iter().all(|item| item.meta == Path::new("docs/deep/a/xl.meta")));
        assert!(known.iter().filter(|item| item.is_current).count() <= 1);
        assert_eq!(unknown.iter().map(|item| item.object.as_str()).collect::<Vec<_>>(), ["folder/"]);
    }
}
