//! What many ask of the file system.

use std::io::{Error as IoError, ErrorKind};

/// How names begin of what is being written; whoever is killed meanwhile leaves one.
pub(crate) const UNFINISHED: &str = ".kestack-";

/// True if there was nothing to work on: no such file, or none of the folders above it.
pub(crate) fn is_absent(error: &IoError) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
