//! A loss and its recovery.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

/// Most names of missing versions that are listed.
pub(crate) const LISTED: usize = 100;

/// What was lost, and what came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Loss {
    /// What was lost.
    pub(crate) lost: Lost,
    /// Recovery time (RTO): from the loss until the stack stored and returned an object again; absent if it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recovery_milliseconds: Option<u64>,
    /// Recovery point (RPO): the moment of the snapshot that everything is as of.
    #[schemars(with = "String")]
    pub(crate) recovery_point: Timestamp,
    /// Age of the recovery point at the moment of the loss: writes of this time are lost.
    pub(crate) recovery_point_age_milliseconds: u64,
    /// Versions of objects that came back with the SHA-256 that they had.
    pub(crate) versions: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Versions that did not come back, or came back changed.
    pub(crate) missing_count: u64,
    /// Names of the first 100 of these, each with the reason.
    pub(crate) missing: Vec<String>,
}

/// What a drill takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lost {
    /// All but the exported snapshot.
    Machine,
    /// The keys.
    Keystore,
    /// MinIO's drive, where the keys are kept elsewhere.
    Drive,
    /// MinIO's drive and the keys.
    DriveAndKeystore,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Machine => "the machine",
            Self::Keystore => "the keystore",
            Self::Drive => "the drive",
            Self::DriveAndKeystore => "drive and keystore",
        })
    }
}
