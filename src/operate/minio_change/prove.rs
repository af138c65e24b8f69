//! The proof that a MinIO serves what another one wrote.

use std::time::Duration;

use super::{Error, Item, S3Client, probe};
use crate::data::drive::Opens;

/// How long MinIO may take for an object: one that just started answers 503 for a while.
const DEADLINE: Duration = Duration::from_secs(30);
/// How much of an object is read.
const START: u64 = 64 << 10;

/// Reads the start of an object: all that MinIO has to open for it is authenticated.
///
/// # Errors
/// [`Error::Verification`] naming the object, its key and MinIO's answer.
pub(super) async fn prove(s3: &S3Client, oldest: &Item) -> Result<(), Error> {
    let Item { bucket, object, opens, bytes, .. } = oldest;
    let key = match opens {
        Opens::Key(key) => format!("the oldest under key '{key}'"),
        Opens::Clear | Opens::Client | Opens::Unknown => "the oldest one in clear".to_owned(),
    };
    let what = format!("object '{object}' in bucket '{bucket}', {key}");
    let failed = |why: &dyn std::fmt::Display| Error::Verification(format!("{what}, does not open: {why}"));
    let read = probe::until_ready(&what, DEADLINE, || async {
        match s3.get_start((bucket, object), oldest.version.as_deref(), *bytes == 0).await {
            Err(error) if !error.is_final() => Err(error),
            answer => Ok(answer),
        }
    });
    let read = read.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    if (*bytes).min(START) == read.len() as u64 { Ok(()) } else { Err(failed(&format!("{} bytes came", read.len()))) }
}
