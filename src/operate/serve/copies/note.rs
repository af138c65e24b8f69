//! Which keys of the first drive were copied. Whoever finds a copy that differs from the first drive's key, or a copy of a key
//! that the first drive has not, can tell a former key of this store from that of another one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::digest::sha256;
use crate::host::disk::{self, Outlasts};
use crate::stack::Layout;

const FILE: &str = "copied.json";
/// How many former keys of one name are remembered.
const MOST: usize = 16;

/// Digests of the files that the keys of a name were, the newest last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note(BTreeMap<String, Vec<String>>);

impl Note {
    /// The note on a drive. One that cannot be read is as good as none: nothing is removed then.
    pub(super) fn load(drive: &Path) -> Self {
        let found = disk::read(&path(drive)).inspect_err(|error| tracing::debug!(%error, "copies are not known")).ok();
        found.flatten().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    pub(super) fn save(&self, drive: &Path) -> Result<(), Error> {
        let path = path(drive);
        let content = serde_json::to_vec(self).map_err(|error| Error::file("write", &path)(error.into()))?;
        disk::replace(&path, &content, Outlasts::Machine).map_err(Error::file("write", path))
    }

    /// Notes that this is the key of that name now; true if that is new.
    pub(super) fn add(&mut self, name: &str, key: &[u8]) -> bool {
        let digest = sha256(key);
        let all = self.0.entry(name.to_owned()).or_default();
        if all.last() == Some(&digest) {
            return false;
        }
        all.retain(|known| *known != digest);
        all.push(digest);
        all.drain(..all.len().saturating_sub(MOST));
        true
    }

    /// Which key of that name it is, a later one with a higher number; `None` if it is not known.
    pub(super) fn turn(&self, name: &str, key: &[u8]) -> Option<usize> {
        let digest = sha256(key);
        self.0.get(name)?.iter().position(|known| *known == digest)
    }

    pub(super) fn knows(&self, name: &str, key: &[u8]) -> bool {
        self.turn(name, key).is_some()
    }

    pub(super) fn forget(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

fn path(drive: &Path) -> PathBuf {
    Layout::on_drive(drive).join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_former_keys_in_their_order_and_outlasts_damage() {
        let drive = tempfile::tempdir().unwrap();
        std::fs::create_dir(Layout::on_drive(drive.path())).unwrap();
        let mut note = Note::load(drive.path());
        assert!(note.add("one", b"1") && note.add("one", b"2") && !note.add("one", b"2"));
        note.save(drive.path()).unwrap();
        assert_eq!(Note::load(drive.path()), note);
        assert_eq!([b"1", b"2", b"3"].map(|key| note.turn("one", key)), [Some(0), Some(1), None]);
        for number in 0..100 {
            note.add("one", format!("later {number}").as_bytes());
        }
        assert!(!note.knows("one", b"1") && note.turn("one", b"later 99") == Some(MOST - 1));
        std::fs::write(path(drive.path()), "{ \"one").unwrap();
        assert_eq!(Note::load(drive.path()), Note::default());
    }
}
