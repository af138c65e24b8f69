//! Drives for tests.

use std::path::Path;

/// Puts the metadata file of an object where MinIO has it.
pub(super) fn place(drive: &Path, path: &str, content: &[u8]) {
    let folder = drive.join(path);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(super::xl::FILE), content).unwrap();
}
