//! The members of the tar inside: as few kinds as a snapshot needs, everything else is refused.

use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use tar::{Entries, Entry, EntryType};

use super::super::{DESCRIPTION, Interrupt};
use super::{FOLDERS, GUARD, SUMS};
use crate::host::interrupt::Stoppable;

/// Longest path of a member; that of an object has at most 1,024 bytes.
const LONGEST_PATH: u64 = 4096;

/// One line of the sums.
pub(super) fn sum(sha256: &str, path: &Path) -> Vec<u8> {
    [sha256.as_bytes(), b"  ", path.as_os_str().as_bytes(), b"\n"].concat()
}

/// The next member and its path; `None` at the end. A member that a snapshot cannot hold is an error.
pub(super) fn next<'a, R: Read>(entries: &mut Entries<'a, R>) -> io::Result<Option<(PathBuf, Entry<'a, R>)>> {
    let mut long = None;
    for entry in entries {
        let mut entry = entry?;
        match entry.header().entry_type() {
            EntryType::GNULongName if long.is_none() && entry.size() <= LONGEST_PATH => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                bytes.pop_if(|last| *last == 0);
                long = Some(PathBuf::from(std::ffi::OsString::from_vec(bytes)));
            }
            EntryType::Regular | EntryType::Directory => {
                let path = match long {
                    Some(path) => path,
                    None => entry.header().path()?.into_owned(),
                };
                check(&path)?;
                return Ok(Some((path, entry)));
            }
            _ => {
                let path = entry.path_bytes();
                return Err(foreign(&String::from_utf8_lossy(&path)));
            }
        }
    }
    Ok(None)
}

/// Refuses what leads out of the folder, and what no snapshot has.
fn check(path: &Path) -> io::Result<()> {
    let inside = path.components().all(|component| matches!(component, Component::Normal(_)));
    let first = path.iter().next().and_then(|first| first.to_str()).unwrap_or_default();
    let alone = path.iter().count() == 1 && [DESCRIPTION, GUARD, SUMS].contains(&first);
    if inside && (alone || FOLDERS.contains(&first)) { Ok(()) } else { Err(foreign(&path.display().to_string())) }
}

fn foreign(path: &str) -> io::Error {
    // what a stranger named must not reach a terminal as it is
    invalid(&format!("it holds '{}', which does not belong in a snapshot", path.escape_debug()))
}

/// What is wrong with the file itself.
pub(super) fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Counts and digests what is read through it, and ends when a signal came.
pub(super) struct Source<'a, R> {
    inner: Stoppable<'a, R>,
    context: Context,
    bytes: u64,
}

impl<'a, R: Read> Source<'a, R> {
    pub(super) fn new(inner: R, interrupt: &'a Interrupt) -> Self {
        Self { inner: interrupt.reads(inner), context: Context::new(&SHA256), bytes: 0 }
    }

    /// How many bytes that were, and their SHA-256.
    pub(super) fn finish(self) -> (u64, String) {
        (self.bytes, hex::encode(self.context.finish()))
    }
}

impl<R: Read> Read for Source<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(bytes)?;
        self.context.update(bytes.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }
}
