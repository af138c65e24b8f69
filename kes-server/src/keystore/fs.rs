//! The fs keystore: a folder with one file per key, as MinIO KES has it, but safe against crashes.
//!
//! A value is written to a file without a name, synced, and then linked to its name, which fails if the name is taken;
//! the folder is synced before a client hears of success. A crash leaves either no entry or a complete one. [`store`]
//! changes the folder, [`entry`] reads what is in it.

use std::fmt;
use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use self::store::UNFINISHED;
use super::{KeyStore, KeyStoreError};

mod entry;
mod store;

/// A folder of keys.
#[derive(Debug, Clone)]
pub struct Fs {
    folder: Arc<PathBuf>,
}

impl Fs {
    /// Opens the folder, creating it for its owner alone if it is missing, and clears away what a crash left unfinished, if it can: to
    /// serve the keys of a folder, one needs neither to list it nor to write to it.
    pub async fn open(path: &Path) -> Result<Self, KeyStoreError> {
        let folder = path.to_owned();
        run(move || {
            match std::fs::metadata(&folder) {
                Ok(found) if !found.is_dir() => {
                    return Err(KeyStoreError::Other(format!("fs: '{}' is not a directory", folder.display())));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| other(&folder, &e))?;
                }
                Err(error) => return Err(other(&folder, &error)),
            }
            store::clear_unfinished(&folder);
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
        run(move || store::create(&folder, &file, &value)).await
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        let file = self.file(name)?;
        let folder = self.folder.clone();
        run(move || entry::read(&file).map_err(|error| failure(&folder, &file, &error))).await
    }

    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        let file = self.file(name)?;
        let folder = self.folder.clone();
        run(move || store::delete(&folder, &file)).await
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
mod tests;
