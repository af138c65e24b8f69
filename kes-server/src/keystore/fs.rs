//! The fs keystore: a folder with one file per key, as the original's (kes-keystores §2), but safe against crashes.
//!
//! A value is written to a dot-file, which no key can be named, synced, and then moved to its name, which fails if
//! the name is taken; the folder is synced before success is told. A crash leaves either no entry or a whole one.

use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::{KeyStore, KeyStoreError};

/// Largest value that is read.
const MAX_VALUE: u64 = 1 << 20;

/// Start of the names of files that are being written.
const UNFINISHED: &str = ".kes-new-";

/// A folder of keys.
#[derive(Debug, Clone)]
pub struct Fs {
    folder: Arc<PathBuf>,
}

impl Fs {
    /// Opens the folder, creating it if it is missing, and clears away what a crash left unfinished.
    pub async fn open(path: &Path) -> Result<Self, KeyStoreError> {
        let folder = path.to_owned();
        run(move || {
            match std::fs::metadata(&folder) {
                Ok(found) if !found.is_dir() => {
                    return Err(KeyStoreError::Other(format!("fs: '{}' is not a directory", folder.display())));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    DirBuilder::new().recursive(true).mode(0o755).create(&folder).map_err(|e| other(&folder, &e))?;
                }
                Err(error) => return Err(other(&folder, &error)),
            }
            clear_unfinished(&folder).map_err(|error| other(&folder, &error))?;
            Ok(Self { folder: Arc::new(folder) })
        })
        .await
    }

    /// The file of a key. The API checks names before; this is the check for those of the configuration's `keys:`.
    fn file(&self, name: &str) -> Result<PathBuf, KeyStoreError> {
        if name.is_empty() || name.contains(['/', '\\', '.']) {
            return Err(KeyStoreError::Other("fs: key name contains invalid character".into()));
        }
        Ok(self.folder.join(name))
    }
}

impl fmt::Display for Fs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filesystem: {}", self.folder.display())
    }
}

impl KeyStore for Fs {
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        let folder = self.folder.clone();
        run(move || {
            let start = Instant::now();
            match std::fs::metadata(folder.as_path()) {
                Ok(_) => Ok(start.elapsed()),
                Err(error) => Err(KeyStoreError::Unreachable(text(&folder, &error))),
            }
        })
        .await
    }

    async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
        let file = self.file(name)?;
        let (folder, value) = (self.folder.clone(), Zeroizing::new(value.to_vec()));
        run(move || match write_new(&folder, &file, &value) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(KeyStoreError::Exists),
            result => result.map_err(|error| failure(&folder, &file, &error)),
        })
        .await
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        let file = self.file(name)?;
        let folder = self.folder.clone();
        run(move || {
            let mut value = Zeroizing::new(Vec::with_capacity(256));
            match File::open(&file).and_then(|open| open.take(MAX_VALUE).read_to_end(&mut value)) {
                Ok(_) => Ok(value),
                Err(error) => Err(failure(&folder, &file, &error)),
            }
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        let file = self.file(name)?;
        let folder = self.folder.clone();
        run(move || {
            let removed = std::fs::remove_file(&file).and_then(|()| File::open(folder.as_path())?.sync_all());
            removed.map_err(|error| failure(&folder, &file, &error))
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        let (folder, prefix) = (self.folder.clone(), prefix.to_owned());
        run(move || {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(folder.as_path()).map_err(|error| failure(&folder, &folder, &error))? {
                let entry = entry.map_err(|error| failure(&folder, &folder, &error))?;
                match entry.file_name().into_string() {
                    Ok(name) if name.starts_with(&prefix) && !name.starts_with(UNFINISHED) => names.push(name),
                    _ => {}
                }
            }
            names.sort_unstable();
            Ok(names)
        })
        .await
    }
}

fn write_new(folder: &Path, file: &Path, value: &[u8]) -> io::Result<()> {
    // Several kes may share the folder, each of them process 1 of its container: only chance tells their files apart.
    let mut unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder)?;
    unfinished.write_all(value)?;
    unfinished.as_file().sync_all()?;
    unfinished.persist_noclobber(file).map_err(|refused| refused.error)?;
    File::open(folder)?.sync_all()
}

/// Removes what earlier processes of this folder did not finish. A file of a running kes is seconds old at most.
fn clear_unfinished(folder: &Path) -> io::Result<()> {
    const STALE: Duration = Duration::from_secs(60);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED));
        let stale = || {
            entry
                .metadata()
                .and_then(|meta| meta.modified())
                .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > STALE))
        };
        if ours && stale() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Files are blocking: they must not hold up the handling of other requests.
async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyStoreError> + Send + 'static,
) -> Result<T, KeyStoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(KeyStoreError::Other(error.to_string())))
}

fn text(path: &Path, error: &io::Error) -> String {
    format!("fs: {}: {error}", path.display())
}

/// What an error about `path` says of a keystore. A folder that is gone, or on a server that does not answer, has not
/// lost its keys: it is out of reach.
fn failure(folder: &Path, path: &Path, error: &io::Error) -> KeyStoreError {
    use ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, NotFound, StaleNetworkFileHandle, TimedOut};
    match error.kind() {
        NotFound if folder.is_dir() => KeyStoreError::NotFound,
        NotFound | StaleNetworkFileHandle | TimedOut | HostUnreachable | NetworkDown | NetworkUnreachable => {
            KeyStoreError::Unreachable(text(path, error))
        }
        _ => other(path, error),
    }
}

fn other(path: &Path, error: &io::Error) -> KeyStoreError {
    KeyStoreError::Other(text(path, error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn a_crash_while_writing_leaves_the_name_free() {
        let folder = tempfile::tempdir().unwrap();
        let store = Fs::open(folder.path()).await.unwrap();
        std::fs::write(folder.path().join(format!("{UNFINISHED}1-0")), "half").unwrap();
        assert_eq!(store.list("").await.unwrap(), Vec::<String>::new());
        store.create("key", b"value").await.unwrap();
        assert_eq!(store.list("").await.unwrap(), ["key"]);
        let mode = std::fs::metadata(folder.path().join("key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn several_kes_in_containers_do_not_take_each_others_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = Fs::open(folder.path()).await.unwrap();
        let of_others: Vec<_> =
            (0..64).map(|number| folder.path().join(format!("{UNFINISHED}{}-{number}", std::process::id()))).collect();
        for file in &of_others {
            std::fs::write(file, "half").unwrap();
        }
        store.create("key", b"value").await.unwrap();
        assert_eq!(store.create("key", b"other").await, Err(KeyStoreError::Exists));
        assert_eq!(store.get("key").await.unwrap().as_slice(), b"value");
        assert!(of_others.iter().all(|file| file.exists()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 65, "nothing is left behind");
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_is_unreachable() {
        let folder = tempfile::tempdir().unwrap();
        let store = Fs::open(&folder.path().join("keys")).await.unwrap();
        std::fs::remove_dir(folder.path().join("keys")).unwrap();
        assert!(matches!(store.status().await, Err(KeyStoreError::Unreachable(_))));
        assert!(matches!(store.list("").await, Err(KeyStoreError::Unreachable(_))));
        assert!(matches!(store.get("key").await, Err(KeyStoreError::Unreachable(_))));
        assert!(matches!(store.create("key", b"v").await, Err(KeyStoreError::Unreachable(_))));
        assert!(matches!(store.delete("key").await, Err(KeyStoreError::Unreachable(_))));
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        assert_eq!(store.get("key").await, Err(KeyStoreError::NotFound));
        assert_eq!(store.delete("key").await, Err(KeyStoreError::NotFound));
    }

    #[tokio::test]
    async fn only_plain_names_reach_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let store = Fs::open(folder.path()).await.unwrap();
        for name in ["", "../up", "a.b", "a/b", "a\\b", "."] {
            let error = store.create(name, b"v").await.unwrap_err();
            assert_eq!(error.to_string(), "fs: key name contains invalid character");
        }
    }
}
