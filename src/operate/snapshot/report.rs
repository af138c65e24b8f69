//! What the command line and the interface say of snapshots.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Snapshot, SnapshotName};

/// A snapshot that was taken.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SnapshotSaved")]
pub(crate) struct Saved {
    #[serde(flatten)]
    pub(crate) snapshot: Snapshot,
    /// How long it took.
    pub(crate) milliseconds: u128,
    /// How long MinIO was stopped.
    pub(crate) stopped_milliseconds: u128,
}

/// All snapshots.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Snapshots")]
pub(crate) struct Listed {
    /// All snapshots, oldest first.
    pub(crate) snapshots: Vec<Snapshot>,
}

/// A stack that went back to a snapshot.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SnapshotRestored")]
pub(crate) struct Restored {
    /// Name of the snapshot.
    pub(crate) name: SnapshotName,
    /// How long it took.
    pub(crate) milliseconds: u128,
    /// True if the stack ran before, and runs again.
    pub(crate) started: bool,
}

/// Snapshots that are gone.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SnapshotsRemoved")]
pub(crate) struct Removed {
    /// Names of the snapshots that were removed.
    pub(crate) removed: Vec<SnapshotName>,
}
