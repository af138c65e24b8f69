//! The bodies of calls, as S3 writes them in XML.

use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListBuckets {
    pub(super) buckets: Buckets,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Buckets {
    #[serde(default)]
    pub(super) bucket: Vec<BucketEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BucketEntry {
    pub(super) name: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EncryptionConfiguration {
    pub(super) rule: EncryptionRule,
}

#[derive(Deserialize, Serialize)]
pub(super) struct EncryptionRule {
    #[serde(rename = "ApplyServerSideEncryptionByDefault")]
    pub(super) apply: EncryptionDefault,
}

#[derive(Deserialize, Serialize)]
pub(super) struct EncryptionDefault {
    #[serde(rename = "SSEAlgorithm")]
    pub(super) algorithm: String,
    #[serde(rename = "KMSMasterKeyID", default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Versioning {
    #[serde(default)]
    pub(super) status: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Versions {
    #[serde(rename = "$value", default)]
    pub(super) entries: Vec<VersionEntry>,
}

#[derive(Deserialize)]
pub(super) enum VersionEntry {
    Version(Version),
    DeleteMarker(Version),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(super) struct Uploads {
    #[serde(rename = "Upload", default)]
    pub(super) uploads: Vec<Begun>,
}

#[derive(Deserialize)]
pub(super) struct Begun {
    #[serde(rename = "Key")]
    pub(super) key: String,
}

#[derive(Deserialize)]
pub(super) struct Version {
    #[serde(rename = "Key")]
    pub(super) key: String,
    #[serde(rename = "VersionId")]
    pub(super) id: String,
}

impl VersionEntry {
    pub(super) fn version(self) -> Option<Version> {
        match self {
            Self::Version(version) | Self::DeleteMarker(version) => Some(version),
            Self::Other => None,
        }
    }
}
