//! The lock of a stack. It keeps out commands that would disturb each other: two `up`s queue and never mix.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::error::HostError;
use crate::host::digest::sha256;
use crate::host::ownership;
use crate::host::volatile;

/// How long to queue behind another kestack: a first `up` may have to build MinIO.
const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// How often a lock is tried.
const TRY: Duration = Duration::from_millis(50);

/// The kind of work under a stack's lock, which decides who must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Any part of it changes: everybody else waits.
    Change,
    /// Keys and buckets are added: one after the other, but also while a fault is in force.
    Add,
    /// A part of it is broken and repaired: one fault after the other, but also while keys and buckets are added.
    Fault,
}

/// Held while a stack is changed. The kernel releases it when the process dies; its files go when it is dropped.
#[derive(Debug)]
pub struct StackLock {
    /// The stack's folder, if it was there. The files are where this user has such files now: elsewhere before the user logged
    /// in, as root, and in another container.
    _folder: Option<File>,
    /// Those of [`Hold::Add`] and [`Hold::Fault`] are two: their kind's own, and the stack's, which they share.
    _files: Vec<LockFile>,
}

/// What this process does, for those who wait for it.
static WORK: OnceLock<String> = OnceLock::new();

/// Longest description of a holder that is read.
const LONGEST: u64 = 200;

/// Says once what this process does, such as `up` or `key create`: others that wait for its lock show it.
pub fn introduce(work: &str) {
    let _ = WORK.set(work.to_owned());
}

/// Who holds a lock, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder(Option<(String, u32)>);

impl Holder {
    fn of(file: &mut File) -> Self {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.take(LONGEST).read_to_string(&mut text));
        let known = text.trim_end().rsplit_once(' ').and_then(|(work, pid)| Some((work.to_owned(), pid.parse().ok()?)));
        let is_alive = |(_, pid): &(String, u32)| Path::new("/proc").join(pid.to_string()).exists();
        let is_plain =
            |(work, _): &(String, u32)| work.chars().all(|sign| sign.is_ascii_alphanumeric() || " -_".contains(sign));
        Self(known.filter(|known| read.is_ok() && is_alive(known) && is_plain(known)))
    }

    /// Writes into a file that is locked who has it. Nothing depends on it.
    fn write(file: &mut File) {
        let work = WORK.get().map_or("a program", String::as_str);
        let text = format!("{work} {}\n", std::process::id());
        let _ = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some((work, pid)) => write!(f, "`{work}` (pid {pid})"),
            None => f.write_str("another kestack"),
        }
    }
}

/// With whom a file may be locked at the same time.
#[derive(Debug, Clone, Copy)]
enum Share {
    /// With nobody.
    Alone,
    /// With others of this kind.
    Together,
}

impl Share {
    fn lock(self, file: &File) -> Result<(), TryLockError> {
        match self {
            Self::Alone => file.try_lock(),
            Self::Together => file.try_lock_shared(),
        }
    }
}

/// A locked file.
#[derive(Debug)]
struct LockFile {
    path: PathBuf,
    file: File,
}

impl StackLock {
    /// Waits for the lock of the stack that lives in `root`; `waiting` learns once for whom, if it has to
    /// queue.
    ///
    /// # Errors
    /// [`HostError::Environment`] if the folder is not the caller's alone, or nobody gives the lock back in time.
    pub async fn acquire(root: &Path, hold: Hold, waiting: impl FnOnce(&Holder)) -> Result<Self, HostError> {
        Self::of(root, hold, true, waiting).await
    }

    /// The same of a stack in the foreground: its process has locked its folder as long as it lives.
    ///
    /// # Errors
    /// As of [`StackLock::acquire`].
    pub(crate) async fn in_foreground(
        root: &Path,
        hold: Hold,
        waiting: impl FnOnce(&Holder),
    ) -> Result<Self, HostError> {
        Self::of(root, hold, false, waiting).await
    }

    async fn of(root: &Path, hold: Hold, with_folder: bool, waiting: impl FnOnce(&Holder)) -> Result<Self, HostError> {
        ownership::check_stack(root)?;
        let wanted = match hold {
            Hold::Change => vec![("", Share::Alone)],
            Hold::Add => vec![("-add", Share::Alone), ("", Share::Together)],
            Hold::Fault => vec![("-fault", Share::Alone), ("", Share::Together)],
        };
        let (start, mut waiting, mut files) = (Instant::now(), Some(waiting), Vec::new());
        for (kind, share) in wanted {
            let path = lock_path(root, kind)?;
            files.push(LockFile::acquire(path, share, start, &mut waiting).await?);
        }
        let share = if hold == Hold::Change { Share::Alone } else { Share::Together };
        let folder = if with_folder { lock_folder(root, share, start, &mut waiting).await? } else { None };
        Ok(Self { _files: files, _folder: folder })
    }
}

/// Locks the stack's folder, which has one lock for everybody; `None` if it is not there, or cannot be locked, as on some
/// network file systems.
async fn lock_folder(
    root: &Path,
    share: Share,
    start: Instant,
    waiting: &mut Option<impl FnOnce(&Holder)>,
) -> Result<Option<File>, HostError> {
    let inode = |found: std::io::Result<std::fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
    while start.elapsed() < PATIENCE {
        let Ok(folder) = File::open(root) else { return Ok(None) };
        match share.lock(&folder) {
            Ok(()) if inode(folder.metadata()) == inode(std::fs::metadata(root)) => return Ok(Some(folder)),
            // whoever had it has removed it meanwhile
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                if let Some(waiting) = waiting.take() {
                    waiting(&Holder(None));
                }
            }
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "the folder of the stack cannot be locked");
                return Ok(None);
            }
        }
        tokio::time::sleep(TRY).await;
    }
    Err(impatient(&Holder(None), root))
}

fn impatient(holder: &Holder, path: &Path) -> HostError {
    HostError::Environment {
        what: format!("{holder} has worked on this stack for {} minutes", PATIENCE.as_secs() / 60),
        hint: format!("find its process with `fuser {}` and end it", path.display()),
    }
}

impl LockFile {
    async fn acquire(
        path: PathBuf,
        share: Share,
        start: Instant,
        waiting: &mut Option<impl FnOnce(&Holder)>,
    ) -> Result<Self, HostError> {
        let mut holder = Holder(None);
        while start.elapsed() < PATIENCE {
            match try_lock(&path, share)? {
                Try::Locked(file) => return Ok(Self { path, file }),
                Try::Gone => {}
                Try::Held(by) => {
                    holder = by;
                    if let Some(waiting) = waiting.take() {
                        waiting(&holder);
                    }
                }
            }
            tokio::time::sleep(TRY).await;
        }
        Err(impatient(&holder, &path))
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Only whoever has it alone removes it: nobody else can hold this very file then, who waits finds a new one.
        if self.file.try_lock().is_ok() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What came of an attempt to lock a file.
enum Try {
    Locked(File),
    Held(Holder),
    /// Whoever had it has removed it meanwhile.
    Gone,
}

/// Locks the file if it is free and still the one that the path names.
fn try_lock(path: &Path, share: Share) -> Result<Try, HostError> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(HostError::file("open the lock", path))?;
    match share.lock(&file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Try::Held(Holder::of(&mut file))),
        Err(TryLockError::Error(error)) => return Err(HostError::file("lock", path)(error)),
    }
    let mine = file.metadata().map_err(HostError::file("look at", path))?.ino();
    if !std::fs::metadata(path).is_ok_and(|found| found.ino() == mine) {
        return Ok(Try::Gone);
    }
    Holder::write(&mut file);
    Ok(Try::Locked(file))
}

/// Outside the stack's folder: an `up` that is refused leaves nothing there, a `down --data` nothing to trip over.
fn lock_path(root: &Path, kind: &str) -> Result<PathBuf, HostError> {
    let digest = sha256(root.as_os_str().as_encoded_bytes());
    Ok(volatile::folder()?.join(format!("{}{kind}.lock", digest.get(..16).unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_told_for_whom() {
        let root = tempfile::tempdir().unwrap();
        introduce("key create");
        let _first = StackLock::acquire(root.path(), Hold::Add, |_| {}).await.unwrap();
        let (queued, seen) = tokio::sync::oneshot::channel();
        let place = root.path().to_owned();
        let waiting = move |holder: &Holder| queued.send(holder.to_string()).unwrap();
        let second = tokio::spawn(async move { StackLock::acquire(&place, Hold::Change, waiting).await.map(drop) });
        assert_eq!(seen.await.unwrap(), format!("`key create` (pid {})", std::process::id()));
        second.abort();
    }

    fn holds(root: &Path, kind: &str) -> bool {
        lock_path(root, kind).unwrap().exists()
    }

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_nothing_is_left() {
        for hold in [Hold::Change, Hold::Add, Hold::Fault] {
            let root = tempfile::tempdir().unwrap();
            let first = StackLock::acquire(root.path(), hold, |_| {}).await.unwrap();
            let place = root.path().to_owned();
            let (queued, seen) = tokio::sync::oneshot::channel();
            let second =
                tokio::spawn(async move { StackLock::acquire(&place, hold, |_| queued.send(()).unwrap()).await });
            seen.await.unwrap();
            assert!(!second.is_finished());
            drop(first);
            let second = second.await.unwrap().unwrap();
            assert!(holds(root.path(), ""));
            drop(second);
            assert!(["", "-add", "-fault"].iter().all(|kind| !holds(root.path(), kind)), "{hold:?}");
        }
    }

    /// As of a kestack whose files for locks are elsewhere: it started before the user logged in, as root, or in a container.
    #[tokio::test]
    async fn the_folder_is_locked_too() {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("stack");
        drop(StackLock::acquire(&root, Hold::Change, |_| {}).await.unwrap());
        assert!(!root.exists(), "what is not there is not made");
        std::fs::create_dir(&root).unwrap();
        let elsewhere = File::open(&root).unwrap();
        elsewhere.try_lock_shared().unwrap();
        for hold in [Hold::Add, Hold::Fault] {
            StackLock::acquire(&root, hold, |_| panic!("nobody is in the way")).await.unwrap();
        }
        let (place, (queued, seen)) = (root.clone(), tokio::sync::oneshot::channel());
        let waiting = move |holder: &Holder| queued.send(holder.to_string()).unwrap();
        let second = tokio::spawn(async move { StackLock::acquire(&place, Hold::Change, waiting).await });
        assert_eq!(seen.await.unwrap(), "another kestack");
        // it was removed and made again: the lock is that of the new one
        std::fs::remove_dir(&root).unwrap();
        std::fs::create_dir(&root).unwrap();
        drop(elsewhere);
        let second = second.await.unwrap().unwrap();
        assert!(File::open(&root).unwrap().try_lock().is_err());
        drop(second);
        File::open(&root).unwrap().try_lock().unwrap();
    }

    #[tokio::test]
    async fn a_fault_keeps_out_who_changes_but_not_who_adds() {
        let root = tempfile::tempdir().unwrap();
        let fault = StackLock::acquire(root.path(), Hold::Fault, |_| {}).await.unwrap();
        let add = StackLock::acquire(root.path(), Hold::Add, |_| panic!("nobody is in the way")).await.unwrap();
        let place = root.path().to_owned();
        let (queued, seen) = tokio::sync::oneshot::channel();
        let change =
            tokio::spawn(async move { StackLock::acquire(&place, Hold::Change, |_| queued.send(()).unwrap()).await });
        seen.await.unwrap();
        drop(fault);
        assert!(holds(root.path(), ""), "the other one goes on holding it");
        assert!(!change.is_finished());
        drop(add);
        drop(change.await.unwrap().unwrap());
        assert!(!holds(root.path(), ""));
    }
}
