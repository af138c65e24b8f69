//! The encryption of each bucket, and the buckets that store objects in clear although the manifest does not say so.

use crate::manifest::Manifest;
use crate::operate::present::present;
use crate::servers::s3::{Encryption, S3Client, S3Error};
use crate::stack::Stack;

/// A bucket of a running stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Its name.
    pub bucket: String,
    /// Its default encryption; `None` if it has none.
    pub encryption: Option<Encryption>,
    /// True if it has no encryption of its own, and MinIO still encrypts new objects in it.
    pub automatic: bool,
    /// True if kestack.yaml says that it must not encrypt.
    pub declared_plain: bool,
}

impl Coverage {
    /// All buckets, by name.
    ///
    /// # Errors
    /// Those of MinIO; a bucket that is removed meanwhile is left out.
    pub async fn of(stack: &Stack, s3: &S3Client) -> Result<Vec<Self>, S3Error> {
        present(s3.list_buckets().await?, S3Error::is_no_bucket, async |bucket| {
            let own = s3.bucket_encryption(&bucket).await?;
            Ok(Self::new(stack, bucket, own))
        })
        .await
    }

    /// One bucket, whose own encryption is known.
    pub fn new(stack: &Stack, bucket: String, own: Option<Encryption>) -> Self {
        Self::judged(&stack.manifest, stack.material.auto_encryption, bucket, own)
    }

    fn judged(manifest: &Manifest, auto_encryption: bool, bucket: String, own: Option<Encryption>) -> Self {
        let automatic = own.is_none() && auto_encryption;
        // MinIO takes SSE-KMS with its default key for such buckets
        let default = || Encryption::SseKms(manifest.default_key.to_string());
        Self {
            encryption: own.or_else(|| automatic.then(default)),
            automatic,
            declared_plain: manifest.bucket(&bucket).is_some_and(|declared| !declared.encrypts()),
            bucket,
        }
    }

    /// True if it is in clear, and kestack.yaml does not say that it may.
    pub fn is_exposed(&self) -> bool {
        self.encryption.is_none() && !self.declared_plain
    }

    /// Advice for such a bucket.
    pub fn advice(&self) -> String {
        format!(
            "`kestack bucket encrypt {}`, or `auto_encryption: true` in kestack.yaml for all buckets; declare a bucket \
             that may be in clear with `encryption: none`",
            self.bucket
        )
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.encryption {
            None => f.write_str("none"),
            Some(encryption) if self.automatic => write!(f, "{encryption}, by auto-encryption"),
            Some(encryption) => write!(f, "{encryption}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::manifest;

    #[test]
    fn a_bucket_in_clear_is_exposed_unless_it_is_declared_so() {
        let text = "buckets: [{ name: secret }, { name: open, encryption: none }]\n";
        let manifest = manifest::parse(text, Path::new("/"), &|_| None).unwrap();
        let judged = |bucket: &str, own, auto| Coverage::judged(&manifest, auto, bucket.to_owned(), own);
        assert!(judged("by-hand", None, false).is_exposed());
        assert!(judged("secret", None, false).is_exposed(), "somebody removed its encryption");
        assert!(!judged("open", None, false).is_exposed());
        assert!(!judged("by-hand", Some(Encryption::SseS3), false).is_exposed());
        let automatic = judged("by-hand", None, true);
        assert!(!automatic.is_exposed() && automatic.automatic);
        assert_eq!(automatic.to_string(), "SSE-KMS with key 'minio-backend-key', by auto-encryption");
        let own = judged("by-hand", Some(Encryption::SseS3), true);
        assert_eq!((own.automatic, own.to_string().as_str()), (false, "SSE-S3"));
    }
}
