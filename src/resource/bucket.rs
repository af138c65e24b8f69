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
    /// What of that is only for a bucket that is made.
    pub keeps: Kept,
}

/// The settings that a bucket keeps as they are if it exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its default encryption; a bucket without one gets the wanted one.
    pub encryption: bool,
    /// Whether it keeps versions.
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
                let (encryption, versioning) = self.judged(encryption, versioning);
                Ok(Observed::ready(state(encryption.as_ref(), versioning)))
            }
            Err(error) if error.is_no_bucket() => Ok(Observed::Absent),
            Err(error) if error.is_connection() => Ok(Observed::Unknown),
            Err(error) => Err(error.into()),
        }
    }

    /// A new bucket that cannot have its encryption goes again: nobody may store anything there in clear.
    async fn create(&self, context: &Context) -> Result<(), Error> {
        let s3 = &context.s3;
        let is_new = match s3.create_bucket(&self.bucket).await {
            Err(error) if error.code() != "BucketAlreadyOwnedByYou" => return Err(error.into()),
            made => made.is_ok(),
        };
        let configured = self.configure(s3).await;
        if configured.is_err()
            && is_new
            && let Err(error) = s3.delete_bucket(&self.bucket).await
        {
            tracing::warn!("bucket '{}' stays without the settings that it was to have: {error}", self.bucket);
        }
        configured
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
    /// The state of an existing bucket, with the wanted one in place of what it keeps.
    fn judged(&self, encryption: Option<Encryption>, versioning: bool) -> (Option<Encryption>, bool) {
        let keeps_encryption = self.keeps.encryption && encryption.is_some();
        let encryption = if keeps_encryption { self.encryption.clone() } else { encryption };
        (encryption, if self.keeps.versioning { self.versioning } else { versioning })
    }

    async fn configure(&self, s3: &S3Client) -> Result<(), Error> {
        let found = (s3.bucket_encryption(&self.bucket).await?, s3.bucket_versioning(&self.bucket).await?);
        let (encryption, versioning) = self.judged(found.0, found.1);
        match &self.encryption {
            wanted if *wanted == encryption => {}
            Some(wanted) => s3.put_bucket_encryption(&self.bucket, wanted).await?,
            None => s3.delete_bucket_encryption(&self.bucket).await?,
        }
        if self.versioning != versioning {
            s3.put_bucket_versioning(&self.bucket, self.versioning).await?;
        }
        Ok(())
    }
}

fn state(encryption: Option<&Encryption>, versioning: bool) -> String {
    let encryption = encryption.map_or_else(|| "none".to_owned(), ToString::to_string);
    format!("{encryption}, versioning {versioning}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_bucket_keeps_what_nobody_named() {
        let wanted = Encryption::SseKms("main".into());
        let other = Encryption::SseKms("rotated".into());
        let bucket = |encryption, versioning| BucketResource {
            bucket: "abc".into(),
            encryption: Some(wanted.clone()),
            versioning: false,
            keeps: Kept { encryption, versioning },
        };
        let judged = |keeps: BucketResource| keeps.judged(Some(other.clone()), true);
        assert_eq!(judged(bucket(true, true)), (Some(wanted.clone()), false));
        assert_eq!(judged(bucket(false, true)), (Some(other.clone()), false));
        assert_eq!(judged(bucket(true, false)), (Some(wanted.clone()), true));
        assert_eq!(
            bucket(true, true).judged(None, false),
            (None, false),
            "one without an encryption gets the wanted one"
        );
    }
}
