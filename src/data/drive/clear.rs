//! The objects of a bucket that are in clear.

use std::io;
use std::path::Path;

use super::xl::{Protection, Version};
use super::{context, walk, xl};

/// An object with at least one version that nothing protects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InClear {
    /// Its name.
    pub object: String,
    /// Length of its current version, if that is in clear.
    pub current: Option<u64>,
    /// How many of its other versions are in clear.
    pub older: u64,
}

/// Calls `visit`, in several threads, with every object of a bucket of which a version is in clear. MinIO may run or not.
///
/// # Errors
/// What keeps the drive from being read, and those of `visit`.
pub fn in_clear(drive: &Path, bucket: &str, visit: impl Fn(InClear) -> io::Result<()> + Sync) -> io::Result<()> {
    let folder = drive.join(bucket);
    let look = |(): &mut (), path: &Path| {
        let versions = xl::versions(path)?.unwrap_or_default();
        let lengths: Vec<_> = versions.iter().map(length).collect();
        // MinIO keeps the newest first; what is below a delete marker is not a current version
        let current = lengths.first().copied().flatten();
        let older = lengths.iter().skip(1).flatten().count() as u64;
        match context::object(path, &folder) {
            Some(object) if current.is_some() || older > 0 => visit(InClear { object, current, older }),
            _ => Ok(()),
        }
    };
    walk::objects(&folder, look).map(drop)
}

/// The length of a version that is in clear.
fn length(version: &Version) -> Option<u64> {
    match version {
        Version::Object(stored) if stored.protection == Protection::None => Some(stored.bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::fixture;
    use super::*;

    #[test]
    fn objects_in_clear_are_found() {
        let drive = tempfile::tempdir().unwrap();
        let place = |path: &str, content: &[u8]| fixture::place(&drive.path().join("docs"), path, content);
        place("deep/plain", include_bytes!("testdata/plain.meta"));
        place("folder__XLDIR__", include_bytes!("testdata/plain.meta"));
        place("small", include_bytes!("testdata/versions.meta"));
        let found = Mutex::new(Vec::new());
        let push = |one| {
            found.lock().unwrap().push(one);
            Ok(())
        };
        in_clear(drive.path(), "docs", push).unwrap();
        let mut found = found.into_inner().unwrap();
        found.sort_by(|a, b| a.object.cmp(&b.object));
        let clear = |object: &str| InClear { object: object.into(), current: Some(6), older: 0 };
        assert_eq!(found, [clear("deep/plain"), clear("folder/")]);
    }
}
