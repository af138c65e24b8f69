//! Drives for tests.

use std::path::Path;

use super::parts::Parts;
use super::stored::{PART, Part, Stored};
use super::{pieces, xl};

/// Puts the metadata file of an object where MinIO has it.
pub(super) fn place(drive: &Path, path: &str, content: &[u8]) {
    let folder = drive.join(path);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(xl::FILE), content).unwrap();
}

/// The same of a file with content next to it.
pub(super) fn place_stored(drive: &Path, path: &str, stored: &Stored) {
    place(drive, path, &stored.meta);
    if let Some(Part { folder, bytes }) = &stored.part {
        let folder = drive.join(path).join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(PART), bytes).unwrap();
    }
}

/// A file whose content is inside.
pub(super) fn inline(meta: &[u8]) -> Stored {
    Stored { meta: meta.to_vec(), part: None }
}

/// A file of MinIO's own, as if it was too long to be inside: the metadata is that of a long configuration.
pub(super) fn long(short: &[u8]) -> Stored {
    const LENGTH: usize = 552_552;
    let meta = include_bytes!("testdata/config.meta").to_vec();
    let mut content = Parts::of(short).unwrap().content().unwrap();
    content.resize(LENGTH, 7);
    let folder = xl::uuid(&Parts::of(&meta).unwrap().folder().unwrap()).unwrap();
    Stored { meta, part: Some(Part { folder, bytes: pieces::of(&content) }) }
}
