//! One kestack at a time per stack: two `up`s queue, they never mix (design.md §5).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use crate::error::Error;

/// How long to queue behind another kestack: a first `up` may have to build MinIO.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// Held while a stack is changed. The kernel releases it when the process dies; the file goes when it is dropped.
#[derive(Debug)]
pub struct StackLock {
    path: PathBuf,
    _file: File,
}

impl StackLock {
    /// Waits for the lock of the stack that lives in `root`; `waiting` is called once if it has to queue.
    pub async fn acquire(root: &Path, waiting: impl FnOnce()) -> Result<Self, Error> {
        let path = lock_path(root);
        let start = Instant::now();
        let mut waiting = Some(waiting);
        while start.elapsed() < PATIENCE {
            if let Some(file) = try_lock(&path)? {
                return Ok(Self { path, _file: file });
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(Error::Environment {
            what: format!("another kestack has worked on this stack for {} minutes", PATIENCE.as_secs() / 60),
            hint: format!("find it with `fuser {}` and end it", path.display()),
        })
    }
}

impl Drop for StackLock {
    fn drop(&mut self) {
        // Still locked here, so nobody can hold this very file; who waits finds a new one.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Locks the file if it is free and still the one that the path names.
fn try_lock(path: &Path) -> Result<Option<File>, Error> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::file("open the lock", path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(Error::file("lock", path)(error.into())),
    }
    let mine = file.metadata().map_err(Error::file("look at", path))?.ino();
    Ok(std::fs::metadata(path).is_ok_and(|found| found.ino() == mine).then_some(file))
}

/// Outside the stack's folder: an `up` that is refused leaves nothing there, a `down --data` nothing to trip over.
fn lock_path(root: &Path) -> PathBuf {
    let uid = rustix::process::geteuid().as_raw();
    let own = PathBuf::from(format!("/run/user/{uid}"));
    let folder = [own, PathBuf::from("/run/lock")]
        .into_iter()
        .find(|folder| rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok())
        .unwrap_or_else(std::env::temp_dir);
    let digest = hex::encode(Sha256::digest(root.as_os_str().as_encoded_bytes()));
    folder.join(format!("kestack-{uid}-{}.lock", digest.get(..16).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_nothing_is_left() {
        let root = tempfile::tempdir().unwrap();
        let first = StackLock::acquire(root.path(), || {}).await.unwrap();
        let path = first.path.clone();
        let place = root.path().to_owned();
        let (queued, seen) = tokio::sync::oneshot::channel();
        let second = tokio::spawn(async move { StackLock::acquire(&place, || queued.send(()).unwrap()).await });
        seen.await.unwrap();
        assert!(!second.is_finished());
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }
}
