//! `.kes-sealed`: says of a folder that its keys are sealed, and under which master keys (docs/sealed-keys.md §5).

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::KeyStoreError;
use super::{entry, other, store};
use crate::crypto::Fingerprint;
use crate::json;

/// Start of the names of files that are not keys.
pub(super) const OURS: &str = ".kes-";
/// The file.
const NAME: &str = ".kes-sealed";
/// Version of its form.
const VERSION: u32 = 1;
/// Most bytes it may have.
const MOST: usize = 4096;
/// How long a change waits for another one that has the folder, and how often it looks.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    version: u32,
    /// Every master key that something in the folder may be sealed under.
    pub(super) master_keys: Vec<Fingerprint>,
    /// What was begun and has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unfinished: Option<Change>,
}

/// A change of all files of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Change {
    Seal,
    Unseal,
}

impl Change {
    /// The verb that makes it.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Unseal => "unseal",
        }
    }
}

impl Marker {
    pub(super) fn new(master_keys: Vec<Fingerprint>, unfinished: Option<Change>) -> Self {
        Self { version: VERSION, master_keys, unfinished }
    }

    /// What the file of this folder says; `None` without one.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>, KeyStoreError> {
        let path = place(folder);
        let content = match entry::read(&path) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(other(&path, &error)),
        };
        let damaged = |why: &str| KeyStoreError::Other(format!("fs: {}: {why}", path.display()));
        if content.len() > MOST {
            return Err(damaged("is damaged: it is too large"));
        }
        let marker: Self = serde_json::from_slice(&content)
            .map_err(|error| damaged(&format!("is damaged: {}", json::mistake(&error))))?;
        if marker.version == VERSION { Ok(Some(marker)) } else { Err(damaged("was written by a later version of kes")) }
    }

    /// Puts it in place of the former.
    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string(self)?;
        text.push('\n');
        // for whoever has the folder, and may be another user than the one who runs this
        store::replace(folder, &place(folder), text.as_bytes(), &folder.metadata()?)?;
        store::sync_folder(folder)
    }

    /// Removes it.
    pub(super) fn remove(folder: &Path) -> io::Result<()> {
        match std::fs::remove_file(place(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => store::sync_folder(folder),
        }
    }
}

pub(super) fn place(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// The right to change a folder, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "holds the lock")] Option<File>);

/// Whom a lock keeps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Those who change all of it.
    Shared,
    /// Everybody.
    Exclusive,
}

/// Takes the folder, unless somebody has it. A folder that may not be read, or whose file system has no locks, is not
/// locked.
pub(super) fn try_lock(folder: &Path, claim: Claim) -> Option<Lock> {
    let Ok(open) = File::open(folder) else { return Some(Lock(None)) };
    let locked = match claim {
        Claim::Shared => open.try_lock_shared(),
        Claim::Exclusive => open.try_lock(),
    };
    match locked {
        Ok(()) => Some(Lock(Some(open))),
        Err(TryLockError::Error(_)) => Some(Lock(None)),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Waits a while for the folder, as a command that changes all of it.
pub(super) fn lock(folder: &Path) -> Result<Lock, KeyStoreError> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(lock) = try_lock(folder, Claim::Exclusive) {
            return Ok(lock);
        }
        sleep(LOOK);
    }
    Err(taken(folder))
}

/// Lets those change something who wait for the folder: at least one of them looks meanwhile.
pub(super) fn give_way(folder: &Path, lock: Lock) -> Result<Lock, KeyStoreError> {
    drop(lock);
    sleep(LOOK * 2);
    self::lock(folder)
}

/// Somebody else has the folder for too long.
pub(super) fn taken(folder: &Path) -> KeyStoreError {
    KeyStoreError::Unreachable(format!("fs: {}: its keys are being sealed or unsealed", folder.display()))
}
