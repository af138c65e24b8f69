//! The fs keystore: a folder with one file per key, as MinIO KES has it, but safe against crashes.
//!
//! A value is written to a file without a name, synced, and then linked to its name, which fails if the name is taken;
//! the folder is synced before a client hears of success. A crash leaves either no entry or a complete one. [`store`]
//! changes the folder, [`entry`] reads what is in it. A folder may be sealed under a master key: `seal` says how it is
//! served then, `convert` seals one that is there.

use std::fmt;
use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, oneshot};
use zeroize::Zeroizing;

use self::marker::{Lock, OURS};
use self::seal::Seal;
use super::{Access, Environment, KeyStore, KeyStoreError};
use crate::config::FsConfig;

mod convert;
mod entry;
mod marker;
mod master;
mod seal;
mod store;

pub use convert::{Converted, is_sealed, seal, sealed_under, unseal};
pub use master::MasterKeys;

/// A folder of keys.
#[derive(Debug, Clone)]
pub struct Fs {
    folder: Arc<PathBuf>,
    seal: Seal,
    /// Whoever waits for the right to change the folder; the others wait for it.
    turn: Arc<Mutex<()>>,
}

impl Fs {
    /// Opens the folder that a configuration names, with the master keys that it names.
    ///
    /// # Errors
    /// As [`Self::open`], and if a master key cannot be read. A missing folder is made where `environment` allows it.
    pub async fn connect(config: &FsConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        let master_keys = match &config.encryption {
            Some(encryption) => Some(MasterKeys::load(encryption, environment).await?),
            None => None,
        };
        Self::at(&config.path, master_keys, environment.access).await
    }

    /// Opens the folder, and clears away what a crash left unfinished, if it can: to serve the keys of a folder, one needs
    /// neither to list it nor to write to it.
    ///
    /// # Errors
    /// If the folder is missing or cannot be used, or its keys lie there in clear; or the reverse, if there are no
    /// `master_keys`.
    pub async fn open(path: &Path, master_keys: Option<MasterKeys>) -> Result<Self, KeyStoreError> {
        Self::at(path, master_keys, Access::Use).await
    }

    /// As [`Self::open`]; creates the folder for its owner alone if it is missing. Not for a folder that had keys: it is
    /// missing because its disk is not mounted, and a new one would take its place.
    ///
    /// # Errors
    /// As [`Self::open`], and if the folder cannot be created.
    pub async fn make(path: &Path, master_keys: Option<MasterKeys>) -> Result<Self, KeyStoreError> {
        Self::at(path, master_keys, Access::Make).await
    }

    async fn at(path: &Path, master_keys: Option<MasterKeys>, access: Access) -> Result<Self, KeyStoreError> {
        let (folder, seal) = (path.to_owned(), Seal(master_keys.map(Arc::new)));
        run(move || {
            match std::fs::metadata(&folder) {
                Ok(found) if !found.is_dir() => {
                    return Err(KeyStoreError::Other(format!("fs: '{}' is not a directory", folder.display())));
                }
                Ok(_) => {}
                Err(error) if access == Access::Make && error.kind() == ErrorKind::NotFound => {
                    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| other(&folder, &e))?;
                }
                Err(error) => return Err(failure(&folder, &folder, &error)),
            }
            let lost = seal.check(&folder)?;
            if access != Access::Look {
                store::clear_unfinished(&folder);
                // Where it cannot be written, nothing is created either, and the next start looks again.
                let _: Option<io::Result<()>> = lost.map(|marker| marker.save(&folder));
            }
            Ok(Self { folder: Arc::new(folder), seal, turn: Arc::default() })
        })
        .await
    }

    /// Waits a while for the right to change the folder. No thread waits: others are needed to read keys.
    async fn lock(&self) -> Result<Lock, KeyStoreError> {
        let taken = async {
            let _turn = self.turn.lock().await;
            loop {
                let this = self.clone();
                if let Some(lock) = run(move || this.seal.try_lock(&this.folder)).await? {
                    return Ok(lock);
                }
                tokio::time::sleep(marker::LOOK).await;
            }
        };
        tokio::time::timeout(marker::PATIENCE, taken).await.unwrap_or_else(|_| Err(marker::taken(&self.folder)))
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
        write!(f, "Filesystem: {}", self.folder.display())?;
        match &self.seal.0 {
            Some(keys) => write!(f, " (sealed: master key {})", keys.current().fingerprint()),
            None => Ok(()),
        }
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
        let (this, name, value) = (self.clone(), name.to_owned(), Zeroizing::new(value.to_vec()));
        let lock = self.lock().await?;
        run(move || {
            let _lock = lock;
            let stored = this.seal.close(&name, value)?;
            store::create(&this.folder, &file, &stored)
        })
        .await
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        let file = self.file(name)?;
        let (this, name) = (self.clone(), name.to_owned());
        run(move || {
            let stored = entry::read(&file).map_err(|error| failure(&this.folder, &file, &error))?;
            this.seal.open(&this.folder, &name, stored)
        })
        .await
    }

    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        let file = self.file(name)?;
        let (this, lock) = (self.clone(), self.lock().await?);
        run(move || {
            let _lock = lock;
            store::delete(&this.folder, &file)
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
                    Ok(name) if name.starts_with(&prefix) && !name.starts_with(OURS) => names.push(name),
                    _ => {}
                }
            }
            names.sort_unstable();
            Ok(names)
        })
        .await
    }
}

/// Files are blocking: they must not hold up the handling of other requests. All work has one type, because tasks of each
/// type are kilobytes of code.
async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeyStoreError> + Send + 'static,
) -> Result<T, KeyStoreError> {
    let (sender, result) = oneshot::channel();
    let work: Box<dyn FnOnce() + Send> = Box::new(move || {
        // Nobody waits for it any more: that is the caller's choice.
        let _: Result<(), Result<T, KeyStoreError>> = sender.send(work());
    });
    drop(tokio::task::spawn_blocking(work));
    result.await.unwrap_or_else(|error| Err(KeyStoreError::Other(error.to_string())))
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
