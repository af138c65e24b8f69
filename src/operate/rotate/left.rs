//! What still needs the former key, by name and reason.

use std::collections::BTreeSet;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use kes_server::auth::KeyName;
use schemars::JsonSchema;
use serde::Serialize;

use crate::data::drive::{self, Inventory};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::operate::present::present;
use crate::servers::s3::{S3Client, S3Error};

/// Something that still needs the former key, or may.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub(crate) struct Left {
    /// An object, a bucket or a file of MinIO's own.
    pub(crate) name: String,
    /// Why it still needs the key.
    pub(crate) reason: String,
}

impl Left {
    pub(super) fn new(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), reason: reason.into() }
    }
}

/// All of it, after the last pass: what that could not exchange, and what the inventory finds beyond it.
pub(super) async fn after(
    inventory: &Inventory,
    stuck: BTreeSet<Left>,
    drive: &Path,
    old: &KeyName,
    s3: &S3Client,
) -> Result<Vec<Left>, Error> {
    let mut left = stuck;
    if let Some(used) = inventory.keys.get(old.as_str()) {
        left.extend(used.default_of.iter().map(|bucket| Left::new(bucket.as_str(), "the bucket encrypts with it")));
        if used.uploads > 0 {
            left.extend(uploads(drive, old, s3).await?);
        }
        if left.is_empty() && used.protects() {
            left.insert(Left::new(used.to_string(), "it was written meanwhile"));
        }
    }
    if inventory.not_understood > 0 && left.is_empty() {
        let name = format!("{} versions", inventory.not_understood);
        left.insert(Left::new(name, "kestack does not understand their form, and the key may protect them"));
    }
    Ok(left.into_iter().collect())
}

/// Unfinished uploads by the names of their objects, as far as MinIO tells them.
async fn uploads(drive: &Path, old: &KeyName, s3: &S3Client) -> Result<Vec<Left>, Error> {
    let (place, key) = (drive.to_owned(), old.clone());
    let read = move || drive::uploads(&place, key.as_str()).map_err(Error::file("read", place));
    let folders = blocking("read", drive, read).await?;
    let named = present(s3.list_buckets().await?, S3Error::is_no_bucket, async |bucket| {
        let objects = s3.uploads(&bucket).await?;
        Ok(objects.into_iter().map(|object| format!("{bucket}/{object}")).collect::<Vec<_>>())
    });
    let names = named.await?.concat();
    let name = |folder: &String| {
        let hash = folder.split('/').next().unwrap_or_default();
        let found = names.iter().find(|name| hex::encode(digest(&SHA256, name.as_bytes())) == hash);
        let name = found.cloned().unwrap_or_else(|| format!(".minio.sys/multipart/{folder}"));
        Left::new(name, "an upload is not finished: complete or abort it")
    };
    Ok(folders.iter().map(name).collect())
}
