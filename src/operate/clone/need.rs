//! What a copy of a drive takes of a disk.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::host::disk::unless_gone;
use crate::operate::snapshot::{Method, is_content};

/// What has to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// Files and folders.
    pub(crate) files: u64,
    /// Bytes, in complete blocks.
    pub(crate) bytes: u64,
}

impl Need {
    /// For a copy of all of a drive by that method.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn of_drive(drive: &Path, method: Method) -> io::Result<Self> {
        match method {
            Method::Clones => Ok(Self::default()),
            Method::LinksAndCopies => Self::of(vec![drive.to_owned()], true),
            Method::Copies => Self::of(vec![drive.to_owned()], false),
        }
    }

    /// For copies of these folders, with the content of objects if that is not shared.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn of(mut open: Vec<PathBuf>, shares: bool) -> io::Result<Self> {
        let mut need = Self::default();
        while let Some(folder) = open.pop() {
            need.files += 1;
            // MinIO may remove something meanwhile
            let Some(entries) = unless_gone(std::fs::read_dir(&folder))? else { continue };
            for entry in entries {
                let entry = entry?;
                let path = entry.path();
                let Some(meta) = unless_gone(entry.metadata())? else { continue };
                if meta.is_dir() {
                    open.push(path);
                } else if !(shares && is_content(&path)) {
                    need.files += 1;
                    need.bytes += meta.len().next_multiple_of(meta.blksize().max(1));
                }
            }
        }
        Ok(need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_copied_needs_room() {
        let drive = tempfile::tempdir().unwrap();
        let object = drive.path().join("docs/a");
        std::fs::create_dir_all(object.join("2f")).unwrap();
        std::fs::write(object.join("xl.meta"), b"metadata").unwrap();
        std::fs::write(object.join("2f/part.1"), [7; 10_000]).unwrap();
        let of = |method| Need::of_drive(drive.path(), method).unwrap();
        let (shared, copied) = (of(Method::LinksAndCopies), of(Method::Copies));
        assert_eq!((of(Method::Clones), shared.files, copied.files), (Need::default(), 5, 6));
        assert!(shared.bytes < 10_000 && copied.bytes > 10_000);
    }
}
