//! The clone of a drive.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use super::apart::check_apart;
use super::need::Need;
use super::places::{self, Noted};
use crate::data::drive::{SYSTEM, buckets};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::disk::{Room, clear, room};
use crate::host::freeze::Freezer;
use crate::host::interrupt::Interrupt;
use crate::host::scratch::Scratch;
use crate::operate::snapshot::{Copier, Method};
use crate::stack::Layout;

/// How names of folders begin that hold a clone. No stack, snapshot or bucket has such a name.
pub(super) const PREFIX: &str = ".kestack-clone-";
/// What stays free on the disk whatever is cloned, in bytes.
const RESERVE: u64 = 64 << 20;
/// MinIO's format: which drive of which deployment it is.
const FORMAT: &str = "format.json";
/// What to do about a folder in the drive itself.
const OUTSIDE: &str = "name a folder outside of the drive and of the keys with --work-dir";
/// How long MinIO may be paused while each file is copied.
const PAUSE: Duration = Duration::from_secs(10);

/// A clone of a drive, which is removed with the value.
#[derive(Debug)]
pub(crate) struct ClonedDrive {
    place: Scratch,
    /// How the files got there.
    pub(crate) method: Method,
    /// Goes after the folder.
    _noted: Option<Noted>,
}

/// A clone that there is room for. Looking for that takes as long as the drive is large, so nobody is paused for it.
pub(crate) struct ClonePlan {
    drive: PathBuf,
    place: Scratch,
    copier: Copier,
    shares: bool,
    /// What it takes of the disk, in bytes; nothing where the file system clones.
    pub(crate) bytes: u64,
    /// Goes after the folder.
    noted: Option<Noted>,
}

impl ClonePlan {
    /// Makes a folder of its own in `within`, or in that of the stack, and looks for room.
    ///
    /// # Errors
    /// [`Error::Usage`] if `within` is in the drive or in the stack's keys, and as [`ClonedDrive::of`].
    pub(crate) fn of(
        stack: &Layout,
        drive: &Path,
        within: Option<&Path>,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        if let Some(within) = within {
            check_apart(within, [drive, &stack.keys()], OUTSIDE)?;
        }
        let noted = within.map(|within| places::note(stack, within));
        Ok(Self { noted, ..Self::new(drive, within.unwrap_or_else(|| stack.root()), interrupt)? })
    }

    /// The same for a drive that is not a stack's: only the next clone in that folder finds what a killed process left there.
    ///
    /// # Errors
    /// As [`ClonedDrive::of`].
    pub(crate) fn new(drive: &Path, within: &Path, interrupt: &Interrupt) -> Result<Self, Error> {
        let place = Scratch::new_in(within, PREFIX).map_err(Error::file("make a folder in", within))?;
        let copier = Copier::within(place.path(), interrupt);
        let shares = copier.method != Method::Copies && is_shareable(drive, place.path());
        let mut bytes = 0;
        if copier.method != Method::Clones || !shares {
            let names = buckets(drive).map_err(Error::file("read", drive))?;
            let folders = names.iter().map(|name| drive.join(name)).collect();
            let need = Need::of(folders, shares).map_err(Error::file("read", drive))?;
            check_room(place.path(), need)?;
            bytes = need.bytes;
        }
        Ok(Self { drive: drive.to_owned(), place, copier, shares, bytes, noted: None })
    }

    /// Takes a drive that somebody else's MinIO may write to meanwhile, and that cannot be paused: files that go are left
    /// out, and an object that changes may not be complete.
    ///
    /// # Errors
    /// As [`ClonedDrive::of`].
    pub(crate) fn fill_live(mut self) -> Result<ClonedDrive, Error> {
        self.copier.is_live = true;
        self.fill(None)
    }

    /// Takes the drive while MinIO is paused: not for long if each file must be copied. Says how long that was; `hint` is
    /// for whoever's MinIO cannot be paused.
    ///
    /// # Errors
    /// [`Error::Environment`] if it cannot be paused, or it takes too long, and as [`ClonedDrive::of`].
    pub(crate) fn fill_paused(self, freezer: &Freezer, hint: &str) -> Result<(ClonedDrive, Duration), Error> {
        let paused = freezer.while_frozen(|| {
            let end = (!self.shares).then(|| Instant::now() + PAUSE);
            self.fill(end)
        });
        let (clone, pause) = paused.map_err(|error| Error::Environment {
            what: format!("MinIO could not be paused: {error}"),
            hint: hint.into(),
        })?;
        Ok((clone?, pause))
    }

    fn fill(self, end: Option<Instant>) -> Result<ClonedDrive, Error> {
        let Self { drive, place, mut copier, shares, noted, .. } = self;
        copier.end = end;
        let clone = place.path().join("minio");
        std::fs::create_dir(&clone).map_err(Error::file("create", &clone))?;
        for name in buckets(&drive).map_err(Error::file("read", &drive))? {
            copier.drive(&drive.join(&name), &clone.join(&name), None)?;
        }
        let system = clone.join(SYSTEM);
        std::fs::create_dir(&system).map_err(Error::file("create", &system))?;
        let format = drive.join(SYSTEM).join(FORMAT);
        std::fs::copy(&format, system.join(FORMAT)).map_err(Error::file("copy", &format))?;
        let method = if shares { copier.method } else { Method::Copies };
        Ok(ClonedDrive { place, method, _noted: noted })
    }
}

impl ClonedDrive {
    /// Clones a drive to which nobody writes at the moment, into a folder of its own in `within`, or in that of the stack: on
    /// the drive's file system most of it is shared.
    ///
    /// # Errors
    /// [`Error::Environment`] if there is no room for it; those of the file system, [`Error::Interrupted`] after a signal.
    /// Nothing is left then.
    pub(crate) async fn of(
        stack: &Layout,
        drive: &Path,
        within: Option<&Path>,
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        let (stack, within) = (stack.clone(), within.map(Path::to_owned));
        let (from, interrupt) = (drive.to_owned(), interrupt.clone());
        let clone = move || ClonePlan::of(&stack, &from, within.as_deref(), &interrupt)?.fill(None);
        blocking("clone", drive, clone).await
    }

    /// The same for tests, on this thread.
    ///
    /// # Errors
    /// As [`Self::of`].
    #[cfg(test)]
    pub(crate) fn of_now(drive: &Path, within: &Path, interrupt: &Interrupt) -> Result<Self, Error> {
        ClonePlan::new(drive, within, interrupt)?.fill(None)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.place.path().join("minio")
    }

    /// Removes what a MinIO wrote of its own: the next one may have another key, and could not open it.
    ///
    /// # Errors
    /// If something of it stays.
    pub(super) fn renew(&self) -> Result<(), Error> {
        let system = self.path().join(SYSTEM);
        for entry in std::fs::read_dir(&system).map_err(Error::file("read", &system))? {
            let path = entry.map_err(Error::file("read", &system))?.path();
            if path.file_name().is_some_and(|name| name != FORMAT) {
                clear(&path)?;
            }
        }
        Ok(())
    }

    /// The lock of its folder, for the process that uses it.
    pub(super) fn lock(&self) -> io::Result<std::fs::File> {
        self.place.lock()
    }
}

/// True if files of the drive can be shared with the folder: on one file system, by who may link them.
fn is_shareable(drive: &Path, place: &Path) -> bool {
    let of = |path: &Path| std::fs::metadata(path).ok();
    let (Some(drive), Some(place)) = (of(drive), of(place)) else { return false };
    drive.dev() == place.dev() && (geteuid().is_root() || drive.uid() == geteuid().as_raw())
}

/// Says before anything is copied what would otherwise show when the disk is full.
fn check_room(place: &Path, need: Need) -> Result<(), Error> {
    let Room { bytes: free, files, .. } = room(place)?;
    let files = files.unwrap_or(u64::MAX);
    if need.bytes.saturating_add(RESERVE) <= free && need.files <= files {
        return Ok(());
    }
    let disk = place.parent().unwrap_or(place).display();
    Err(Error::Environment {
        what: format!(
            "a clone of the drive takes {} files of {} bytes, and {RESERVE} bytes must stay free, but '{disk}' has room \
             for {files} files of {free} bytes",
            need.files, need.bytes
        ),
        hint: "free some space there, or name a folder on another disk with --work-dir; nothing was changed".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive() -> tempfile::TempDir {
        let drive = tempfile::tempdir().unwrap();
        let put = |name: &str, content: &[u8]| {
            let path = drive.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        put(".minio.sys/format.json", b"{}");
        put(".minio.sys/config/config.json/xl.meta", b"configuration");
        put("docs/a/xl.meta", b"metadata");
        put("docs/a/2f/part.1", &[7; 10_000]);
        drive
    }

    #[test]
    fn a_clone_has_objects_and_format_and_goes_with_its_value() {
        let (drive, within) = (drive(), tempfile::tempdir().unwrap());
        let clone = ClonedDrive::of_now(drive.path(), within.path(), &Interrupt::default()).unwrap();
        let path = clone.path();
        assert_eq!(std::fs::read(path.join("docs/a/xl.meta")).unwrap(), b"metadata");
        assert_eq!(std::fs::read(path.join("docs/a/2f/part.1")).unwrap(), [7; 10_000]);
        assert!(path.join(".minio.sys/format.json").exists() && !path.join(".minio.sys/config").exists());
        std::fs::write(path.join("docs/a/xl.meta"), "changed").unwrap();
        assert_eq!(std::fs::read(drive.path().join("docs/a/xl.meta")).unwrap(), b"metadata");
        drop(clone);
        assert_eq!(std::fs::read_dir(within.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_pause_that_takes_too_long_ends_and_leaves_nothing() {
        let (drive, within) = (drive(), tempfile::tempdir().unwrap());
        let plan = ClonePlan::new(drive.path(), within.path(), &Interrupt::default()).unwrap();
        let error = plan.fill(Some(Instant::now())).unwrap_err();
        assert!(error.exit_code() == 6 && error.to_string().contains("--work-dir"), "{error}");
        assert_eq!(std::fs::read_dir(within.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_clone_is_made_in_the_drive_itself() {
        let (drive, base) = (drive(), tempfile::tempdir().unwrap());
        let stack = Layout::new(base.path(), "stack");
        let within = drive.path().join("docs");
        let made = ClonePlan::of(&stack, drive.path(), Some(within.as_path()), &Interrupt::default());
        let error = made.map(drop).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("--work-dir"), "{error}");
        assert_eq!(std::fs::read_dir(&within).unwrap().count(), 1, "nothing is left there");
    }

    #[test]
    fn a_disk_without_room_is_refused() {
        let error = check_room(drive().path(), Need { files: 1, bytes: u64::MAX / 2 }).unwrap_err();
        assert!(error.exit_code() == 6 && error.to_string().contains("--work-dir"), "{error}");
    }
}
