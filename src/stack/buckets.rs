//! The keys and buckets of a stack.

use super::Stack;
use crate::manifest::{Bucket, BucketEncryption};
use crate::resource::{BucketResource, Kept, KeyResource, Resource};
use crate::servers::s3::Encryption;

impl Stack {
    pub(super) fn key_resources(&self) -> Vec<Box<dyn Resource>> {
        let keys = self.manifest.keys.iter().cloned();
        keys.map(|key| Box::new(KeyResource { key }) as Box<dyn Resource>).collect()
    }

    pub(crate) fn bucket_resources(&self) -> Vec<Box<dyn Resource>> {
        let buckets = self.manifest.buckets.iter();
        buckets.map(|bucket| Box::new(self.bucket_resource(bucket)) as Box<dyn Resource>).collect()
    }

    /// The resource of one declared bucket. Without a key of its own it takes the default key. In the foreground, a bucket
    /// that exists keeps what its declaration does not name: clients change it, and every start would take that back.
    pub fn bucket_resource(&self, bucket: &Bucket) -> BucketResource {
        let key = || bucket.key.as_ref().unwrap_or(&self.manifest.default_key).to_string();
        BucketResource {
            bucket: bucket.name.to_string(),
            encryption: match bucket.encryption {
                BucketEncryption::SseKms => Some(Encryption::SseKms(key())),
                BucketEncryption::SseS3 => Some(Encryption::SseS3),
                BucketEncryption::None => None,
            },
            versioning: bucket.versioning,
            keeps: if self.layout.is_served() {
                Kept { encryption: !bucket.said.encryption, versioning: !bucket.said.versioning }
            } else {
                Kept::default()
            },
        }
    }
}
