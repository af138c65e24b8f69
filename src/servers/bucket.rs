//! Calls for temporary buckets of kestack: tags that identify them, all settings at once, and their removal with everything
//! in them.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::admin;
use super::s3::{Encryption, S3Client, S3Error};

/// How often a bucket is removed that comes back.
const REMOVALS: usize = 10;

/// The settings of a temporary bucket.
pub struct BucketSettings {
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its default encryption; none for a bucket in clear.
    pub encryption: Option<Encryption>,
    /// Whether it keeps versions.
    pub versioning: bool,
}

/// MinIO's report of an import of settings: which of them it set, by bucket.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Imported {
    buckets: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

impl S3Client {
    /// Gives a new bucket its settings: as one archive, which `mc admin cluster bucket import` sends too and MinIO writes
    /// once, or one by one where MinIO does not take it.
    pub async fn set_bucket(&self, bucket: &str, settings: &BucketSettings) -> Result<(), S3Error> {
        match self.import_settings(bucket, settings).await {
            Ok(true) => return Ok(()),
            Err(error) if error.is_connection() => return Err(error),
            refused => tracing::debug!(?refused, "MinIO did not import the settings of {bucket}"),
        }
        self.put_bucket_tags(bucket, &settings.tags).await?;
        if let Some(encryption) = &settings.encryption {
            self.put_bucket_encryption(bucket, encryption).await?;
        }
        if settings.versioning {
            self.put_bucket_versioning(bucket, true).await?;
        }
        Ok(())
    }

    /// Whether MinIO set them all.
    async fn import_settings(&self, bucket: &str, settings: &BucketSettings) -> Result<bool, S3Error> {
        let mut files = vec![("tagging", "tagging.xml", Self::tagging(&settings.tags)?)];
        if let Some(encryption) = &settings.encryption {
            files.push(("sse", "bucket-encryption.xml", Self::encryption(encryption)?));
        }
        if settings.versioning {
            files.push(("versioning", "versioning.xml", Self::versioning(true)?));
        }
        let contents: Vec<_> =
            files.iter().map(|(_, name, text)| (format!("{bucket}/{name}"), text.as_str())).collect();
        let path = "minio/admin/v3/import-bucket-metadata";
        let invalid = |cause: String| S3Error::Invalid { call: format!("PUT /{path}"), cause };
        let archive = admin::zipped(&contents).map_err(|error| invalid(error.to_string()))?;
        let answer = self.call(Method::PUT, path, &format!("bucket={bucket}"), Bytes::from(archive)).await?;
        let report: Imported = serde_json::from_slice(&answer.body).map_err(|error| invalid(error.to_string()))?;
        let is_set = |name| report.buckets.get(bucket)?.get(name)?.get("isSet")?.as_bool();
        Ok(files.iter().all(|(name, ..)| is_set(*name) == Some(true)))
    }

    /// The tags of a bucket; none if it has none, or is absent.
    pub async fn bucket_tags(&self, bucket: &str) -> Result<BTreeMap<String, String>, S3Error> {
        let answer = match self.call(Method::GET, bucket, "tagging=", Bytes::new()).await {
            Err(error) if matches!(error.code(), "NoSuchTagSet" | "NoSuchBucket") => return Ok(BTreeMap::new()),
            answer => answer?,
        };
        let tagging: Tagging = answer.xml()?;
        Ok(tagging.set.tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    /// True if a bucket has a setting that only clients give: policy, lifecycle, tags, notifications, object lock, replication
    /// or quota.
    pub(crate) async fn has_settings_of_clients(&self, bucket: &str) -> Result<bool, S3Error> {
        let (policy, lifecycle, tags, notifications, locks, replication, quota) = tokio::try_join!(
            self.bucket_policy(bucket),
            self.bucket_lifecycle(bucket),
            self.bucket_tags(bucket),
            self.bucket_notifications(bucket),
            self.bucket_locks(bucket),
            self.bucket_replicates(bucket),
            self.bucket_has_quota(bucket),
        )?;
        let notifies = notifications.contains("<QueueConfiguration>");
        let is_ruled = policy.is_some() || lifecycle.is_some() || replication;
        Ok(is_ruled || !tags.is_empty() || notifies || locks || quota)
    }

    /// Gives a bucket these tags and no others.
    pub async fn put_bucket_tags(&self, bucket: &str, tags: &BTreeMap<String, String>) -> Result<(), S3Error> {
        self.call(Method::PUT, bucket, "tagging=", Self::tagging(tags)?.into()).await.map(drop)
    }

    fn tagging(tags: &BTreeMap<String, String>) -> Result<String, S3Error> {
        let tags = tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
        Self::written("Tagging", &Tagging { set: TagSet { tags } })
    }

    /// Removes a bucket with all objects, versions and delete markers, in one call (MinIO's own extension of S3, what
    /// `mc rb --force` does). One that is absent is removed.
    pub async fn remove_bucket_with_objects(&self, bucket: &str) -> Result<(), S3Error> {
        match self.call_with(Method::DELETE, bucket, &[("x-minio-force-delete", "true")]).await {
            Err(error) if error.is_no_bucket() => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// The same of a bucket that only kestack may make. A write that is under way can bring a bucket back, for example of a
    /// client that was killed a moment ago: it is removed until MinIO does not list it.
    pub async fn remove_for_good(&self, bucket: &str) -> Result<(), S3Error> {
        for _ in 0..REMOVALS {
            self.remove_bucket_with_objects(bucket).await?;
            if !self.list_buckets().await?.iter().any(|listed| listed == bucket) {
                return Ok(());
            }
        }
        let cause = format!("it was removed {REMOVALS} times, and somebody makes it again");
        Err(S3Error::Invalid { call: format!("DELETE /{bucket}"), cause })
    }
}

#[derive(Serialize, Deserialize)]
struct Tagging {
    #[serde(rename = "TagSet")]
    set: TagSet,
}

#[derive(Serialize, Deserialize)]
struct TagSet {
    #[serde(rename = "Tag", default)]
    tags: Vec<Tag>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}
