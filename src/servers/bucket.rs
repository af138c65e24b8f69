//! Calls for temporary buckets of kestack: tags that identify them, and their removal with everything in them.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::s3::{S3Client, S3Error};

impl S3Client {
    /// The tags of a bucket; none if it has none, or is absent.
    pub async fn bucket_tags(&self, bucket: &str) -> Result<BTreeMap<String, String>, S3Error> {
        let answer = match self.call(Method::GET, bucket, "tagging=", Bytes::new()).await {
            Err(error) if matches!(error.code(), "NoSuchTagSet" | "NoSuchBucket") => return Ok(BTreeMap::new()),
            answer => answer?,
        };
        let tagging: Tagging = answer.xml()?;
        Ok(tagging.set.tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    /// Gives a bucket these tags and no others.
    pub async fn put_bucket_tags(&self, bucket: &str, tags: &BTreeMap<String, String>) -> Result<(), S3Error> {
        let tags = tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
        self.put_xml(bucket, "tagging=", "Tagging", &Tagging { set: TagSet { tags } }).await
    }

    /// Removes a bucket with all objects, versions and delete markers, in one call (MinIO's own extension of S3, what
    /// `mc rb --force` does). One that is absent is removed.
    pub async fn remove_bucket_with_objects(&self, bucket: &str) -> Result<(), S3Error> {
        match self.call_with(Method::DELETE, bucket, &[("x-minio-force-delete", "true")]).await {
            Err(error) if error.code() == "NoSuchBucket" => Ok(()),
            answer => answer.map(drop),
        }
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
