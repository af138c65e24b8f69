//! Policies of buckets.

use bytes::Bytes;
use reqwest::Method;

use super::{S3Client, S3Error};

impl S3Client {
    /// Gives a bucket this policy, in place of the one it has.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn put_bucket_policy(&self, bucket: &str, policy: &str) -> Result<(), S3Error> {
        self.call(Method::PUT, bucket, "policy=", Bytes::copy_from_slice(policy.as_bytes())).await.map(drop)
    }
}
