//! The stored bytes of one object, as they lie on the drive.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use super::parts::Parts;
use super::xl::{self, Protection, Version};
use super::{context, pack};

/// Longest metadata that is searched for content.
const MAX_META: u64 = 16 << 20;

/// The start of what is stored of an object's newest version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The file that holds it.
    pub file: PathBuf,
    /// Where in the file it begins.
    pub offset: u64,
    /// Its first bytes. MinIO puts a checksum of 32 bytes before each MiB.
    pub bytes: Vec<u8>,
    /// The key of KES that protects it, under SSE-KMS and SSE-S3.
    pub key: Option<String>,
}

/// The first bytes of the newest version of an object; `None` if there is no such object, or its form is not known here.
///
/// # Errors
/// What keeps the drive from being read.
pub fn content(drive: &Path, bucket: &str, object: &str, most: u64) -> io::Result<Option<Content>> {
    let Some(folder) = folder_of(drive, bucket, object) else { return Ok(None) };
    let meta = folder.join(xl::FILE);
    let newest = match xl::versions(&meta) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        versions => versions?.unwrap_or_default().into_iter().next(),
    };
    let Some(Version::Object(stored)) = newest else { return Ok(None) };
    let key = match stored.protection {
        Protection::Key { name, .. } => Some(name),
        Protection::Client | Protection::None => None,
    };
    let file = stored.folder.map(|name| folder.join(name).join("part.1")).filter(|file| file.exists());
    match file {
        Some(file) => Ok(Some(Content { bytes: start(&file, most)?, offset: 0, file, key })),
        None => Ok(inline(&meta, stored.version.as_deref(), most)?.map(|content| Content { key, ..content })),
    }
}

/// The folder of an object; `None` for a name that leads elsewhere, which no object has.
fn folder_of(drive: &Path, bucket: &str, object: &str) -> Option<PathBuf> {
    let name = context::folder(object);
    let plain =
        |path: &str| !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    (plain(bucket) && plain(&name) && !object.contains('\0')).then(|| drive.join(bucket).join(name))
}

fn inline(meta: &Path, version: Option<&str>, most: u64) -> io::Result<Option<Content>> {
    let all = start(meta, MAX_META)?;
    let stored = Parts::of(&all).and_then(|parts| parts.stored_of(version)).and_then(pack::content);
    Ok(stored.map(|stored| {
        let offset = (stored.as_ptr() as usize).saturating_sub(all.as_ptr() as usize) as u64;
        let bytes = stored.iter().copied().take(usize::try_from(most).unwrap_or(usize::MAX)).collect();
        Content { bytes, offset, file: meta.to_path_buf(), key: None }
    }))
}

fn start(file: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn content_in_metadata_and_in_files_is_found() {
        let drive = tempfile::tempdir().unwrap();
        let plain: &[u8] = include_bytes!("testdata/plain.meta");
        fixture::place(drive.path(), "docs/deep/plain", plain);
        fixture::place(drive.path(), "docs/folder__XLDIR__", plain);
        fixture::place(drive.path(), "docs/parts", include_bytes!("testdata/multipart.meta"));
        let found = |object: &str| content(drive.path(), "docs", object, 4096).unwrap();
        let inline = found("deep/plain").unwrap();
        assert_eq!(inline.bytes.len(), 32 + 6, "a checksum and the content");
        assert_eq!(inline.key, None);
        assert_eq!(plain[usize::try_from(inline.offset).unwrap()..][..38], inline.bytes);
        assert_eq!(found("folder/").unwrap().bytes, inline.bytes);
        for nothing in ["none", "../docs/deep/plain", "/etc", "", "deep/../deep/plain", "a\0b"] {
            assert_eq!(found(nothing), None, "{nothing}");
        }
        let versions = xl::versions(&drive.path().join("docs/parts/xl.meta")).unwrap().unwrap();
        let Some(Version::Object(stored)) = versions.into_iter().next() else { panic!("an object") };
        let folder = drive.path().join("docs/parts").join(stored.folder.unwrap());
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("part.1"), vec![7; 5000]).unwrap();
        let part = found("parts").unwrap();
        assert_eq!((part.file, part.offset, part.bytes), (folder.join("part.1"), 0, vec![7; 4096]));
        assert_eq!(part.key.as_deref(), Some("minio-backend-key"));
    }
}
