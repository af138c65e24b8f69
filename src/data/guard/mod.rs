//! The key guard: data is never started with other keys than those it was written under (docs/architecture.md §3.12).
//!
//! MinIO would start with an empty keystore, make a new key of the old name, and leave the old data unreadable
//! (docs/minio-kms-client.md §2.3). So a [`KeyRecord`] of each key's material is next to the data, and [`Guarded`] asks
//! the keystore, before anything is started or made, whether it still holds what the data needs. Where the record is
//! lost, the data keys that MinIO itself keeps on the drive tell.

mod ask;
mod check;
mod record;

pub(crate) use ask::Patient;
pub use ask::{Answer, Keystore, Opener};
pub use check::Guarded;
pub use record::KeyRecord;

/// The result of asking for the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All are there, or there is no data that needs them.
    Good,
    /// The keystore could not be asked from here: KES must be, once it runs.
    Unknown,
}
