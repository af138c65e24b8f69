//! What many ask of the file system.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::error::Error;

/// How names begin of what is being written; whoever is killed meanwhile leaves one.
pub(crate) const UNFINISHED: &str = ".kestack-";

/// True if there was nothing to work on: no such file, or none of the folders above it.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Removes a folder and all below it; one that is not there is removed.
///
/// # Errors
/// [`Error::File`] if something of it stays.
pub(crate) fn clear(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if folder.exists() => Err(Error::file("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// Removes a file; one that is not there is removed.
///
/// # Errors
/// [`Error::File`] if it stays.
pub(crate) fn remove(file: &Path) -> Result<(), Error> {
    match std::fs::remove_file(file) {
        Err(error) if !is_absent(&error) => Err(Error::file("remove", file)(error)),
        _ => Ok(()),
    }
}

/// What a file holds; `None` if it is not there.
///
/// # Errors
/// [`Error::File`] if it is there and cannot be read.
pub(crate) fn read(file: &Path) -> Result<Option<Vec<u8>>, Error> {
    match std::fs::read(file) {
        Err(error) if is_absent(&error) => Ok(None),
        found => found.map(Some).map_err(Error::file("read", file)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;

    #[test]
    fn what_is_absent_is_nothing_and_what_is_in_the_way_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "content").unwrap();
        assert_eq!(read(&file).unwrap().unwrap(), b"content");
        remove(&file).unwrap();
        for absent in [&file, &file.join("below")] {
            assert_eq!(read(absent).unwrap(), None);
            remove(absent).unwrap();
            clear(absent).unwrap();
        }
        let (held, said) = (folder.path(), format!("'{}'", folder.path().display()));
        assert!(read(held).unwrap_err().to_string().contains(&said));
        assert!(remove(held).unwrap_err().to_string().contains(&said));
        clear(held).unwrap();
        assert!(!held.exists());
    }
}
