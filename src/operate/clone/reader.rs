//! Reading all that is on a drive, by S3.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use futures_util::StreamExt as _;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc::channel;

use crate::data::drive::{self, Item};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::resource::probe;
use crate::servers::s3::{S3Client, S3Error};

/// Versions that are found and not yet read.
const AHEAD: usize = 256;
/// Versions that are read at the same time.
const AT_ONCE: usize = 8;
/// How long MinIO may take for an object that it does not give at once.
const PATIENCE: Duration = Duration::from_secs(30);
/// After how many versions that used up all of it the others get one try each.
const PATIENT: usize = 3;

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

/// How many versions used up all patience.
#[derive(Debug, Default)]
pub(crate) struct Patience(AtomicUsize);

impl Patience {
    /// Reads a version to its end. MinIO answers 503 now and then, and for a while after its start.
    ///
    /// # Errors
    /// As [`digest`].
    pub(crate) async fn digest(&self, s3: &S3Client, item: &Item) -> Result<Digest, Error> {
        let what = format!("object '{}' in bucket '{}'", item.object, item.bucket);
        let read = probe::until_ready(&what, PATIENCE, || async {
            match digest(s3, item).await {
                Err(error) if !error.is_final() && !self.is_over() => Err(error),
                answer => Ok(answer),
            }
        });
        let read = read.await;
        self.note(&read);
        Ok(read??)
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= PATIENT
    }

    fn note<T>(&self, read: &Result<T, Error>) {
        if matches!(read, Err(Error::NotReady { .. })) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// True if a metadata file of a drive is not any more what it was when the drive was cloned.
pub(crate) fn is_changed(cloned: &Path, now: &Path) -> bool {
    match (std::fs::read(cloned), std::fs::read(now)) {
        (Ok(then), Ok(now)) => then != now,
        (Ok(_), Err(error)) => error.kind() == std::io::ErrorKind::NotFound,
        (Err(_), _) => false,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_over_after_three_versions_that_used_all_of_it() {
        let patience = Patience::default();
        let late = Err::<(), _>(Error::NotReady { what: "a".into(), after: PATIENCE, last: "503".into() });
        for _ in 0..2 {
            patience.note(&late);
            patience.note(&Ok(()));
        }
        assert!(!patience.is_over());
        patience.note(&late);
        assert!(patience.is_over());
    }
}
