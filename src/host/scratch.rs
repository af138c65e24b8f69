//! Folders that go with the process which made them. One that was killed leaves its folders; the next kestack removes them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

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

fn clear_abandoned(place: &Path, prefix: &str) {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let made = entry.metadata().and_then(|meta| meta.modified());
        let is_settled = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > SETTLED));
        // locked until it is removed: another kestack clears as well
        let held = || File::open(entry.path()).ok().filter(|folder| folder.try_lock().is_ok());
        if is_folder && is_settled && held().is_some() {
            let removed = fs::remove_dir_all(entry.path());
            tracing::debug!(folder = %entry.path().display(), ?removed, "removed what a killed kestack left");
        }
    }
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
        let next = Scratch::new_in(place.path(), "kestack-").unwrap();
        assert!(!abandoned.exists());
        assert!(in_use.path().exists() && next.path().exists() && fresh.exists() && foreign.exists());
    }
}
