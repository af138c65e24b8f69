//! Policies of buckets.

use bytes::Bytes;
use reqwest::Method;

use super::{S3Client, S3Error};

impl S3Client {
    /// The policy of a bucket as MinIO writes it; `None` if it has none.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn bucket_policy(&self, bucket: &str) -> Result<Option<String>, S3Error> {
        match self.call(Method::GET, bucket, "policy=", Bytes::new()).await {
            Err(error) if error.code() == "NoSuchBucketPolicy" => Ok(None),
            answer => Ok(Some(String::from_utf8_lossy(&answer?.body).into_owned())),
        }
    }

    /// Gives a bucket this policy, in place of the one it has.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn put_bucket_policy(&self, bucket: &str, policy: &str) -> Result<(), S3Error> {
        self.call(Method::PUT, bucket, "policy=", Bytes::copy_from_slice(policy.as_bytes())).await.map(drop)
    }
}
