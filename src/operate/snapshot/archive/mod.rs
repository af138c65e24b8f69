//! A snapshot as one file, to be kept or carried elsewhere.
//!
//! Inside is a tar: `snapshot.json` first, then the folders and files of the snapshot, and last `SHA256SUMS`, which
//! covers every file, so that nothing can be cut off or changed unseen. Around it is age, unless the user wants all of it
//! in clear: `age --decrypt FILE | tar x` opens it without kestack. Both ways it streams; memory does not grow with it.

use serde::Serialize;

use super::Snapshot;

mod member;
mod pack;
mod seal;
mod unpack;

pub use pack::export;
pub use seal::{Closed, Opener, Seal};
pub use unpack::import;

/// Last member: the SHA-256 of each file, in the form of `sha256sum`.
const SUMS: &str = "SHA256SUMS";

/// Folders of a snapshot that may be in the file.
const FOLDERS: [&str; 4] = ["minio", "keys", "certs", "config"];

/// The file next to them, apart from the description.
const GUARD: &str = "guard.json";

/// A snapshot that was written to a file.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Exported {
    /// Its snapshot.
    pub snapshot: Snapshot,
    /// The file.
    pub file: String,
    /// Its bytes.
    pub size: u64,
    /// 64 hex digits of the complete file.
    pub sha256: String,
    /// False if everybody who has the file has the keys.
    pub encrypted: bool,
}

#[cfg(test)]
mod tests;
