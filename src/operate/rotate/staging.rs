//! New metadata files, written next to the drive's content and renamed into it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::content;
use crate::data::drive::{Found, PART, Part, Resealed, Sealings, Stored};
use crate::error::Error;
use crate::host::disk::{clear, create_private, is_absent};
use crate::host::freeze::Freezer;
use crate::operate::snapshot::sync;

/// How often in a row nothing may come into its place, because clients wrote all of it meanwhile.
const IN_VAIN: u32 = 20;

/// Folder on the drive, so that a rename is all that is left to do. No bucket has such a name.
const FOLDER: &str = ".kestack-rotate";

/// Longest time that files are renamed in one pause of MinIO; one rename more may begin then.
const LONGEST: Duration = Duration::from_millis(250);

/// The folder with what is prepared.
#[derive(Debug, Clone)]
pub(super) struct Staging {
    drive: PathBuf,
    folder: PathBuf,
}

/// A metadata file, and what is to take its place.
#[derive(Debug)]
pub(super) struct Staged {
    /// Where it belongs.
    pub(super) place: PathBuf,
    /// The file as it must still be.
    pub(super) before: Vec<u8>,
    /// What takes its place.
    pub(super) aside: PathBuf,
    /// Each data key as the former key sealed it, and as the new one does; KES has opened all of them.
    pub(super) resealed: BTreeMap<Vec<u8>, Resealed>,
}

impl Staged {
    /// The same for the file as it is by now; `None` if it is gone, or has none of these data keys any more. KES need not be
    /// asked again, so that this takes less time than clients take to write the file once more.
    ///
    /// # Errors
    /// If it cannot be written.
    fn again(self, staging: &Staging) -> Result<Option<Self>, Error> {
        let file = match Sealings::read(&staging.drive, &self.place) {
            Err(error) if is_absent(&error) => return Ok(None),
            read => read.map_err(Error::file("read", &self.place))?,
        };
        let Ok(file) = file else { return Ok(None) };
        let known =
            |(number, found): (usize, &Found)| Some((number, self.resealed.get(&found.sealed.ciphertext)?.clone()));
        let others: Vec<_> = file.found().iter().enumerate().filter_map(known).collect();
        let Ok(content) = file.exchanged(&others) else { return Ok(None) };
        let name = self.aside.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
        if others.is_empty() || !self.place.exists() {
            return Ok(None);
        }
        let aside = staging.write_stored(&self.place, &name, file.stored(), &content)?;
        File::open(&aside).and_then(|file| file.sync_data()).map_err(Error::file("sync", &aside))?;
        Ok(Some(Self { before: file.stored().meta.clone(), aside, ..self }))
    }
}

impl Staging {
    /// Makes the folder, or empties it after a rotation that was killed.
    ///
    /// # Errors
    /// [`Error::File`] if files with MinIO's owner cannot be made on the drive.
    pub(super) fn make(drive: &Path) -> Result<Self, Error> {
        let staging = Self { drive: drive.to_owned(), folder: drive.join(FOLDER) };
        staging.clone().remove()?;
        create_private(&staging.folder)?;
        let like = drive.join(".minio.sys/format.json");
        staging.write(&like, "probe", b"").inspect_err(|_| drop(clear(&staging.folder)))?;
        Ok(staging)
    }

    /// Writes a file aside, with owner and mode of the one whose place it takes.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, like: &Path, name: &str, content: &[u8]) -> Result<PathBuf, Error> {
        let aside = self.folder.join(name);
        let written = || {
            let former = std::fs::metadata(like)?;
            let mut file = File::create(&aside)?;
            content::like(&file, &former)?;
            file.write_all(content)
        };
        written().map_err(Error::file("write", &aside))?;
        Ok(aside)
    }

    /// Writes a metadata file aside, and the content next to it at once into a folder there: MinIO looks into that only when
    /// the metadata names it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write_stored(
        &self,
        place: &Path,
        name: &str,
        former: &Stored,
        stored: &Stored,
    ) -> Result<PathBuf, Error> {
        if let (Some(former), Some(part)) = (&former.part, &stored.part) {
            content::write(&self.drive, &self.folder, place, former, part)?;
        }
        self.write(place, name, &stored.meta)
    }

    /// Reads what was written aside for that place.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn read(aside: &Path, place: &Path, written: Stored) -> Result<Stored, Error> {
        let read = |path: &Path| std::fs::read(path).map_err(Error::file("read", path));
        let part = |Part { folder, .. }: Part| {
            let bytes = read(&place.with_file_name(&folder).join(PART))?;
            Ok::<_, Error>(Part { folder, bytes })
        };
        Ok(Stored { meta: read(aside)?, part: written.part.map(part).transpose()? })
    }

    /// Makes what was written, or renamed, last.
    ///
    /// # Errors
    /// If it cannot be written to the disk.
    pub(super) fn sync(&self) -> Result<(), Error> {
        sync(&self.folder)
    }

    /// Removes the folder, and content that no metadata file names any more. By now MinIO has read whatever it had begun to
    /// read before its metadata was exchanged.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(super) fn remove(self) -> Result<(), Error> {
        content::tidy(&self.drive, &self.folder)?;
        Ok(clear(&self.folder)?)
    }
}

/// What became of a file while MinIO was paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is in its place.
    Renamed,
    /// Its place has other content by now, or none.
    Changed,
    /// There was no time for it.
    Waits,
}

/// Brings files into their places while MinIO is paused, once or several times, and makes that last. Says of each whether it
/// is there, and how long each pause was.
///
/// # Errors
/// [`Error::Environment`] if MinIO cannot be paused; those of the file system.
pub(super) fn rename(
    freezer: &Freezer,
    staging: &Staging,
    staged: Vec<Staged>,
) -> Result<(Vec<bool>, Vec<Duration>), Error> {
    let (mut done, mut pauses, mut in_vain) = (vec![false; staged.len()], Vec::new(), 0);
    let mut open: Vec<_> = staged.into_iter().enumerate().collect();
    staging.sync()?;
    while !open.is_empty() && in_vain < IN_VAIN {
        let paused = freezer.while_frozen(|| exchange(&open)).map_err(|error| Error::Environment {
            what: format!("MinIO could not be paused: {error}"),
            hint: "run the same command again: it continues; `--undo` rolls back".into(),
        });
        let (outcomes, pause) = paused?;
        pauses.push(pause);
        in_vain = if outcomes.contains(&Outcome::Renamed) { 0 } else { in_vain + 1 };
        let mut rest = Vec::new();
        for ((number, staged), outcome) in open.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Renamed => done.iter_mut().skip(number).take(1).for_each(|done| *done = true),
                Outcome::Changed => rest.extend(staged.again(staging)?.map(|again| (number, again))),
                Outcome::Waits => rest.push((number, staged)),
            }
        }
        open = rest;
    }
    staging.sync()?;
    Ok((done, pauses))
}

/// Renames each file into its place that is still as it was, for as long as MinIO may be paused.
fn exchange(all: &[(usize, Staged)]) -> Vec<Outcome> {
    let start = Instant::now();
    let one = |(_, staged): &(usize, Staged)| {
        if start.elapsed() > LONGEST {
            return Outcome::Waits;
        }
        let is_unchanged = std::fs::read(&staged.place).is_ok_and(|now| now == staged.before);
        if is_unchanged && swap(&staged.aside, &staged.place).is_ok() { Outcome::Renamed } else { Outcome::Changed }
    };
    all.iter().map(one).collect()
}

/// Exchanges two files. The former file is kept aside then: to remove a file takes a hundred times longer than to rename
/// one where the file system tells its disk (`discard`), and MinIO need not wait for that.
fn swap(aside: &Path, place: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, aside, CWD, place, RenameFlags::EXCHANGE) {
        // not every file system has it
        Err(Errno::INVAL | Errno::NOSYS) => std::fs::rename(aside, place),
        swapped => Ok(swapped?),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn only_what_is_as_it_was_is_exchanged() {
        let drive = tempfile::tempdir().unwrap();
        std::fs::create_dir(drive.path().join(".minio.sys")).unwrap();
        std::fs::write(drive.path().join(".minio.sys/format.json"), "{}").unwrap();
        let staging = Staging::make(drive.path()).unwrap();
        let stage = |name: &str| {
            let place = drive.path().join(name);
            std::fs::write(&place, "before").unwrap();
            std::fs::set_permissions(&place, Permissions::from_mode(0o640)).unwrap();
            let aside = staging.write(&place, name, b"after").unwrap();
            Staged { place, before: b"before".to_vec(), aside, resealed: BTreeMap::new() }
        };
        let all = ["same", "changed", "gone"].map(|name| (0, stage(name)));
        std::fs::write(&all[1].1.place, "written meanwhile").unwrap();
        std::fs::remove_file(&all[2].1.place).unwrap();
        staging.sync().unwrap();
        assert_eq!(exchange(&all), [Outcome::Renamed, Outcome::Changed, Outcome::Changed]);
        assert_eq!(std::fs::read(&all[0].1.place).unwrap(), b"after");
        assert_eq!(std::fs::metadata(&all[0].1.place).unwrap().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read(&all[1].1.place).unwrap(), b"written meanwhile");
        assert!(!all[2].1.place.exists());
        staging.remove().unwrap();
        assert!(!drive.path().join(FOLDER).exists());
    }

    #[test]
    fn what_clients_write_meanwhile_gets_the_same_data_keys() {
        let drive = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(drive.path().join(".minio.sys")).unwrap();
        std::fs::create_dir_all(drive.path().join("b/o")).unwrap();
        std::fs::write(drive.path().join(".minio.sys/format.json"), "{}").unwrap();
        let staging = Staging::make(drive.path()).unwrap();
        let place = drive.path().join("b/o/xl.meta");
        let versions: &[u8] = include_bytes!("../../data/drive/testdata/versions.meta");
        std::fs::write(&place, versions).unwrap();
        let file = Sealings::read(drive.path(), &place).unwrap().unwrap();
        let other = |found: &Found| Resealed { key: "other".into(), ciphertext: found.sealed.ciphertext.clone() };
        // that of the first version only: the second one is as if it was written meanwhile
        let resealed =
            file.found().iter().take(1).map(|found| (found.sealed.ciphertext.clone(), other(found))).collect();
        let aside = staging.write(&place, "0", b"").unwrap();
        let staged = Staged { place: place.clone(), before: vec![], aside, resealed };
        let again = staged.again(&staging).unwrap().unwrap();
        assert_eq!(again.before, versions);
        let written = Stored { meta: std::fs::read(&again.aside).unwrap(), part: None };
        let written = Sealings::of(written, "b/o").unwrap();
        let keys: Vec<_> = written.found().iter().map(|found| found.sealed.key.as_str()).collect();
        assert_eq!(keys, ["other", "minio-backend-key"]);
        std::fs::remove_file(&place).unwrap();
        assert!(again.again(&staging).unwrap().is_none(), "it is gone");
    }
}
