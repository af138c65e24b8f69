//! The last question before `up` returns: does the stack store and return an object?

use std::time::Duration;

use crate::error::Error;
use crate::operate::canary;
use crate::resource::Context;
use crate::resource::probe;
use crate::servers::s3::{S3Client, S3Error};
use crate::stack::Stack;

/// Longest time for one small object. Health checks answer at once where uploads wait forever.
const DEADLINE: Duration = Duration::from_secs(30);

/// Writes an object into the first declared bucket that encrypts, through KES, reads it and removes it. A stack without
/// such a bucket is not asked.
///
/// # Errors
/// [`Error::NotReady`] with the last refusal if it does not work in time.
pub(super) async fn round_trip(stack: &Stack, context: &Context) -> Result<(), Error> {
    let Some(bucket) = stack.manifest.buckets.iter().find(|bucket| bucket.encrypts()) else { return Ok(()) };
    let bucket = bucket.name.as_str();
    probe::until_ready(&format!("an object in bucket '{bucket}'"), DEADLINE, || async {
        match object(&context.s3, bucket).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("it reads back changed".to_owned()),
            // what is stored can be read, and MinIO looks again only now and then whether there is room
            Err(error) if error.is_full() => {
                tracing::warn!("the drive is full: MinIO stores nothing until there is room");
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

/// True if the object reads back as it was written.
async fn object(s3: &S3Client, bucket: &str) -> Result<bool, S3Error> {
    let name = canary::ready(fastrand::u64(..).to_be_bytes());
    let written = s3.put_object(bucket, &name, name.as_bytes()).await;
    let read = match written {
        Ok(()) => s3.get_object(bucket, &name).await,
        Err(error) => Err(error),
    };
    // also what was written without an answer
    let removed = s3.delete_object_versions(bucket, &name).await;
    let same = read? == name.as_bytes();
    removed.map(|()| same)
}
