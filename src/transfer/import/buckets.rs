//! Buckets that a deployment makes when it starts, as a manifest declares them.

use std::path::Path;

use kes_server::auth::KeyName;
use serde::Serialize;

use super::Found;
use super::minio::Minio;
use super::script::{Encryption, Made};
use crate::data::drive::LOST_AND_FOUND;
use crate::manifest::BucketName;

/// A bucket of a manifest.
#[derive(Debug, Serialize)]
pub(super) struct DeclaredBucket {
    name: String,
    encryption: &'static str,
    /// The key for SSE-KMS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    versioning: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde wants")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The buckets that scripts make. A name that is not one of a bucket is reported.
pub(super) fn declared(found: &Found, minio: &Minio, notes: &mut Vec<String>) -> Vec<DeclaredBucket> {
    let mut declared = Vec::new();
    for made in &found.made.buckets {
        let key = match &made.encryption {
            Some(Encryption::Kms(key)) => key.clone(),
            _ => None,
        };
        if let Err(why) = made.name.parse::<BucketName>() {
            notes.push(format!("a bucket that is made there is not imported: {why}"));
        } else if key.as_deref().is_some_and(|key| key.parse::<KeyName>().is_err()) {
            notes.push(format!("bucket '{}' is not imported: its key has no name that KES takes", made.name));
        } else {
            declared.push(bucket(made, key, minio));
        }
    }
    let open: Vec<_> =
        declared.iter().filter(|bucket| bucket.encryption == "none").map(|bucket| bucket.name.as_str()).collect();
    if !open.is_empty() {
        notes.push(format!(
            "objects in {} are not encrypted there, and stay in clear: `encryption: sse-kms` in kestack.yaml encrypts new ones",
            open.join(", ")
        ));
    }
    declared
}

fn bucket(made: &Made, key: Option<String>, minio: &Minio) -> DeclaredBucket {
    let encryption = match made.encryption {
        Some(Encryption::Kms(_)) => "sse-kms",
        Some(Encryption::S3) => "sse-s3",
        // MinIO itself encrypts what has no encryption of its own
        None if minio.auto_encryption => "sse-kms",
        None => "none",
    };
    DeclaredBucket { name: made.name.clone(), encryption, key, versioning: made.versioning }
}

/// Names of the buckets on a drive.
pub(super) fn on_drive(drive: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(drive).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.') && name != LOST_AND_FOUND);
    names.sort();
    names
}
