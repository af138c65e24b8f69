//! The drive, and where its clone goes.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::data::drive::{self, SYSTEM};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::disk::is_absent;
use crate::host::interrupt::Interrupt;
use crate::host::ownership::check_stack;
use crate::operate::clone::ClonePlan;

/// Longest format that is read: each drive has a line in it.
const MAX_FORMAT: u64 = 1 << 20;

/// The only drive of a MinIO, as a canonical path.
///
/// # Errors
/// [`Error::Usage`] if it is not one, or one of several; [`Error::Environment`] if it belongs to another user.
pub(super) fn checked(drive: &Path) -> Result<PathBuf, Error> {
    let path = std::fs::canonicalize(drive).map_err(|error| unreadable(drive, error))?;
    let format = path.join(SYSTEM).join("format.json");
    match std::fs::symlink_metadata(&format) {
        Err(error) if !is_absent(&error) => return Err(unreadable(drive, error)),
        Ok(meta) if meta.is_file() && meta.len() <= MAX_FORMAT => {}
        _ => {
            return Err(Error::Usage {
                what: format!("'{}' is not the drive of a MinIO: it has no {SYSTEM}/format.json", path.display()),
                hint: "name the folder that MinIO serves, or a snapshot of it, with --drive".into(),
            });
        }
    }
    std::fs::File::open(&format).and_then(|_| std::fs::read_dir(&path)).map_err(|error| unreadable(drive, error))?;
    match drive::drives(&path) {
        Some(1) => Ok(path),
        Some(count) => Err(Error::Usage {
            what: format!("'{}' is one of {count} drives of a MinIO: a stack of kestack has one", path.display()),
            hint: "take `kestack export tenant` or `kubernetes` for several, and copy the objects with `mc mirror`"
                .into(),
        }),
        None => Err(Error::Usage {
            what: format!("'{}' does not say how many drives its MinIO has", format.display()),
            hint: "name a complete copy of the drive with --drive".into(),
        }),
    }
}

fn unreadable(drive: &Path, error: std::io::Error) -> Error {
    if error.kind() != ErrorKind::PermissionDenied {
        return Error::file("read", drive)(error);
    }
    Error::Environment {
        what: format!("'{}' belongs to another user, and this one may not read it", drive.display()),
        hint: "run the same command as its owner or as root".into(),
    }
}

/// Looks for room for a clone. Nothing is cloned yet.
///
/// # Errors
/// [`Error::Environment`] that says how much is needed, if there is not enough.
pub(super) async fn plan(drive: &Path, within: &Path, interrupt: &Interrupt) -> Result<ClonePlan, Error> {
    let (from, within, interrupt) = (drive.to_owned(), within.to_owned(), interrupt.clone());
    blocking("read", drive, move || ClonePlan::new(&from, &within, &interrupt)).await
}

/// The nearest folder around the drive that shares its file system and is outside of what is imported; else the folder for
/// temporary files.
pub(super) fn near(drive: &Path, source: &Path) -> PathBuf {
    let device = |folder: &Path| std::fs::metadata(folder).map(|meta| meta.dev()).ok();
    let here = device(drive);
    let around = drive.ancestors().skip(1).filter(|folder| !folder.starts_with(source));
    let mut shared = around.take_while(|folder| device(folder) == here);
    let fits = |folder: &&Path| access(*folder, Access::WRITE_OK | Access::EXEC_OK).is_ok() && is_safe(folder);
    shared.find(fits).map_or_else(std::env::temp_dir, Path::to_owned)
}

/// True if nobody else can replace what is made there.
fn is_safe(folder: &Path) -> bool {
    check_stack(&folder.join("clone")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive(sets: &str) -> tempfile::TempDir {
        let drive = tempfile::tempdir().unwrap();
        std::fs::create_dir(drive.path().join(SYSTEM)).unwrap();
        let format = format!(r#"{{"version":"1","format":"xl-single","xl":{{"version":"3","sets":{sets}}}}}"#);
        std::fs::write(drive.path().join(SYSTEM).join("format.json"), format).unwrap();
        drive
    }

    #[test]
    fn only_the_only_drive_of_a_minio_is_taken() {
        let one = drive(r#"[["a"]]"#);
        assert_eq!(checked(one.path()).unwrap(), std::fs::canonicalize(one.path()).unwrap());
        let several = checked(drive(r#"[["a","b","c","d"]]"#).path()).unwrap_err();
        assert!(several.exit_code() == 2 && several.to_string().contains("one of 4 drives"), "{several}");
        let empty = tempfile::tempdir().unwrap();
        assert!(checked(empty.path()).unwrap_err().to_string().contains("--drive"));
        let linked = drive("[]");
        let format = linked.path().join(SYSTEM).join("format.json");
        std::fs::remove_file(&format).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &format).unwrap();
        assert_eq!(checked(linked.path()).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_clone_is_made_outside_of_what_is_imported() {
        let base = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(base.path()).unwrap();
        let (source, drive) = (base.join("a/deployment"), base.join("a/deployment/minio"));
        std::fs::create_dir_all(&drive).unwrap();
        assert_eq!(near(&drive, &source), base.join("a"));
        assert_eq!(near(&drive, Path::new("/elsewhere")), source);
    }
}
