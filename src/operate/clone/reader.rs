//! Reading all that lies on a drive, by S3.

use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use futures_util::StreamExt as _;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc::channel;

use crate::data::drive::{self, Item};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::servers::s3::{S3Client, S3Error};

/// Versions that are found and not yet read.
const AHEAD: usize = 256;
/// Versions that are read at the same time.
const AT_ONCE: usize = 8;

/// What a version holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    /// Its length.
    pub(crate) bytes: u64,
    /// SHA-256 in hex.
    pub(crate) sha256: String,
}

/// Reads a version to its end.
///
/// # Errors
/// Those of the call, and of an object that ends early.
pub(crate) async fn digest(s3: &S3Client, item: &Item) -> Result<Digest, S3Error> {
    let mut reading = s3.read_object((&item.bucket, &item.object), item.version.as_deref(), item.bytes).await?;
    let (mut context, mut bytes) = (Context::new(&SHA256), 0);
    while let Some(piece) = reading.next().await? {
        context.update(&piece);
        bytes += piece.len() as u64;
    }
    Ok(Digest { bytes, sha256: hex::encode(context.finish()) })
}

/// Does `work` with every version on a drive, several at a time, and gives the results to `take` as they come. Memory does
/// not grow with their number.
///
/// # Errors
/// Those of the drive, and the first of `take`.
pub(crate) async fn in_parallel<T, F: Future<Output = T>>(
    drive: &Path,
    work: impl Fn(Item) -> F,
    mut take: impl FnMut(T) -> Result<(), Error>,
) -> Result<(), Error> {
    let (found, mut next) = channel(AHEAD);
    let (place, named) = (drive.to_owned(), drive.to_owned());
    let look = blocking("read", drive, move || {
        let gone = |_| std::io::Error::other("nobody waits for it any more");
        let visit = |item: Item| found.blocking_send(item).map_err(gone);
        drive::each(&place, visit).map_err(Error::file("read", named))
    });
    let read = async move {
        let mut results = poll_fn(move |context| next.poll_recv(context)).map(work).buffer_unordered(AT_ONCE);
        while let Some(result) = results.next().await {
            take(result)?;
        }
        Ok::<_, Error>(())
    };
    let (looked, read) = tokio::join!(look, read);
    read?;
    looked
}
