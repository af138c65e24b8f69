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
