//! MinIO with a KMS of the user's: kestack becomes that MinIO, and leaves a record by which `--check` finds it.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;

use rustix::io::{FdFlags, fcntl_setfd};

use super::arguments;
use super::check::{self, Record};
use super::drive;
use super::gate;
use super::minio_words::MinioWords;
use super::plan;
use crate::error::Error;
use crate::host::scratch::Scratch;
use crate::manifest::Environment;

/// Becomes MinIO's `server` with these arguments.
///
/// # Errors
/// [`Error::Environment`] if a kestack serves the drive; else why MinIO cannot be run.
pub(super) async fn serve(arguments: &[OsString], env: Environment<'_>, words: &MinioWords<'_>) -> Result<(), Error> {
    // mistakes are MinIO's to find
    let server = arguments::read(arguments, &|name| words.value(name), &mut Vec::new());
    let drive = server.all_drives().first().and_then(|drive| std::path::absolute(drive).ok());
    let lock = match &drive {
        Some(drive) => drive::lock_known(drive).await?,
        None => None,
    };
    let s3 = gate::reachable(&server.address).map(|address| check::endpoint(plan::has_tls(&server, env), address));
    let place = s3.zip(drive).and_then(|(s3, drive)| {
        recorded(s3, drive).inspect_err(|error| tracing::warn!("`--check` will not find this MinIO: {error}")).ok()
    });
    let known = place.as_ref().and_then(|place| place.lock().ok());
    for file in lock.iter().chain(&known) {
        outlasts_us(file)?;
    }
    let all: Vec<OsString> = ["server".into()].into_iter().chain(arguments.iter().cloned()).collect();
    super::pass_through(&all)
}

/// A folder with a record, for as long as somebody holds its lock. Whoever makes the next one removes it afterwards.
fn recorded(s3: String, drive: PathBuf) -> Result<Scratch, Error> {
    let place = plan::place()?;
    Record::new(s3, None, drive).write(place.path())?;
    Ok(place)
}

/// Leaves the file open in the program that this one becomes: its lock lives as long.
fn outlasts_us(file: &File) -> Result<(), Error> {
    fcntl_setfd(file, FdFlags::empty()).map_err(|error| Error::file("keep open", "/proc/self/fd")(error.into()))
}
