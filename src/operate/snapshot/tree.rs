//! A folder with all below it, taken somewhere else on the same file system: cloned, linked or copied.

use std::fs::{DirBuilder, File, FileTimes, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::walk::{Move, Taken, walk};
use super::{Interrupt, Method};
use crate::error::Error;
use crate::host::disk::UNFINISHED;

/// What is below MinIO's own folder and of no use to the next start: files that are being written.
const TEMPORARY: &str = ".minio.sys/tmp";

/// Bytes that are copied between two looks at the time.
const PIECE: u64 = 8 << 20;

/// Takes trees to where a snapshot or a restore needs them, and counts.
#[derive(Debug)]
pub(in crate::operate) struct Copier {
    pub(in crate::operate) method: Method,
    pub(in crate::operate) files: u64,
    pub(in crate::operate) bytes: u64,
    /// When the file was changed that was changed last.
    pub(super) newest: Option<SystemTime>,
    /// A shared file that was changed after this moment is not what it was.
    pub(super) not_after: Option<SystemTime>,
    /// True if somebody may write to the drive meanwhile: files that go are left out.
    pub(in crate::operate) is_live: bool,
    /// When nobody waits any longer for it.
    pub(in crate::operate) end: Option<Instant>,
    interrupt: Interrupt,
}

impl Copier {
    /// One that shares as much as the file system of the folder `to` can: clones, else links.
    pub(in crate::operate) fn within(to: &Path, interrupt: &Interrupt) -> Self {
        let method = if can_clone(to) { Method::Clones } else { Method::LinksAndCopies };
        Self {
            method,
            files: 0,
            bytes: 0,
            newest: None,
            not_after: None,
            is_live: false,
            end: None,
            interrupt: interrupt.clone(),
        }
    }

    /// Takes a drive; what MinIO was only writing stays behind. What is as it was in `former`, the drive of another
    /// snapshot, is shared with that: neither is written to.
    pub(in crate::operate) fn drive(&mut self, from: &Path, to: &Path, former: Option<&Path>) -> Result<(), Error> {
        self.folder(from, to, Kind::Drive { root: from, former })
    }

    /// Copies a folder of small files, each for itself.
    pub(in crate::operate) fn files(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        self.folder(from, to, Kind::Apart)
    }

    /// Copies a file if it is there.
    pub(in crate::operate) fn file(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        match std::fs::symlink_metadata(from) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            found => {
                let meta = found.map_err(Error::file("look at", from))?;
                self.entry(from, to, &meta, Kind::Apart)?;
                self.files += 1;
                self.bytes += meta.len();
                Ok(())
            }
        }
    }

    /// Takes a folder of a drive with its files, without the folders below.
    pub(super) fn part_of_drive(&self, from: &Path, to: &Path) -> Result<Taken, Error> {
        self.take(from, to, Kind::Drive { root: from, former: None })
    }

    /// Takes a file of a drive.
    pub(super) fn file_of_drive(&self, from: &Path, to: &Path, meta: &Metadata) -> Result<(), Error> {
        self.entry(from, to, meta, Kind::Drive { root: from, former: None })
    }

    fn folder(&mut self, from: &Path, to: &Path, kind: Kind<'_>) -> Result<(), Error> {
        let copier = &*self;
        let taken = walk(from, to, |Move { from, to }| copier.take(from, to, kind))?;
        self.files += taken.files;
        self.bytes += taken.bytes;
        self.newest = self.newest.max(taken.newest);
        Ok(())
    }

    /// Takes a folder with its files, without the folders below.
    fn take(&self, from: &Path, to: &Path, kind: Kind<'_>) -> Result<Taken, Error> {
        let mut taken = Taken::default();
        let Some(meta) = self.unless_gone(from, std::fs::metadata(from).map_err(Error::file("look at", from)))? else {
            return Ok(taken);
        };
        make_folder(to, &meta).map_err(Error::file("create", to))?;
        if kind.stays_behind(from) {
            return Ok(taken);
        }
        let entries = self.unless_gone(from, std::fs::read_dir(from).map_err(Error::file("read", from)))?;
        for entry in entries.into_iter().flatten() {
            let entry = entry.map_err(Error::file("read", from))?;
            let (path, target) = (entry.path(), to.join(entry.file_name()));
            let found = entry.metadata().map_err(Error::file("look at", &path));
            let Some(meta) = self.unless_gone(&path, found)? else { continue };
            if meta.is_dir() {
                taken.below.push(Move { from: path, to: target });
            } else if self.unless_gone(&path, self.entry(&path, &target, &meta, kind))?.is_some() {
                taken.count(&meta);
            }
        }
        Ok(taken)
    }

    /// `None` for what went while somebody writes to the drive.
    fn unless_gone<T>(&self, path: &Path, done: Result<T, Error>) -> Result<Option<T>, Error> {
        let is_gone = || std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        match done {
            Err(Error::File { .. }) if self.is_live && is_gone() => Ok(None),
            done => done.map(Some),
        }
    }

    fn entry(&self, from: &Path, to: &Path, meta: &Metadata, kind: Kind<'_>) -> Result<(), Error> {
        self.interrupt.check()?;
        self.check_time()?;
        if !meta.is_file() {
            return Err(Error::Environment {
                what: format!("'{}' is neither a file nor a folder", from.display()),
                hint: "remove it: neither kestack nor MinIO made it".into(),
            });
        }
        let done = match self.method {
            Method::Clones => clone_file(from, to, meta),
            Method::LinksAndCopies if kind.is_shared(from) => {
                self.check_unchanged(from, meta)?;
                std::fs::hard_link(from, to)
            }
            Method::LinksAndCopies => match kind.former(from, meta) {
                Some(former) => std::fs::hard_link(former, to),
                None => Err(io::ErrorKind::Unsupported.into()),
            },
            Method::Copies => Err(io::ErrorKind::Unsupported.into()),
        };
        let copied = done.or_else(|_| match self.end {
            Some(end) => copy_until(end, from, to, meta),
            None => copy(from, to, meta),
        });
        copied.map_err(|error| self.check_time().err().unwrap_or_else(|| Error::file("copy", from)(error)))
    }

    fn check_time(&self) -> Result<(), Error> {
        if self.end.is_none_or(|end| Instant::now() < end) {
            return Ok(());
        }
        Err(Error::Environment {
            what: "copying the drive takes longer than MinIO may be paused".into(),
            hint: "stop the stack first, or put --work-dir on the drive's file system; nothing was changed".into(),
        })
    }

    /// What is shared with a running MinIO could have been changed by it, though no MinIO was seen to.
    pub(super) fn check_unchanged(&self, from: &Path, meta: &Metadata) -> Result<(), Error> {
        let changed = meta.modified().map_err(Error::file("look at", from))?;
        if self.not_after.is_some_and(|moment| changed > moment) {
            return Err(Error::Environment {
                what: format!("'{}' was changed after the snapshot was taken", from.display()),
                hint: "this snapshot cannot be restored; nothing was changed".into(),
            });
        }
        Ok(())
    }
}

/// Whose files a tree holds.
#[derive(Debug, Clone, Copy)]
enum Kind<'a> {
    /// MinIO's, below `root`; `former` is the drive of another snapshot.
    Drive { root: &'a Path, former: Option<&'a Path> },
    /// Others', each for itself.
    Apart,
}

impl Kind<'_> {
    fn stays_behind(self, folder: &Path) -> bool {
        match self {
            Self::Drive { root, .. } => folder.strip_prefix(root).is_ok_and(|below| below == Path::new(TEMPORARY)),
            Self::Apart => false,
        }
    }

    fn is_shared(self, file: &Path) -> bool {
        matches!(self, Self::Drive { .. }) && is_content(file)
    }

    /// A file that nobody writes to and that is as this one.
    fn former(self, file: &Path, meta: &Metadata) -> Option<PathBuf> {
        let Self::Drive { root, former } = self else { return None };
        let former = former?.join(file.strip_prefix(root).ok()?);
        is_unchanged(meta, &std::fs::symlink_metadata(&former).ok()?).then_some(former)
    }
}

/// `part.1` and so on, the content of objects: MinIO makes them elsewhere, renames them and never writes to them
/// again. Its `xl.meta` it does write to.
pub(in crate::operate) fn is_content(file: &Path) -> bool {
    let number = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("part."));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// True if two files are the same, or one was copied from the other and neither was written to since: a copy gets the time
/// of its original file, and MinIO is stopped and started between two snapshots. A time in full seconds says too
/// little: it is that of an imported snapshot, or of a file system that knows no other.
pub(super) fn is_unchanged(one: &Metadata, other: &Metadata) -> bool {
    is_copy(one, other) && (one.mtime_nsec() != 0 || one.ino() == other.ino())
}

/// True if one of two files is a copy of the other for all that their metadata says, or both are the same.
pub(super) fn is_copy(one: &Metadata, other: &Metadata) -> bool {
    let state = |meta: &Metadata| (meta.len(), meta.mtime(), meta.mtime_nsec(), meta.mode(), meta.uid(), meta.gid());
    one.is_file() && other.is_file() && one.dev() == other.dev() && state(one) == state(other)
}

/// True if both folders hold the same files with the same bytes; what is not there holds none.
pub(super) fn same(one: &Path, other: &Path) -> Result<bool, Error> {
    let (one, other) = (content(one)?, content(other)?);
    Ok(one == other)
}

fn content(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(below) = open.pop() {
        let path = folder.join(&below);
        let entries = match std::fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(Error::file("read", &path))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::file("read", &path))?;
            let below = below.join(entry.file_name());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(below);
            } else {
                let bytes = std::fs::read(entry.path()).map_err(Error::file("read", entry.path()))?;
                found.push((below, bytes));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Writes everything of the file system that the folder is on to disk: thousands of files at once.
pub(in crate::operate) fn sync(folder: &Path) -> Result<(), Error> {
    let failed = |error| Error::file("sync", folder)(error);
    let open = File::open(folder).map_err(failed)?;
    #[cfg(target_os = "linux")]
    let done = rustix::fs::syncfs(&open).map_err(io::Error::from);
    #[cfg(not(target_os = "linux"))]
    let done = {
        rustix::fs::sync();
        open.sync_all()
    };
    done.map_err(failed)
}

pub(super) fn make_folder(to: &Path, like: &Metadata) -> io::Result<()> {
    match DirBuilder::new().mode(like.mode() & 0o777).create(to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(like.mode() & 0o777))?;
    give(to, like)
}

fn copy(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    std::fs::copy(from, to)?;
    finish(&File::options().write(true).open(to)?, to, meta)
}

/// Copies piece by piece, so that one long file ends in time too.
fn copy_until(end: Instant, from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    let source = File::open(from)?;
    let mut target = File::options().write(true).create(true).truncate(true).mode(meta.mode() & 0o777).open(to)?;
    while io::copy(&mut (&source).take(PIECE), &mut target)? > 0 {
        if Instant::now() >= end {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    finish(&target, to, meta)
}

#[cfg(target_os = "linux")]
fn clone_file(from: &Path, to: &Path, meta: &Metadata) -> io::Result<()> {
    let source = File::open(from)?;
    let target = File::options().write(true).create(true).truncate(true).mode(meta.mode() & 0o777).open(to)?;
    rustix::fs::ioctl_ficlone(&target, &source)?;
    finish(&target, to, meta)
}

#[cfg(not(target_os = "linux"))]
fn clone_file(_: &Path, _: &Path, _: &Metadata) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn finish(file: &File, path: &Path, meta: &Metadata) -> io::Result<()> {
    file.set_times(FileTimes::new().set_modified(meta.modified()?))?;
    give(path, meta)
}

/// Gives a path the owner of what it was made from; who is not root owns both anyway.
pub(super) fn give(path: &Path, like: &Metadata) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(like.uid()), Some(like.gid()))
}

/// Asks the file system by trying.
fn can_clone(folder: &Path) -> bool {
    let attempt = || -> io::Result<()> {
        let probe = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(folder)?;
        let (from, to) = (probe.path().join("a"), probe.path().join("b"));
        std::fs::write(&from, [7; 4096])?;
        clone_file(&from, &to, &std::fs::metadata(&from)?)
    };
    attempt().is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::host::interrupt::Cause;

    fn drive() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in [
            ("minio/docs/a/xl.meta", "meta"),
            ("minio/docs/a/uuid/part.1", "content"),
            ("minio/docs/part.x/xl.meta", "meta"),
            ("minio/.minio.sys/tmp/half", "written"),
        ] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    fn inode(path: &Path) -> u64 {
        std::fs::metadata(path).unwrap().ino()
    }

    #[test]
    fn content_is_shared_and_metadata_is_not() {
        let folder = drive();
        let (from, to) = (folder.path().join("minio"), folder.path().join("copy"));
        let mut copier = Copier::within(folder.path(), &Interrupt::default());
        copier.method = Method::LinksAndCopies;
        copier.drive(&from, &to, None).unwrap();
        assert_eq!((copier.files, copier.bytes), (3, 15));
        let part = "docs/a/uuid/part.1";
        assert_eq!(inode(&from.join(part)), inode(&to.join(part)));
        let meta = "docs/a/xl.meta";
        assert_ne!(inode(&from.join(meta)), inode(&to.join(meta)));
        let time = |path: PathBuf| std::fs::metadata(path).unwrap().modified().unwrap();
        assert_eq!(time(from.join(meta)), time(to.join(meta)));
        assert!(to.join(TEMPORARY).is_dir() && !to.join(TEMPORARY).join("half").exists());
    }

    #[test]
    fn what_is_as_it_was_is_shared_with_the_snapshot_before() {
        let folder = drive();
        let (from, first, second) = (folder.path().join("minio"), folder.path().join("1"), folder.path().join("2"));
        let take = |to: &Path, former: Option<&Path>| {
            let mut copier = Copier::within(folder.path(), &Interrupt::default());
            copier.method = Method::LinksAndCopies;
            copier.drive(&from, to, former).unwrap();
        };
        take(&first, None);
        std::fs::write(from.join("docs/part.x/xl.meta"), "atem").unwrap();
        take(&second, Some(&first));
        let (same, changed) = ("docs/a/xl.meta", "docs/part.x/xl.meta");
        assert_eq!(inode(&first.join(same)), inode(&second.join(same)));
        assert_ne!(inode(&from.join(same)), inode(&second.join(same)), "MinIO writes to it");
        assert_ne!(inode(&first.join(changed)), inode(&second.join(changed)));
        assert_eq!(std::fs::read(second.join(changed)).unwrap(), b"atem");
    }

    #[test]
    fn many_folders_are_taken_whole() {
        let folder = drive();
        let (from, to) = (folder.path().join("minio"), folder.path().join("copy"));
        for number in 0..1000 {
            let below = from.join(format!("docs/deep/{number}/versions"));
            std::fs::create_dir_all(&below).unwrap();
            std::fs::write(below.join("xl.meta"), number.to_string()).unwrap();
        }
        let mut copier = Copier::within(folder.path(), &Interrupt::default());
        copier.drive(&from, &to, None).unwrap();
        assert_eq!(copier.files, 3 + 1000);
        std::fs::remove_file(from.join(TEMPORARY).join("half")).unwrap();
        assert!(same(&from, &to).unwrap());
        let interrupt = Interrupt::asking(Cause::HangUp);
        let mut stopped = Copier::within(folder.path(), &interrupt);
        assert!(matches!(
            stopped.drive(&from, &folder.path().join("none"), None),
            Err(Error::Interrupted(Cause::HangUp))
        ));
    }

    #[test]
    fn content_that_was_changed_afterwards_is_refused() {
        let folder = drive();
        let mut copier = Copier::within(folder.path(), &Interrupt::default());
        copier.method = Method::LinksAndCopies;
        copier.not_after = Some(SystemTime::now() - Duration::from_secs(60));
        let error = copier.drive(&folder.path().join("minio"), &folder.path().join("copy"), None).unwrap_err();
        assert!(error.to_string().contains("part.1' was changed after"), "{error}");
    }

    #[test]
    fn folders_are_compared_by_their_bytes() {
        let (one, other) = (drive(), drive());
        assert!(same(one.path(), other.path()).unwrap());
        std::fs::write(other.path().join("minio/docs/a/xl.meta"), "atem").unwrap();
        assert!(!same(one.path(), other.path()).unwrap());
        assert!(same(&one.path().join("no"), &other.path().join("no")).unwrap());
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        std::fs::create_dir(&from).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", from.join("link")).unwrap();
        let mut copier = Copier::within(folder.path(), &Interrupt::default());
        assert_eq!(copier.files(&from, &folder.path().join("to")).unwrap_err().exit_code(), 6);
    }
}
