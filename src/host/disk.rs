//! File system calls that many modules need.

use std::ffi::{CStr, OsStr};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, openat, statvfs};
use rustix::path::Arg;
use tempfile::TempDir;

use super::error::HostError;

/// How names begin of what is being written; whoever is killed meanwhile leaves one.
pub(crate) const UNFINISHED: &str = ".kestack-";

/// Mode of a folder that only its owner may enter.
pub(crate) const PRIVATE: u32 = 0o700;

/// True if there was nothing to work on: no such file, or none of the folders above it.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// What was found, or nothing if it went before anybody looked.
///
/// # Errors
/// Those of the look, but for a file that is not there.
pub(crate) fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// True if the file system has no room, or the user's share of it is used up.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// How many threads remove a folder. Most of the time each waits for the file system, whatever the processors.
const THREADS: usize = 4;

/// What a file has to outlast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlasts {
    /// A crash of the machine.
    Machine,
    /// The process that writes it: made again after more than that.
    Process,
}

/// Writes a private file completely or not at all: readers see the old content or the new.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn replace(path: &Path, content: &[u8], outlasts: Outlasts) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
    file.write_all(content)?;
    if outlasts == Outlasts::Machine {
        file.as_file().sync_all()?;
    }
    file.persist(path)?;
    Ok(())
}

/// Removes a folder and all below it; one that is not there is removed.
///
/// # Errors
/// [`HostError::File`] if something of it stays.
pub(crate) fn clear(folder: &Path) -> Result<(), HostError> {
    // what stays for whatever reason is removed below, or named
    let _ = clear_below(folder);
    match std::fs::remove_dir_all(folder) {
        Err(error) if folder.exists() => Err(HostError::file("remove", folder)(error)),
        _ => Ok(()),
    }
}

/// Removes the folders below that one side by side, if there are many of them. The folders above them are held open and
/// no link is followed: who may write to a drive cannot make somebody else's files of them meanwhile.
fn clear_below(folder: &Path) -> io::Result<()> {
    let mut above = vec![open(CWD, folder)?];
    loop {
        let mut below = Vec::new();
        for parent in &above {
            for entry in Dir::read_from(parent)? {
                let entry = entry?;
                if entry.file_type() == FileType::Directory && ![c".", c".."].contains(&entry.file_name()) {
                    below.push((parent, entry.file_name().to_owned()));
                }
            }
        }
        if below.is_empty() {
            return Ok(());
        }
        if below.len() >= 4 * THREADS {
            std::thread::scope(|scope| {
                for share in below.chunks(below.len().div_ceil(THREADS)) {
                    scope.spawn(|| share.iter().for_each(|(parent, name)| drop(remove_in(parent, name))));
                }
            });
            return Ok(());
        }
        above = below.iter().map(|(parent, name)| open(parent, name.as_c_str())).collect::<io::Result<_>>()?;
    }
}

fn open(parent: impl AsFd, name: impl Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

fn remove_in(parent: &OwnedFd, name: &CStr) -> io::Result<()> {
    let parent = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
    std::fs::remove_dir_all(parent.join(OsStr::from_bytes(name.to_bytes())))
}

/// Makes a folder and those above it that are not there; whatever the caller's umask, only their owner may enter them.
///
/// # Errors
/// [`HostError::File`] if one cannot be made.
pub(crate) fn create_private(folder: &Path) -> Result<(), HostError> {
    let mut above = folder;
    let mut missing = Vec::new();
    while !above.as_os_str().is_empty() && std::fs::symlink_metadata(above).is_err_and(|error| is_absent(&error)) {
        missing.push(above);
        let Some(parent) = above.parent() else { break };
        above = parent;
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE)
        .create(folder)
        .map_err(HostError::file("create", folder))?;
    // a umask can also take rights from the owner
    for made in missing {
        set_private(made)?;
    }
    Ok(())
}

/// Makes a folder of another name each time, which only its owner may enter, with any umask; it is removed with the
/// value.
///
/// # Errors
/// Those of the file system.
pub(crate) fn private_tempdir(prefix: &str, within: &Path) -> io::Result<TempDir> {
    let private = std::fs::Permissions::from_mode(PRIVATE);
    tempfile::Builder::new().prefix(prefix).permissions(private).tempdir_in(within)
}

/// Gives a folder the mode in which only its owner may enter it, unless it has that.
///
/// # Errors
/// [`HostError::File`] if it cannot be looked at or changed.
pub(crate) fn set_private(folder: &Path) -> Result<(), HostError> {
    let found = std::fs::metadata(folder).map_err(HostError::file("look at", folder))?;
    if found.mode() & 0o7777 == PRIVATE {
        return Ok(());
    }
    let private = std::fs::Permissions::from_mode(PRIVATE);
    std::fs::set_permissions(folder, private).map_err(HostError::file("set the mode of", folder))
}

/// The folder of a file that somebody named: the one where the program runs if the name has no other.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What a disk has room for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes for whoever is not root.
    pub(crate) bytes: u64,
    /// Blocks of a file or a folder: each takes one at least.
    pub(crate) blocks: u64,
    /// Files and folders; `None` if the file system makes room for them as they come.
    pub(crate) files: Option<u64>,
}

/// What the disk of a folder has room for.
///
/// # Errors
/// [`HostError::File`] if it does not say.
pub(crate) fn room(folder: &Path) -> Result<Room, HostError> {
    let found = statvfs(folder).map_err(|error| HostError::file("look at", folder)(error.into()))?;
    Ok(Room {
        bytes: found.f_bavail.saturating_mul(found.f_frsize),
        blocks: found.f_bavail,
        files: (found.f_files > 0).then_some(found.f_favail),
    })
}

/// Removes a file; one that is not there is removed.
///
/// # Errors
/// [`HostError::File`] if it stays.
pub(crate) fn remove(file: &Path) -> Result<(), HostError> {
    match std::fs::remove_file(file) {
        Err(error) if !is_absent(&error) => Err(HostError::file("remove", file)(error)),
        _ => Ok(()),
    }
}

/// What a file holds; `None` if it is not there.
///
/// # Errors
/// [`HostError::File`] if it is there and cannot be read.
pub(crate) fn read(file: &Path) -> Result<Option<Vec<u8>>, HostError> {
    match std::fs::read(file) {
        Err(error) if is_absent(&error) => Ok(None),
        found => found.map(Some).map_err(HostError::file("read", file)),
    }
}

/// Tells the file system that what is in the folders below that one has nothing to do with each other, so that each gets a
/// place of its own (`chattr +T`, chattr(1)). On ext4 a folder otherwise is near the one above it, where for minutes a new
/// file looks for a place among all that were lately removed: 1,000 files took 80 ms, and 760 after a few thousand removals.
/// A hint: other file systems need none.
pub(crate) fn spread(folder: &Path) {
    #[cfg(target_os = "linux")]
    if let Ok(open) = open(CWD, folder)
        && let Ok(flags) = rustix::fs::ioctl_getflags(&open)
    {
        let _ = rustix::fs::ioctl_setflags(&open, flags | rustix::fs::IFlags::TOPDIR);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = folder;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_folders_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = private_tempdir(UNFINISHED, folder.path()).unwrap();
        assert_eq!(std::fs::metadata(made.path()).unwrap().mode() & 0o7777, PRIVATE);
        let deep = folder.path().join("a/b");
        create_private(&deep).unwrap();
        for made in [&deep, deep.parent().unwrap()] {
            assert_eq!(std::fs::metadata(made).unwrap().mode() & 0o7777, PRIVATE);
        }
    }

    #[test]
    fn what_is_absent_is_nothing_and_what_is_in_the_way_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "content").unwrap();
        assert_eq!(read(&file).unwrap().unwrap(), b"content");
        remove(&file).unwrap();
        for absent in [&file, &file.join("below")] {
            assert_eq!(read(absent).unwrap(), None);
            remove(absent).unwrap();
            clear(absent).unwrap();
        }
        let (held, said) = (folder.path(), format!("'{}'", folder.path().display()));
        assert!(read(held).unwrap_err().to_string().contains(&said));
        assert!(remove(held).unwrap_err().to_string().contains(&said));
        clear(held).unwrap();
        assert!(!held.exists());
    }

    #[test]
    fn many_folders_go_and_what_links_lead_to_stays() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(other.path().join("kept")).unwrap();
        let link = |at: &Path| std::os::unix::fs::symlink(other.path(), at).unwrap();
        let trash = folder.path().join("trash");
        for number in 0..100 {
            let below = trash.join(format!("minio/bucket/{number}"));
            std::fs::create_dir_all(&below).unwrap();
            std::fs::write(below.join("xl.meta"), "content").unwrap();
            link(&below.join("link"));
        }
        std::fs::write(trash.join("guard.json"), "content").unwrap();
        link(&trash.join("minio/bucket/link"));
        let names: Vec<_> = std::fs::read_dir(trash.join("minio/bucket")).unwrap().collect();
        assert_eq!(names.len(), 101);
        clear_below(&trash).unwrap();
        assert_eq!(std::fs::read_dir(trash.join("minio/bucket")).unwrap().count(), 1, "only the link is left");
        link(&folder.path().join("link"));
        assert!(clear_below(&folder.path().join("link")).is_err());
        clear(&trash).unwrap();
        assert!(!trash.exists() && other.path().join("kept").exists());
    }
}
