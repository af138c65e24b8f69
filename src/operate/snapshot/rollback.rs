//! A drive put back to what a snapshot holds, where it is: what is as it was then stays, so that a restore takes as long
//! as there are changes, not as there are objects.
//!
//! [`Rollback::stage`] copies what differs while MinIO runs; [`Rollback::make`] looks again once it has stopped, moves the
//! copies in and everything else out. It can be killed at any point and made again: it ends with the same drive.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::tree::{Copier, is_content, is_copy, is_unchanged, make_folder};
use super::walk::{Move, Taken, walk};
use crate::error::Error;
use crate::host::disk::{is_absent, remove};

/// Which drive is put back to which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rollback {
    /// The drive of the snapshot.
    pub(super) snapshot: PathBuf,
    /// Where copies wait, on the same file system: each has the number of what it is a copy of (its inode) for a name.
    pub(super) staged: PathBuf,
    /// The drive of the stack.
    pub(super) drive: PathBuf,
}

impl Rollback {
    /// Copies the files of the snapshot that are not on the drive, and complete folders that are not. Changes nothing
    /// of the drive.
    pub(super) fn stage(&self, copier: &Copier) -> Result<Taken, Error> {
        super::make_private(&self.staged)?;
        walk(&self.snapshot, &self.drive, |Move { from, to }| {
            if to.starts_with(&self.staged) {
                return copier.part_of_drive(from, to);
            }
            let mut taken = Taken::default();
            let there = present(to)?;
            for (name, meta) in list(from)? {
                let (path, there) = (from.join(&name), there.get(&name));
                if meta.is_dir() {
                    let is_there = there.is_some_and(Metadata::is_dir);
                    let to = if is_there { to.join(&name) } else { self.staged_as(&meta) };
                    taken.below.push(Move { from: path, to });
                } else if is_to_be_put_back(copier, &path, &meta, there)? {
                    self.copy(copier, &path, &meta)?;
                    taken.count(&meta);
                }
            }
            Ok(taken)
        })
    }

    /// Makes the drive what the snapshot is. MinIO is stopped, and everything was staged. Everything else on the drive
    /// goes below the folder `trash`.
    pub(super) fn make(&self, copier: &Copier, trash: &Path) -> Result<Taken, Error> {
        super::make_private(&self.staged)?;
        let aside = Aside::within(trash)?;
        walk(&self.snapshot, &self.drive, |Move { from, to }| {
            let mut taken = Taken::default();
            adjust_folder(from, to)?;
            let mut there = present(to)?;
            for (name, meta) in list(from)? {
                let (path, target) = (from.join(&name), to.join(&name));
                let mut found = there.remove(&name);
                if found.as_ref().is_some_and(|found| found.file_type() != meta.file_type()) {
                    aside.take(&target)?;
                    found = None;
                }
                if meta.is_dir() {
                    if found.is_some() || !self.move_in(&meta, &target)? {
                        taken.below.push(Move { from: path, to: target });
                    }
                } else if is_to_be_put_back(copier, &path, &meta, found.as_ref())? {
                    let copied = self.copy(copier, &path, &meta)?;
                    // not replaced: what a large file occupies is given back while MinIO starts
                    found.map_or(Ok(()), |_| aside.take(&target))?;
                    std::fs::rename(&copied, &target).map_err(Error::file("move in", &target))?;
                    taken.count(&meta);
                }
            }
            there.into_keys().try_for_each(|name| aside.take(&to.join(name)))?;
            Ok(taken)
        })
    }

    fn staged_as(&self, meta: &Metadata) -> PathBuf {
        self.staged.join(meta.ino().to_string())
    }

    /// Moves a folder in that was staged completely; false if there is none.
    fn move_in(&self, meta: &Metadata, target: &Path) -> Result<bool, Error> {
        match std::fs::rename(self.staged_as(meta), target) {
            Err(error) if is_absent(&error) => Ok(false),
            moved => moved.map(|()| true).map_err(Error::file("move in", target)),
        }
    }

    /// The copy of a file of the snapshot, made unless it is there completely: it gets its time last.
    fn copy(&self, copier: &Copier, from: &Path, meta: &Metadata) -> Result<PathBuf, Error> {
        let copy = self.staged_as(meta);
        if std::fs::symlink_metadata(&copy).is_ok_and(|there| is_copy(&there, meta)) {
            return Ok(copy);
        }
        remove(&copy)?;
        copier.file_of_drive(from, &copy, meta)?;
        Ok(copy)
    }
}

/// Makes the folder if it is not there; its owner and mode become those of the snapshot's.
fn adjust_folder(from: &Path, to: &Path) -> Result<(), Error> {
    let wanted = std::fs::metadata(from).map_err(Error::file("look at", from))?;
    let state = |meta: &Metadata| (meta.mode(), meta.uid(), meta.gid());
    match std::fs::symlink_metadata(to) {
        Ok(found) if state(&found) == state(&wanted) => Ok(()),
        _ => make_folder(to, &wanted).map_err(Error::file("create", to)),
    }
}

/// True if a file of the snapshot is not what is on the drive. Nobody may have written to a file that both share.
fn is_to_be_put_back(copier: &Copier, path: &Path, meta: &Metadata, there: Option<&Metadata>) -> Result<bool, Error> {
    if is_content(path) {
        copier.check_unchanged(path, meta)?;
    }
    Ok(!there.is_some_and(|there| is_unchanged(there, meta)))
}

/// What is in a folder of the drive; nothing if it is not there.
fn present(folder: &Path) -> Result<HashMap<OsString, Metadata>, Error> {
    match list(folder) {
        Err(Error::File { source, .. }) if is_absent(&source) => Ok(HashMap::new()),
        found => found,
    }
}

/// What is in a folder, links not followed.
fn list(folder: &Path) -> Result<HashMap<OsString, Metadata>, Error> {
    let mut found = HashMap::new();
    for entry in std::fs::read_dir(folder).map_err(Error::file("read", folder))? {
        let entry = entry.map_err(Error::file("read", folder))?;
        match entry.metadata() {
            // gone since: MinIO may be running
            Err(error) if is_absent(&error) => {}
            meta => drop(found.insert(entry.file_name(), meta.map_err(Error::file("look at", entry.path()))?)),
        }
    }
    Ok(found)
}

/// A new folder in the trash, in which everything gets a name of its own.
struct Aside {
    folder: PathBuf,
    next: AtomicU64,
}

impl Aside {
    fn within(trash: &Path) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("drive-").tempdir_in(trash);
        let folder = folder.map_err(Error::file("create a folder in", trash))?.keep();
        Ok(Self { folder, next: AtomicU64::new(0) })
    }

    fn take(&self, path: &Path) -> Result<(), Error> {
        let name = self.next.fetch_add(1, Ordering::Relaxed).to_string();
        std::fs::rename(path, self.folder.join(name)).map_err(Error::file("move away", path))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::tree::same;
    use super::super::{Interrupt, Method};
    use super::*;

    struct Case {
        folder: tempfile::TempDir,
        copier: Copier,
        rollback: Rollback,
    }

    /// A drive and its snapshot, as one that shares by links takes it.
    fn case() -> Case {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["restore", "trash"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let mut copier = Copier::within(folder.path(), &Interrupt::default());
        copier.method = Method::LinksAndCopies;
        let rollback = Rollback { snapshot: at("snapshot"), staged: at("restore/minio"), drive: at("minio") };
        let case = Case { folder, copier, rollback };
        for path in ["docs/a/xl.meta", "docs/b/xl.meta", "docs/b/uuid/part.1", "docs/c/xl.meta", ".minio.sys/tmp/half"]
        {
            case.write(path, "then");
        }
        let (drive, snapshot) = (case.rollback.drive.clone(), case.rollback.snapshot.clone());
        let mut copier = Copier::within(case.folder.path(), &Interrupt::default());
        copier.method = Method::LinksAndCopies;
        copier.drive(&drive, &snapshot, None).unwrap();
        std::fs::remove_file(drive.join(".minio.sys/tmp/half")).unwrap();
        assert!(same(&drive, &snapshot).unwrap());
        case
    }

    impl Case {
        fn write(&self, path: &str, text: &str) {
            let path = self.rollback.drive.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn remove(&self, path: &str) {
            let path = self.rollback.drive.join(path);
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
        }

        fn inode(&self, path: &str) -> u64 {
            std::fs::metadata(self.rollback.drive.join(path)).unwrap().ino()
        }

        /// How many files were copied beforehand, and how many put back.
        fn put_back(&self, meanwhile: impl FnOnce()) -> (u64, u64) {
            let staged = self.rollback.stage(&self.copier).unwrap();
            meanwhile();
            let trash = self.folder.path().join("trash");
            let back = self.rollback.make(&self.copier, &trash).unwrap();
            assert!(same(&self.rollback.drive, &self.rollback.snapshot).unwrap());
            let again = self.rollback.make(&self.copier, &trash).unwrap();
            assert_eq!(again.files, 0, "nothing is left to do");
            (staged.files, back.files)
        }
    }

    #[test]
    fn what_is_as_it_was_stays() {
        let case = case();
        let before = ["docs/a/xl.meta", "docs/b/uuid/part.1", "docs"].map(|path| case.inode(path));
        assert_eq!(case.put_back(|| ()), (0, 0));
        assert_eq!(["docs/a/xl.meta", "docs/b/uuid/part.1", "docs"].map(|path| case.inode(path)), before);
    }

    #[test]
    fn whatever_was_changed_is_as_it_was_again() {
        let case = case();
        case.write("docs/a/xl.meta", "late");
        case.remove("docs/b");
        case.write("docs/new/deep/xl.meta", "later");
        case.remove("docs/c");
        case.write("docs/c", "a file where a folder was");
        case.write("other/a/xl.meta", "later");
        case.write(".minio.sys/tmp/half", "later");
        let folder = std::fs::metadata(case.rollback.snapshot.join("docs/b")).unwrap();
        // the folders that are missing are moved in completely
        assert_eq!(case.put_back(|| assert!(case.rollback.staged_as(&folder).join("uuid/part.1").is_file())), (4, 1));
        assert_eq!(case.put_back(|| ()), (0, 0));
        let part = "docs/b/uuid/part.1";
        assert_eq!(case.inode(part), std::fs::metadata(case.rollback.snapshot.join(part)).unwrap().ino());
        let meta = std::fs::metadata(case.rollback.snapshot.join("docs/a/xl.meta")).unwrap();
        assert_ne!(case.inode("docs/a/xl.meta"), meta.ino(), "MinIO writes to it: it is the snapshot's alone");
    }

    #[test]
    fn what_is_changed_before_minio_has_stopped_counts() {
        let case = case();
        let meanwhile = || {
            case.write("docs/a/xl.meta", "late");
            case.remove("docs/b");
            case.write("docs/new/xl.meta", "later");
            std::os::unix::fs::symlink("/etc", case.rollback.drive.join("docs/link")).unwrap();
            case.remove("docs/c");
            std::os::unix::fs::symlink("/etc", case.rollback.drive.join("docs/c")).unwrap();
        };
        assert_eq!(case.put_back(meanwhile), (0, 4));
    }

    #[test]
    fn half_a_copy_is_made_again() {
        let case = case();
        case.write("docs/a/xl.meta", "late");
        case.rollback.stage(&case.copier).unwrap();
        let copies: Vec<_> = std::fs::read_dir(&case.rollback.staged).unwrap().flatten().collect();
        assert_eq!(copies.len(), 1);
        std::fs::write(copies[0].path(), "th").unwrap();
        assert_eq!(case.put_back(|| ()), (1, 1));
    }

    #[test]
    fn modes_are_as_they_were() {
        let case = case();
        let set = |path: &str, mode| {
            let path = case.rollback.drive.join(path);
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set("docs/b", 0o700);
        set("docs/a/xl.meta", 0o600);
        assert_eq!(case.put_back(|| ()).1, 1);
        let mode = |root: &Path, path: &str| std::fs::metadata(root.join(path)).unwrap().mode();
        for path in ["docs/b", "docs/a/xl.meta"] {
            assert_eq!(mode(&case.rollback.drive, path), mode(&case.rollback.snapshot, path), "{path}");
        }
    }

    #[test]
    fn a_time_in_whole_seconds_proves_nothing() {
        let case = case();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        for root in [&case.rollback.snapshot, &case.rollback.drive] {
            let file = std::fs::File::options().write(true).open(root.join("docs/a/xl.meta")).unwrap();
            file.set_modified(time).unwrap();
        }
        assert_eq!(case.rollback.stage(&case.copier).unwrap().files, 1);
        let copies = std::fs::read_dir(&case.rollback.staged).unwrap().flatten();
        let copies: Vec<_> = copies.map(|copy| copy.metadata().unwrap().ino()).collect();
        assert_eq!(case.rollback.make(&case.copier, &case.folder.path().join("trash")).unwrap().files, 1);
        assert_eq!(copies, [case.inode("docs/a/xl.meta")], "a complete copy is not made again");
    }

    #[test]
    fn without_its_snapshot_the_drive_is_left_alone() {
        let case = case();
        std::fs::rename(&case.rollback.snapshot, case.folder.path().join("away")).unwrap();
        assert!(case.rollback.stage(&case.copier).is_err());
        assert!(case.rollback.make(&case.copier, &case.folder.path().join("trash")).is_err());
        assert!(same(&case.rollback.drive, &case.folder.path().join("away")).unwrap());
    }
}
