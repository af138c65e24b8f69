//! Encrypting the objects that are already in a bucket: MinIO copies each object in clear onto itself.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc::channel;

use crate::data::drive::{self, InClear};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::servers::s3::{Encryption, S3Client};
use crate::stack::Stack;

/// Objects that are found and not yet copied.
const AHEAD: usize = 256;

/// What was encrypted, and what stays in clear.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Existing {
    /// Objects that were encrypted.
    pub(crate) objects: u64,
    /// Their bytes, as clients see them.
    pub(crate) bytes: u64,
    /// Objects with versions that stay in clear: earlier ones, and those below a delete marker.
    pub(crate) versions_in_clear: Vec<Versions>,
    /// Objects that MinIO did not copy.
    pub(crate) refused: Vec<Refused>,
}

/// Versions of one object.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Versions {
    /// Name of the object.
    pub(crate) object: String,
    /// How many of its versions stay in clear.
    pub(crate) versions: u64,
}

/// An object that stays in clear.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Refused {
    /// Name of the object.
    pub(crate) object: String,
    /// Why.
    pub(crate) reason: String,
}

/// Refuses a bucket with object lock: copies in it would have no retention.
///
/// # Errors
/// [`Error::Usage`]; those of MinIO.
pub(crate) async fn require_unlocked(s3: &S3Client, bucket: &str) -> Result<(), Error> {
    if !s3.bucket_locks(bucket).await? {
        return Ok(());
    }
    Err(Error::Usage {
        what: format!("bucket '{bucket}' locks its objects, and a copy has neither retention nor legal hold"),
        hint: "copy its objects into a bucket that encrypts, with their retention".into(),
    })
}

/// Encrypts every object in clear of a bucket. Called again, it goes on.
///
/// # Errors
/// Those of the drive, and of MinIO if it does not answer.
pub(crate) async fn existing(
    stack: &Stack,
    s3: &S3Client,
    bucket: &str,
    encryption: &Encryption,
) -> Result<Existing, Error> {
    let (found, mut next) = channel(AHEAD);
    let (drive, name) = (stack.layout.drive(), bucket.to_owned());
    let place = drive.join(bucket);
    let look = blocking("read", &place, move || {
        let gone = |_| std::io::Error::other("nobody waits for it any more");
        let visit = |one: InClear| found.blocking_send(one).map_err(gone);
        drive::in_clear(&drive, &name, visit).map_err(Error::file("read", Path::new(&name)))
    });
    let copy = async move {
        let mut done = Existing::default();
        while let Some(one) = next.recv().await {
            done.one(s3, bucket, one, encryption).await?;
        }
        Ok::<_, Error>(done)
    };
    let (looked, done) = tokio::join!(look, copy);
    let mut done = done?;
    looked?;
    done.versions_in_clear.sort_by(|a, b| a.object.cmp(&b.object));
    Ok(done)
}

impl Existing {
    async fn one(&mut self, s3: &S3Client, bucket: &str, one: InClear, encryption: &Encryption) -> Result<(), Error> {
        let InClear { object, current, mut older } = one;
        if let Some(size) = current {
            match s3.encrypt_object(bucket, &object, size, encryption).await {
                Ok(()) => {
                    (self.objects, self.bytes) = (self.objects + 1, self.bytes + size);
                    // with versions, that which was copied is an earlier one now
                    older += u64::from(s3.bucket_versioning(bucket).await?);
                }
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) if error.is_connection() => return Err(error.into()),
                Err(error) => self.refused.push(Refused { object: object.clone(), reason: error.to_string() }),
            }
        }
        if older > 0 {
            self.versions_in_clear.push(Versions { object, versions: older });
        }
        Ok(())
    }
}
