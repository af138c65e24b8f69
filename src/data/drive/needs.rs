//! What on a drive needs a key, file by file.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::xl::{Protection, Version};
use super::{Obstacle, SYSTEM, Sealings, Stored, own, sealed, walk, xl};

/// Whether the name of a key is one of those that are looked for.
type Wanted<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// Calls `visit`, in several threads, with every metadata file in which that key sealed a data key, and with those that
/// may hold one. Unfinished uploads are not among them. MinIO may run or not.
///
/// # Errors
/// What keeps the drive from being read, and those of `visit`.
pub fn needing(drive: &Path, key: &str, visit: impl Fn(&Path) -> io::Result<()> + Sync) -> io::Result<()> {
    needing_any(drive, &|name| name == key, visit)
}

/// The same for all keys whose names are wanted when a file is read.
///
/// # Errors
/// As [`needing`].
pub fn needing_any(
    drive: &Path,
    is_wanted: Wanted<'_>,
    visit: impl Fn(&Path) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let objects = |(): &mut (), path: &Path| if versions_need(path, is_wanted)? { visit(path) } else { Ok(()) };
    for bucket in super::buckets(drive)? {
        walk::objects(&drive.join(bucket), objects)?;
    }
    let own = |(): &mut (), path: &Path| {
        let header = sealed::header(path)?.map(|header| header.key);
        let needs = header.map_or_else(|| versions_need(path, is_wanted), |name| Ok(is_wanted(&name)));
        if needs? { visit(path) } else { Ok(()) }
    };
    walk::objects(&drive.join(SYSTEM).join("config"), own)?;
    for bucket in super::buckets(drive)? {
        let needs = match bucket_metadata(drive, &bucket)? {
            Some(Ok(metadata)) => own::of_targets(&metadata).is_some_and(|seal| is_wanted(&seal.key)),
            Some(Err(_)) => true,
            None => false,
        };
        if needs {
            visit(&bucket_file(drive, &bucket))?;
        }
    }
    Ok(())
}

/// The folders, below MinIO's folder of uploads, of those unfinished uploads that need the key: each is the SHA-256 of
/// `<bucket>/<object>`, then the upload's number.
///
/// # Errors
/// What keeps the drive from being read.
pub fn uploads(drive: &Path, key: &str) -> io::Result<Vec<String>> {
    let folder = drive.join(SYSTEM).join("multipart");
    let find = |found: &mut Vec<String>, path: &Path| {
        let upload = path.parent().and_then(|upload| upload.strip_prefix(&folder).ok());
        if versions_need(path, &|name| name == key)? {
            found.extend(upload.map(|upload| upload.display().to_string()));
        }
        Ok(())
    };
    Ok(walk::objects(&folder, find)?.concat())
}

/// The metadata of a bucket, if it has any.
pub(super) fn bucket_metadata(drive: &Path, bucket: &str) -> io::Result<Option<Result<Vec<u8>, Obstacle>>> {
    match Stored::read(&bucket_file(drive, bucket), SYSTEM) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => Ok(Some(read?.and_then(|stored| stored.content().ok_or(Obstacle::Content)))),
    }
}

/// The file that holds it.
fn bucket_file(drive: &Path, bucket: &str) -> PathBuf {
    drive.join(SYSTEM).join("buckets").join(bucket).join(".metadata.bin").join(xl::FILE)
}

/// How many drives MinIO's format says that there are; `None` if it does not say so.
pub fn drives(drive: &Path) -> Option<usize> {
    #[derive(Deserialize)]
    struct Format {
        xl: Sets,
    }
    #[derive(Deserialize)]
    struct Sets {
        sets: Vec<Vec<String>>,
    }
    let text = std::fs::read(drive.join(SYSTEM).join("format.json")).ok()?;
    let format: Format = serde_json::from_slice(&text).ok()?;
    Some(format.xl.sets.iter().map(Vec::len).sum())
}

impl Sealings {
    /// Reads a metadata file on a drive.
    ///
    /// # Errors
    /// The outer one if it cannot be read, the inner one if it is not understood.
    pub fn read(drive: &Path, path: &Path) -> io::Result<Result<Self, Obstacle>> {
        let folder = path.parent().and_then(|folder| folder.strip_prefix(drive).ok()).and_then(Path::to_str);
        let Some(folder) = folder else { return Ok(Err(Obstacle::Form)) };
        Ok(Stored::read(path, folder)?.and_then(|stored| Self::of(stored, folder)))
    }
}

/// True if one of an object's versions needs such a key, or may need it.
fn versions_need(path: &Path, is_wanted: Wanted<'_>) -> io::Result<bool> {
    let needs = |version: Version| match version {
        Version::Object(stored) => matches!(stored.protection, Protection::Key { name, .. } if is_wanted(&name)),
        Version::DeleteMarker => false,
        Version::Unknown => true,
    };
    Ok(xl::versions(path)?.is_none_or(|versions| versions.into_iter().any(needs)))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::fixture;
    use super::*;

    #[test]
    fn what_needs_a_key_is_found_and_nothing_else() {
        let drive = tempfile::tempdir().unwrap();
        let place = |path: &str, content: &[u8]| fixture::place(drive.path(), path, content);
        let upload = "multipart/ab12/77";
        place(&format!(".minio.sys/{upload}"), include_bytes!("testdata/multipart.meta"));
        place(".minio.sys/config/iam/format.json", include_bytes!("testdata/iam-format.meta"));
        place(".minio.sys/buckets/docs/.metadata.bin", include_bytes!("testdata/targets.meta"));
        place("docs/small", include_bytes!("testdata/versions.meta"));
        place("docs/plain", include_bytes!("testdata/plain.meta"));
        place("docs/strange", b"XL2 \x02\x00 something to come");
        let found = |key: &str| {
            let found = Mutex::new(Vec::new());
            let visit = |path: &Path| {
                let folder = path.parent().unwrap().strip_prefix(drive.path()).unwrap();
                found.lock().unwrap().push(folder.display().to_string());
                Ok(())
            };
            needing(drive.path(), key, visit).unwrap();
            let mut found = found.into_inner().unwrap();
            found.sort();
            found
        };
        let all = [".minio.sys/buckets/docs/.metadata.bin", ".minio.sys/config/iam/format.json", "docs/small"];
        assert_eq!(found("minio-backend-key"), [all.as_slice(), &["docs/strange"]].concat());
        assert_eq!(found("other"), ["docs/strange"]);
        let count = Mutex::new(0);
        let visit = |_: &Path| {
            *count.lock().unwrap() += 1;
            Ok(())
        };
        needing_any(drive.path(), &|name| ["other", "minio-backend-key"].contains(&name), visit).unwrap();
        assert_eq!(count.into_inner().unwrap(), 4, "each file once");
        assert_eq!(uploads(drive.path(), "minio-backend-key").unwrap(), ["ab12/77"]);
        assert_eq!(uploads(drive.path(), "other").unwrap(), Vec::<String>::new());
        let metadata = |path: &str| Sealings::read(drive.path(), &drive.path().join(path).join("xl.meta")).unwrap();
        assert_eq!(metadata("docs/small").unwrap().found().len(), 2);
        assert_eq!(metadata("docs/strange").unwrap_err(), Obstacle::Form);
    }

    #[test]
    fn the_drives_of_a_format_are_counted() {
        let drive = tempfile::tempdir().unwrap();
        assert_eq!(drives(drive.path()), None);
        std::fs::create_dir(drive.path().join(SYSTEM)).unwrap();
        let format = |sets: &str| {
            let text = format!(r#"{{"version":"1","format":"xl-single","xl":{{"version":"3","sets":{sets}}}}}"#);
            std::fs::write(drive.path().join(SYSTEM).join("format.json"), text).unwrap();
            drives(drive.path())
        };
        assert_eq!(format(r#"[["a"]]"#), Some(1));
        assert_eq!(format(r#"[["a","b"],["c","d"]]"#), Some(4));
    }
}
