//! A metadata file, with the content of a file of MinIO's own that is too long to be inside: that is in a folder next to
//! it, which has a new name whenever MinIO writes the file.

use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use super::parts::Parts;
use super::{Obstacle, SYSTEM, pieces, xl};

/// Name of the file with the content, in its folder.
pub const PART: &str = "part.1";

/// Longest content that is read.
const MAX: u64 = 16 << 20;

/// How often a file is read that MinIO replaces at that moment.
const TRIES: u32 = 5;

/// A metadata file as it is on the drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The metadata file.
    pub meta: Vec<u8>,
    /// The content next to it, if there is any that MinIO wrote for itself.
    pub part: Option<Part>,
}

/// Content that is not in its metadata file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Name of its folder.
    pub folder: String,
    /// The file in that, with its checksums.
    pub bytes: Vec<u8>,
}

impl Stored {
    /// Reads the metadata file of what is in that folder of the drive, `<bucket>/<object>`.
    ///
    /// # Errors
    /// The outer one if it cannot be read, the inner one if it is too long, or its content is missing.
    pub fn read(path: &Path, folder: &str) -> io::Result<Result<Self, Obstacle>> {
        let read = || std::fs::read(path);
        if !folder.starts_with(SYSTEM) {
            return Ok(Ok(Self { meta: read()?, part: None }));
        }
        Ok(match with_part(path, read, whole)? {
            (_, Beside::Missing) => Err(Obstacle::Content),
            (_, Beside::Found(_, None)) => Err(Obstacle::Length),
            (meta, Beside::Found(folder, Some(bytes))) => Ok(Self { meta, part: Some(Part { folder, bytes }) }),
            (meta, Beside::Nothing) => Ok(Self { meta, part: None }),
        })
    }

    /// The folder next to a metadata file that holds its content; `None` if that is inside, or is of several parts.
    pub(super) fn folder(meta: &[u8]) -> Option<String> {
        xl::uuid(&Parts::of(meta)?.folder()?)
    }

    /// What MinIO keeps in it for itself.
    pub(super) fn content(&self) -> Option<Vec<u8>> {
        match &self.part {
            Some(part) => pieces::joined(&part.bytes),
            None => Parts::of(&self.meta)?.content(),
        }
    }
}

/// What is next to a metadata file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beside<T> {
    /// Nothing needs to.
    Nothing,
    /// It is not there, although the metadata says so.
    Missing,
    /// A folder of that name.
    Found(String, T),
}

/// Reads a metadata file by `first`, and by `second` the content next to it. MinIO may replace both meanwhile.
///
/// # Errors
/// What keeps them from being read.
pub(super) fn with_part<T>(
    path: &Path,
    first: impl Fn() -> io::Result<Vec<u8>>,
    second: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(Vec<u8>, Beside<T>)> {
    let mut meta = first()?;
    for _ in 0..TRIES {
        let Some(folder) = Stored::folder(&meta) else { return Ok((meta, Beside::Nothing)) };
        match second(&path.with_file_name(&folder).join(PART)) {
            Err(error) if error.kind() == ErrorKind::NotFound => meta = first()?,
            found => return Ok((meta, Beside::Found(folder, found?))),
        }
    }
    Ok((meta, Beside::Missing))
}

/// All of a file; `None` if it is too long.
fn whole(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MAX).then_some(bytes))
}
