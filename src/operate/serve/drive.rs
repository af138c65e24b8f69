//! The first drive: it must be writable, belongs to one kestack at a time, and holds what must last in `.kestack`.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

use super::setup::PROBE;
use crate::error::Error;
use crate::host::disk;
use crate::manifest::BucketName;
use crate::resource::FileResource;
use crate::stack::{Layout, Written};

/// The file in `.kestack` that is locked.
const LOCK: &str = "lock";
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
        // the only way to know, also for root: read-only file systems
        match tempfile::tempfile_in(&path) {
            // one that was served before is served: people want to read and delete
            Err(error) if !(disk::is_full(&error) && own.is_dir()) => return Err(unwritable(&path, &error)),
            _ => {}
        }
        check_owner(&own)?;
        let marker = own.join("stack.json");
        Written::check(&marker, &own)?;
        let keys = Layout::keys_on(&path);
        for folder in [&own, &keys] {
            make_private(folder)?;
        }
        if std::fs::metadata(&keys).is_ok_and(|found| found.mode() & 0o077 != 0) {
            tracing::warn!("the file system of '{}' keeps no modes: other users may read the keys", keys.display());
        }
        let lock = locked(&own.join(LOCK), &path).await?;
        mark(marker)?;
        Ok(Self { lock, bare: bare(&path), path })
    }
}

/// Writes down which kestack serves the drive. A full one has no room even for the same again; there another version is
/// not worth a failure, as long as the layout is the same.
fn mark(marker: PathBuf) -> Result<(), Error> {
    let written = FileResource::json(marker, &Written::now())?;
    if disk::read(&written.path)?.as_ref() == Some(&*written.content) {
        return Ok(());
    }
    match written.make() {
        Err(Error::File { source, .. }) if disk::is_full(&source) && Written::has_this_layout(&written.path)? => {
            tracing::warn!("the drive is full: '{}' names the kestack of before", written.path.display());
            Ok(())
        }
        done => done,
    }
}

/// Locks a drive that kestack has served before, for a MinIO that has a KMS of the user's; nothing is made there.
///
/// # Errors
/// [`Error::Environment`] if another kestack serves it.
pub(super) async fn lock_known(drive: &Path) -> Result<Option<File>, Error> {
    let lock = Layout::on_drive(drive).join(LOCK);
    if lock.exists() { locked(&lock, drive).await.map(Some) } else { Ok(None) }
}

/// Makes a folder that only its owner may enter. Whoever mounts a drive may set other modes each time, as Kubernetes does
/// for an fsGroup: they are put right, as far as the file system keeps any.
///
/// # Errors
/// [`Error::Environment`] if it belongs to somebody else.
pub(super) fn make_private(folder: &Path) -> Result<(), Error> {
    check_owner(folder)?;
    disk::create_private(folder)?;
    if let Err(error) = disk::set_private(folder) {
        tracing::debug!(%error, "the folder keeps its mode");
    }
    Ok(())
}

fn check_owner(folder: &Path) -> Result<(), Error> {
    let Ok(found) = std::fs::metadata(folder) else { return Ok(()) };
    if geteuid().is_root() || found.uid() == geteuid().as_raw() { Ok(()) } else { Err(foreign(folder, found.uid())) }
}

fn foreign(folder: &Path, owner: u32) -> Error {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    Error::Environment {
        what: format!("'{}' belongs to the user {owner}, and this runs as {user}:{group}", folder.display()),
        hint: format!(
            "run as that user (`--user {owner}`), or give the folder to this one: `chown -R {user}:{group} '{}'`",
            folder.display()
        ),
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
            Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(file),
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

/// True if the file system does not lock, as NFS whose server runs no lockd.
fn has_no_locks(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(Errno::NOLCK.raw_os_error())
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
    async fn modes_that_a_mount_sets_are_put_right() {
        let folder = tempfile::tempdir().unwrap();
        drop(Drive::take(folder.path()).await.unwrap());
        let own = [Layout::on_drive(folder.path()), Layout::keys_on(folder.path())];
        for path in &own {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o2777)).unwrap();
        }
        drop(Drive::take(folder.path()).await.unwrap());
        for path in &own {
            assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, 0o700, "{}", path.display());
        }
    }

    #[test]
    fn a_foreign_folder_is_refused_with_words_for_a_container() {
        let said = foreign(Path::new("/data/.kestack"), 4242).to_string();
        assert!(said.contains("belongs to the user 4242") && !said.contains("sudo kestack"), "{said}");
        assert!(!said.contains("KESTACK_DIR"), "{said}");
    }

    #[tokio::test]
    async fn root_serves_the_drive_of_another_user() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        drop(Drive::take(folder.path()).await.unwrap());
        for path in [Layout::on_drive(folder.path()), Layout::keys_on(folder.path())] {
            std::os::unix::fs::chown(path, Some(1000), Some(1000)).unwrap();
        }
        drop(Drive::take(folder.path()).await.unwrap());
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
    fn where_nothing_can_be_locked_nothing_is_refused() {
        for number in [Errno::NOLCK, Errno::NOTSUP, Errno::NOSYS] {
            assert!(has_no_locks(&io::Error::from_raw_os_error(number.raw_os_error())), "{number:?}");
        }
        assert!(!has_no_locks(&io::Error::from_raw_os_error(Errno::IO.raw_os_error())));
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
