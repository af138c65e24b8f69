//! One version, from MinIO into its file.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::destination::Destination;
use crate::data::drive::Item;
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::servers::s3::{Reading, S3Client, S3Error};

/// What became of a version.
#[derive(Debug)]
pub(super) enum Written {
    /// All of it is in this file; true if that could not have the object's own name.
    All { bytes: u64, path: PathBuf, is_odd: bool },
    /// MinIO did not give it, and why; nothing of it was kept.
    Not(String),
}

/// Writes a version.
///
/// # Errors
/// Those of the destination: the disk is full, for example.
pub(super) async fn one(s3: &S3Client, destination: &Destination, item: &Item) -> Result<Written, Error> {
    let asked = s3.read_object((&item.bucket, &item.object), item.version.as_deref(), item.bytes).await;
    let mut reading = match asked {
        Ok(reading) => reading,
        Err(error) => return Ok(Written::Not(error.to_string())),
    };
    let (file, path, is_odd) = destination.create(item)?;
    match filled(&mut reading, file, &path).await? {
        Ok(bytes) => Ok(Written::All { bytes, path, is_odd }),
        Err(error) => {
            std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
            Ok(Written::Not(error.to_string()))
        }
    }
}

async fn filled(reading: &mut Reading, file: File, path: &Path) -> Result<Result<u64, S3Error>, Error> {
    let (mut file, mut bytes) = (file, 0);
    loop {
        let piece = match reading.next().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(Ok(bytes)),
            Err(error) => return Ok(Err(error)),
        };
        bytes += piece.len() as u64;
        let place = path.to_owned();
        let written = move || file.write_all(&piece).map(|()| file).map_err(Error::file("write", place));
        file = blocking("write", path, written).await?;
    }
}
