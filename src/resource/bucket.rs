//! A bucket with its default encryption and versioning.

use async_trait::async_trait;

use super::{Context, Resource};
use crate::error::Error;
use crate::resource::plan::Observed;
use crate::servers::s3::{Encryption, S3Client};

/// A bucket whose default encryption and versioning are as wanted. Its objects are never touched.
#[derive(Debug)]
pub struct BucketResource {
    /// Name of the bucket.
    pub bucket: String,
    /// Default encryption, `None` for a bucket that does not encrypt.
    pub encryption: Option<Encryption>,
    /// Whether versions are kept.
    pub versioning: bool,
}

#[async_trait]
impl Resource for BucketResource {
    fn kind(&self) -> &'static str {
        "bucket"
    }

    fn name(&self) -> String {
        self.bucket.clone()
    }

    fn wanted(&self) -> String {
        state(self.encryption.as_ref(), self.versioning)
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let s3 = &context.s3;
        match s3.bucket_encryption(&self.bucket).await {
            Ok(encryption) => {
                let versioning = s3.bucket_versioning(&self.bucket).await?;
                Ok(Observed::ready(state(encryption.as_ref(), versioning)))
            }
            Err(error) if error.code() == "NoSuchBucket" => Ok(Observed::Absent),
            Err(error) if error.is_connection() => Ok(Observed::Unknown),
            Err(error) => Err(error.into()),
        }
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        let s3 = &context.s3;
        match s3.create_bucket(&self.bucket).await {
            Err(error) if error.code() != "BucketAlreadyOwnedByYou" => return Err(error.into()),
            _ => {}
        }
        self.configure(s3).await
    }

    /// Buckets live and die with the drive.
    async fn remove(&self, _: &Context) -> Result<(), Error> {
        Ok(())
    }

    async fn replace(&self, context: &Context) -> Result<(), Error> {
        self.configure(&context.s3).await
    }
}

impl BucketResource {
    async fn configure(&self, s3: &S3Client) -> Result<(), Error> {
        match &self.encryption {
            Some(encryption) => s3.put_bucket_encryption(&self.bucket, encryption).await?,
            None => s3.delete_bucket_encryption(&self.bucket).await?,
        }
        if self.versioning != s3.bucket_versioning(&self.bucket).await? {
            s3.put_bucket_versioning(&self.bucket, self.versioning).await?;
        }
        Ok(())
    }
}

fn state(encryption: Option<&Encryption>, versioning: bool) -> String {
    let encryption = encryption.map_or_else(|| "none".to_owned(), ToString::to_string);
    format!("{encryption}, versioning {versioning}")
}
