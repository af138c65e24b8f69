//! Folders that go with the process which made them. One that was killed leaves its folders; the next kestack removes them.

use std::fs::{self, File, FileType};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use tempfile::{NamedTempFile, TempDir};

use crate::host::disk::private_tempdir;

/// A folder younger than this may belong to a process that has yet to lock it.
const SETTLED: Duration = Duration::from_secs(5);

/// A folder of mode 0700 that is removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
    /// Locked as long as the process lives, which tells others that the folder is in use.
    held: File,
}

impl Scratch {
    /// Makes a folder in `place` whose name starts with `prefix`, and removes those that killed processes left there.
    ///
    /// # Errors
    /// If the folder cannot be made or locked.
    pub(crate) fn new_in(place: &Path, prefix: &str) -> io::Result<Self> {
        clear_abandoned(place, prefix);
        let folder = private_tempdir(prefix, place)?;
        let held = File::open(folder.path())?;
        held.try_lock()?;
        Ok(Self { folder, held })
    }

    /// Makes one for secrets and sockets: in memory if there is such a place.
    ///
    /// # Errors
    /// If the folder cannot be made or locked in either place.
    pub(crate) fn in_memory(prefix: &str) -> io::Result<Self> {
        let [first, second] = places();
        Self::new_in(&first, prefix).or_else(|_| Self::new_in(&second, prefix))
    }

    /// Makes one for secrets that must never be on a disk.
    ///
    /// # Errors
    /// If there is no such place in memory, or the folder cannot be made or locked there.
    pub(crate) fn only_in_memory(prefix: &str) -> io::Result<Self> {
        let [memory, _] = places();
        Self::new_in(&memory, prefix)
    }

    /// The lock: whoever holds it keeps the folder from being taken for abandoned, also after this process.
    ///
    /// # Errors
    /// If this process has too many open files.
    pub(crate) fn lock(&self) -> io::Result<File> {
        self.held.try_clone()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Where such a folder may be, the best place first: memory, which is writable also where the root is not.
pub(crate) fn places() -> [PathBuf; 2] {
    [PathBuf::from("/dev/shm"), std::env::temp_dir()]
}

/// Removes the folders that killed processes left where secrets and sockets are.
pub(crate) fn clear_places(prefix: &str) {
    for place in places() {
        clear_abandoned(&place, prefix);
    }
}

/// Removes the folders that killed processes left in that one; true if no such folder is there any more, used or not.
pub(crate) fn clear_abandoned(place: &Path, prefix: &str) -> bool {
    clear(place, prefix, FileType::is_dir, |folder| fs::remove_dir_all(folder))
}

/// A file of mode 0600 in `place` whose name starts with `prefix`, for content that gets its own name once it is complete. It
/// goes with the value; those that killed processes left there go first.
///
/// # Errors
/// If it cannot be made.
pub(crate) fn file_in(place: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    clear(place, prefix, FileType::is_file, |file| fs::remove_file(file));
    let file = tempfile::Builder::new().prefix(prefix).tempfile_in(place)?;
    // where nothing can be locked nothing is taken for abandoned
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Removes what killed processes left under such names; true if nothing of that kind is there any more.
fn clear(
    place: &Path,
    prefix: &str,
    is_one: impl Fn(&FileType) -> bool,
    remove: impl Fn(&Path) -> io::Result<()>,
) -> bool {
    let mut is_clear = true;
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        if !entry.file_type().is_ok_and(|kind| is_one(&kind)) {
            continue;
        }
        let path = entry.path();
        let made = entry.metadata().and_then(|meta| meta.modified());
        let is_settled = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > SETTLED));
        // locked until it is removed: another kestack clears as well
        let held = || look_at(&path).ok().filter(|open| open.try_lock().is_ok());
        let removed = if is_settled { held().map(|_held| remove(&path)) } else { None };
        tracing::debug!(path = %path.display(), ?removed, "what a killed kestack left");
        is_clear &= matches!(removed, Some(Ok(())));
    }
    is_clear
}

/// Opens it without following a link or waiting for a writer, whatever it has become meanwhile.
fn look_at(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn abandoned_folders_go_and_others_stay() {
        let place = tempfile::tempdir().unwrap();
        let in_use = Scratch::new_in(place.path(), "kestack-").unwrap();
        let make = |name: &str| {
            let path = place.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let (abandoned, fresh, foreign) = (make("kestack-abandoned"), make("kestack-fresh"), make("other"));
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        for folder in [in_use.path(), &abandoned, &foreign] {
            File::open(folder).unwrap().set_modified(long_ago).unwrap();
        }
        assert!(!clear_abandoned(place.path(), "kestack-"), "one is in use");
        let next = Scratch::new_in(place.path(), "kestack-").unwrap();
        assert!(!abandoned.exists());
        assert!(in_use.path().exists() && next.path().exists() && fresh.exists() && foreign.exists());
        assert!(clear_abandoned(place.path(), "absent-"));
    }

    #[test]
    fn abandoned_files_go_and_those_that_are_written_stay() {
        let place = tempfile::tempdir().unwrap();
        let written = file_in(place.path(), ".part-").unwrap();
        let (left, link) = (place.path().join(".part-left"), place.path().join(".part-link"));
        fs::write(&left, "half").unwrap();
        std::os::unix::fs::symlink(&left, &link).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        for file in [written.path(), &left] {
            File::options().write(true).open(file).unwrap().set_modified(long_ago).unwrap();
        }
        let next = file_in(place.path(), ".part-").unwrap();
        assert!(!left.exists() && written.path().exists() && next.path().exists());
        assert!(link.symlink_metadata().is_ok(), "kestack makes no links");
    }
}
