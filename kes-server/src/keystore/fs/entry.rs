//! Reading an entry of the folder, whatever is there under the name of a key.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

/// Largest value in bytes, as MinIO KES reads it.
const MAX_VALUE: u64 = 1 << 20;

/// Reads a value. Links are followed: in a mounted Kubernetes Secret every file is one.
///
/// # Errors
/// Those of the file system; what is not a regular file, or larger than any key, is refused without being read.
pub(super) fn read(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    content(&open_regular(file)?)
}

/// The bytes of an open entry.
///
/// # Errors
/// As [`read`].
pub(super) fn content(open: &File) -> io::Result<Zeroizing<Vec<u8>>> {
    let length = length(&open.metadata()?)?;
    // With room to spare, the buffer is never moved, which would leave a copy of the key behind.
    let room = usize::try_from(length).unwrap_or_default() + 64;
    let mut value = Zeroizing::new(Vec::with_capacity(room));
    open.take(MAX_VALUE + 1).read_to_end(&mut value)?;
    bounded(value.len() as u64)?;
    Ok(value)
}

/// Opens a file that has at most the size of a key.
///
/// # Errors
/// As [`read`].
pub(super) fn open_regular(file: &Path) -> io::Result<File> {
    // Before it is opened: opening a FIFO or a device is an event for whoever has its other end.
    length(&file.metadata()?)?;
    let open = open(file)?;
    length(&open.metadata()?)?;
    Ok(open)
}

/// True for a file that every user of the machine may read.
pub(super) fn is_readable_by_all(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.mode() & 0o004 != 0)
}

/// Opens an entry for reading, of whatever kind it is, without waiting for anybody.
pub(super) fn open(file: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(file, flags, Mode::empty())?))
}

/// The length of a file that may be a key.
fn length(found: &Metadata) -> io::Result<u64> {
    if !found.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    bounded(found.len())
}

fn bounded(length: u64) -> io::Result<u64> {
    if length > MAX_VALUE {
        return Err(io::Error::other(format!("{length} bytes are more than a key can have: {MAX_VALUE}")));
    }
    Ok(length)
}
