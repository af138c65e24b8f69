//! Changing the folder so that a crash leaves either the state before or the state after.

use std::fs::{File, Metadata, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;

use super::super::KeyStoreError;
use super::{entry, failure, text};

/// Start of the names of files that are being written where files without a name are not possible.
pub(super) const UNFINISHED: &str = ".kes-new-";

/// Stores a value under a name that is free.
///
/// # Errors
/// [`KeyStoreError::Exists`] if anything has the name, also on a disk that is full or read-only.
pub(super) fn create(folder: &Path, file: &Path, value: &[u8]) -> Result<(), KeyStoreError> {
    // Before anything is written: a disk that takes no more must not hide that the key is there.
    if file.symlink_metadata().is_ok() {
        return Err(KeyStoreError::Exists);
    }
    let placed = match unnamed(folder, file, value) {
        Err(error) if is_unsupported(&error) => named(folder, file, value),
        placed => placed,
    };
    let sync = placed.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => KeyStoreError::Exists,
        _ => failure(folder, file, &error),
    })?;
    sync.run().map_err(|error| unsynced(file, "stored", &error))
}

/// Removes an entry; an empty folder as well, as MinIO KES does.
pub(super) fn delete(folder: &Path, file: &Path) -> Result<(), KeyStoreError> {
    let failed = |error: &io::Error| failure(folder, file, error);
    let sync = Sync::of(folder, || entry::open(file)).map_err(|error| failed(&error))?;
    let removed = match std::fs::remove_file(file) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => std::fs::remove_dir(file),
        removed => removed,
    };
    removed.map_err(|error| failed(&error))?;
    sync.run().map_err(|error| unsynced(file, "removed", &error))
}

/// Writes a value to a file without a name and links it to its name: whenever the process ends, nothing is left over.
fn unnamed(folder: &Path, file: &Path, value: &[u8]) -> io::Result<Sync> {
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let unfinished = File::from(rustix::fs::open(folder, flags, Mode::from_raw_mode(0o600))?);
    write(&unfinished, value)?;
    let sync = Sync::of(folder, || unfinished.try_clone())?;
    let path = format!("/proc/self/fd/{}", unfinished.as_raw_fd());
    rustix::fs::linkat(CWD, path, CWD, file, AtFlags::SYMLINK_FOLLOW)?;
    Ok(sync)
}

/// The same for network file systems, and where `/proc` is missing: through a name that no key can have. It is locked
/// for as long as somebody writes it.
fn named(folder: &Path, file: &Path, value: &[u8]) -> io::Result<Sync> {
    let unfinished = unfinished(folder)?;
    write(unfinished.as_file(), value)?;
    let sync = Sync::of(folder, || unfinished.as_file().try_clone())?;
    unfinished.persist_noclobber(file).map_err(|refused| refused.error)?;
    Ok(sync)
}

/// Puts a file in place of another one, whose owner and mode it gets, or of none. It lasts once [`sync_folder`] is done.
pub(super) fn replace(folder: &Path, file: &Path, value: &[u8], former: &Metadata) -> io::Result<()> {
    let unfinished = unfinished(folder)?;
    let made = unfinished.as_file().metadata()?;
    if (made.uid(), made.gid()) != (former.uid(), former.gid()) {
        fchown(unfinished.as_file(), Some(former.uid()), Some(former.gid()))?;
    }
    if former.is_file() {
        unfinished.as_file().set_permissions(former.permissions())?;
    }
    write(unfinished.as_file(), value)?;
    unfinished.persist(file).map_err(|refused| refused.error)?;
    Ok(())
}

/// Makes all changes of a folder last.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    Sync::of(folder, || entry::open(folder))?.run()
}

/// A new file under a name that no key can have.
fn unfinished(folder: &Path) -> io::Result<NamedTempFile> {
    // Several kes may share the folder, each of them process 1 of its container: only chance tells their files apart.
    tempfile::Builder::new().prefix(UNFINISHED).make_in(folder, |path| {
        let open = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        // Where locks are not supported, age decides.
        let _: io::Result<()> = open.lock();
        // Another kes that starts may have cleared it away before it was locked: then under another name.
        if open.metadata()?.nlink() == 0 { Err(ErrorKind::AlreadyExists.into()) } else { Ok(open) }
    })
}

fn write(mut file: &File, value: &[u8]) -> io::Result<()> {
    file.write_all(value)?;
    file.sync_all()
}

/// How a change of the folder is made to last. Opened before the change: what is impossible is seen in time.
enum Sync {
    Folder(File),
    /// By way of one of its files.
    FileSystem(File),
}

impl Sync {
    /// A folder that may not be read cannot be opened to be synced; then `entry` stands for its file system.
    fn of(folder: &Path, entry: impl FnOnce() -> io::Result<File>) -> io::Result<Self> {
        match File::open(folder) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => entry().map(Self::FileSystem),
            opened => opened.map(Self::Folder),
        }
    }

    fn run(&self) -> io::Result<()> {
        match self {
            Self::Folder(folder) => folder.sync_all().or_else(|error| {
                // Some network file systems do not sync folders.
                if is_unsupported(&error) { Ok(rustix::fs::syncfs(folder)?) } else { Err(error) }
            }),
            Self::FileSystem(entry) => Ok(rustix::fs::syncfs(entry)?),
        }
    }
}

/// What a file system answers that has no such call, or not for such files.
fn is_unsupported(error: &io::Error) -> bool {
    let unsupported =
        [Errno::OPNOTSUPP, Errno::INVAL, Errno::NOSYS, Errno::ISDIR, Errno::NOENT, Errno::PERM, Errno::XDEV];
    Errno::from_io_error(error).is_some_and(|errno| unsupported.contains(&errno))
}

fn unsynced(file: &Path, done: &str, error: &io::Error) -> KeyStoreError {
    let cause = text(file, error);
    KeyStoreError::Unsynced(format!("{cause}: the key is {done}, but a crash of the machine may undo that"))
}

/// Removes the unfinished files of processes that have ended: MinIO KES takes them for keys. A file that cannot be
/// removed is in nobody's way here.
pub(super) fn clear_unfinished(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED)) {
            clear(&entry.path());
        }
    }
}

/// Removes a file unless somebody writes it, whose lock it then has.
fn clear(file: &Path) {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = rustix::fs::open(file, flags, Mode::empty()).map(File::from);
    // Held until the file is gone.
    let locked = open.map(|open| (open.try_lock(), open));
    let is_abandoned = match &locked {
        Ok((Ok(()), _)) => true,
        Ok((Err(TryLockError::WouldBlock), _)) => false,
        Ok((Err(TryLockError::Error(_)), _)) | Err(_) => is_stale(file),
    };
    if is_abandoned {
        let _: io::Result<()> = std::fs::remove_file(file);
    }
}

fn is_stale(file: &Path) -> bool {
    const STALE: Duration = Duration::from_secs(60);
    let changed = file.symlink_metadata().and_then(|found| found.modified());
    changed.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > STALE))
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn what_ended_processes_left_is_cleared_at_once_and_what_is_being_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let [left, written] = ["1", "2"].map(|name| folder.path().join(format!("{UNFINISHED}{name}")));
        std::fs::write(&left, "half").unwrap();
        let open = File::create(&written).unwrap();
        open.lock().unwrap();
        clear_unfinished(folder.path());
        assert!(!left.exists() && written.exists());
        drop(open);
        clear_unfinished(folder.path());
        assert!(!written.exists());
    }

    #[test]
    fn both_ways_to_a_name_leave_nothing_else_and_take_no_name_twice() {
        let folder = tempfile::tempdir().unwrap();
        for (name, way) in [("a", unnamed as fn(&Path, &Path, &[u8]) -> io::Result<Sync>), ("b", named)] {
            let file = folder.path().join(name);
            way(folder.path(), &file, b"value").unwrap().run().unwrap();
            let taken = way(folder.path(), &file, b"other").err().unwrap();
            assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{name}");
            assert_eq!(std::fs::read(&file).unwrap(), b"value", "{name}");
            assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600, "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
