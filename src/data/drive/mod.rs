//! What is on a MinIO drive, read without MinIO: which keys protect what, and the data keys that MinIO keeps there,
//! sealed by KES.
//!
//! The layout is what a running MinIO was seen to write: a folder per bucket, a folder with an `xl.meta` per object,
//! MinIO's own files below `.minio.sys` (docs/minio-kms-client.md §6). Whatever is not understood is counted as such,
//! never guessed at.

use std::path::Path;

mod clear;
mod content;
mod context;
mod each;
mod ends;
#[cfg(test)]
mod fixture;
mod inventory;
mod needs;
mod own;
mod pack;
mod parts;
mod pieces;
mod replicating;
mod reseal;
mod sealed;
mod stored;
mod walk;
mod xl;

pub use clear::{InClear, in_clear};
pub use content::{Content, content};
pub use each::{Item, Opens, each};
pub use ends::{ends, oldest};
pub use inventory::{Count, Inventory, KeyUse, take};
pub use needs::{drives, needing, needing_any, uploads};
pub use replicating::replicating;
pub use reseal::{Found, Obstacle, Resealed, Sealings};
pub use sealed::{Sealed, configuration, samples};
pub use stored::{PART, Part, Stored};

/// Folder of MinIO's own files.
pub(crate) const SYSTEM: &str = ".minio.sys";

/// A folder of ext4 in the root of each file system, which only root may read. No bucket can have its name.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// True if MinIO has written to the drive, be it only its own configuration.
pub fn holds_data(drive: &Path) -> bool {
    let is_data =
        |entry: std::io::Result<std::fs::DirEntry>| !entry.is_ok_and(|entry| entry.file_name() == LOST_AND_FOUND);
    std::fs::read_dir(drive).is_ok_and(|mut entries| entries.any(is_data))
}

/// True if MinIO has taken the drive for one of its own.
pub(crate) fn is_formatted(drive: &Path) -> bool {
    drive.join(SYSTEM).join("format.json").exists()
}

/// The name of an object for people, with the version that is meant if one is.
pub(crate) fn with_version(object: &str, version: Option<&str>) -> String {
    version.map_or_else(|| object.to_owned(), |version| format!("{object} (version {version})"))
}

/// Names of the buckets, sorted.
pub(crate) fn buckets(drive: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(drive)? {
        let entry = entry?;
        match entry.file_name().into_string() {
            Ok(name) if !name.starts_with('.') && name != LOST_AND_FOUND && entry.file_type()?.is_dir() => {
                names.push(name);
            }
            _ => {}
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_file_system_is_neither_a_bucket_nor_data() {
        let drive = tempfile::tempdir().unwrap();
        std::fs::create_dir(drive.path().join(LOST_AND_FOUND)).unwrap();
        assert!(!holds_data(drive.path()));
        for name in ["photos", SYSTEM] {
            std::fs::create_dir(drive.path().join(name)).unwrap();
        }
        assert!(holds_data(drive.path()));
        assert_eq!(buckets(drive.path()).unwrap(), ["photos"]);
    }
}
