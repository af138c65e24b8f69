//! The first drive: it must be writable, belongs to one kestack at a time, and holds what must last in `.kestack`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{getegid, geteuid};

use super::setup::PROBE;
use crate::error::Error;
use crate::host::disk;
use crate::host::ownership;
use crate::manifest::BucketName;
use crate::resource::FileResource;
use crate::stack::{Layout, Written};

/// How long the servers of a killed kestack may take to end.
const FORMER: Duration = Duration::from_secs(15);
/// How often their lock is tried.
const LOOK: Duration = Duration::from_millis(20);

/// A drive that is ours.
#[derive(Debug)]
pub(super) struct Drive {
    /// Its absolute path.
    pub(super) path: PathBuf,
    /// Locked as long as one of the processes lives that have it open: kestack and MinIO.
    pub(super) lock: File,
    /// Folders on it that MinIO takes for buckets although it did not make them.
    pub(super) bare: Vec<String>,
}

impl Drive {
    /// Makes the drive's folder if it is not there, and takes it.
    ///
    /// # Errors
    /// [`Error::Environment`] if it cannot be written to, belongs to somebody else, or another kestack serves it.
    pub(super) async fn take(path: &Path) -> Result<Self, Error> {
        let path = std::path::absolute(path).map_err(Error::file("find", path))?;
        let own = Layout::on_drive(&path);
        std::fs::create_dir_all(&path).map_err(|error| unwritable(&path, &error))?;
        // the only way to know, also for root: read-only file systems, quotas
        tempfile::tempfile_in(&path).map_err(|error| unwritable(&path, &error))?;
        ownership::check_folder(&own)?;
        let marker = own.join("stack.json");
        Written::check(&marker, &own)?;
        disk::create_private(&own)?;
        disk::set_private(&own)?;
        let lock = locked(&own.join("lock"), &path).await?;
        FileResource::json(marker, &Written::now())?.make()?;
        Ok(Self { lock, bare: bare(&path), path })
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    let nearest = path.ancestors().find_map(|above| Some((above, std::fs::metadata(above).ok()?)));
    let whose = nearest.map_or_else(String::new, |(above, found)| {
        let mode = found.mode() & 0o7777;
        format!("; '{}' belongs to {}:{} (mode {mode:04o})", above.display(), found.uid(), found.gid())
    });
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    Error::Environment {
        what: format!(
            "cannot write to the drive '{}': {error}{whose}, and this runs as {user}:{group}",
            path.display()
        ),
        hint: format!(
            "give the folder to that user (`chown {user}:{group} FOLDER`), or run as the folder's owner (`--user`)"
        ),
    }
}

/// The servers of a kestack that was killed hold the lock until they have ended.
async fn locked(path: &Path, drive: &Path) -> Result<File, Error> {
    let failed = |error| Error::file("lock", path)(error);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(failed)?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            // a file system without locks: nothing tells two servers apart there
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if start.elapsed() >= FORMER => {
                return Err(Error::Environment {
                    what: format!("another `kestack serve` serves '{}'", drive.display()),
                    hint: "end that one, or name another drive".into(),
                });
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Folders with the name of a bucket that have no metadata of MinIO: `mkdir` made them, and MinIO serves them.
fn bare(drive: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(drive).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = folders.filter_map(|entry| entry.file_name().into_string().ok());
    let is_bare = |name: &String| {
        name != PROBE
            && name.parse::<BucketName>().is_ok()
            && !drive.join(".minio.sys/buckets").join(name).join(".metadata.bin").exists()
    };
    names.filter(is_bare).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_drive_is_made_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/data");
        let drive = Drive::take(&path).await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path.join(".kestack")), 0o700);
        assert_eq!(mode(&path.join(".kestack/lock")), 0o600);
        drop(drive);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        drop(Drive::take(&path).await.unwrap());
        assert_eq!(mode(&path), 0o777);
    }

    #[tokio::test]
    async fn what_is_no_folder_is_refused_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        let error = Drive::take(&path).await.unwrap_err();
        let said = error.to_string();
        assert!(error.exit_code() == 6 && said.contains("belongs to") && said.contains("this runs as"), "{said}");
    }

    #[tokio::test]
    async fn a_drive_of_a_newer_kestack_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join(".kestack");
        drop(Drive::take(folder.path()).await.unwrap());
        std::fs::write(own.join("stack.json"), r#"{"layout":7,"kestack":"1.4.0"}"#).unwrap();
        std::fs::remove_file(own.join("lock")).unwrap();
        let error = Drive::take(folder.path()).await.unwrap_err().to_string();
        assert!(error.contains("layout 7, which kestack 1.4.0 wrote"), "{error}");
        assert!(!own.join("lock").exists());
    }

    #[test]
    fn folders_without_metadata_are_bare_buckets() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["made", "known", ".minio.sys/buckets/known/.metadata.bin", ".kestack", "No_Bucket"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(bare(folder.path()), ["made"]);
    }
}
