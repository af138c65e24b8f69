//! What is written down of a rotation, so that it can go on or back.

use std::path::PathBuf;

use kes_server::auth::KeyName;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::disk;
use crate::operate::snapshot::SnapshotName;
use crate::resource::FileResource;
use crate::stack::Layout;

/// Version of the file's form.
const VERSION: u32 = 1;

/// A rotation that was begun. It stays when that is complete, for the way back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    version: u32,
    #[serde(with = "word")]
    pub(super) old: KeyName,
    #[serde(with = "word")]
    pub(super) new: KeyName,
    /// The snapshot that was taken before anything was changed.
    pub(super) snapshot: Option<SnapshotName>,
    /// True if the new key was made for the rotation: else other data needs it, and there is no way back.
    pub(super) made: bool,
    /// True if nothing needs the former key any more.
    pub(super) complete: bool,
}

impl Record {
    /// A rotation that is about to begin.
    pub(super) fn new(old: &KeyName, new: &KeyName, snapshot: Option<SnapshotName>, made: bool) -> Self {
        Self { version: VERSION, old: old.clone(), new: new.clone(), snapshot, made, complete: false }
    }

    /// The record of a stack; `None` if no rotation was begun.
    ///
    /// # Errors
    /// If it cannot be read, or a later kestack wrote it.
    pub(super) fn read(layout: &Layout) -> Result<Option<Self>, Error> {
        let path = path(layout);
        let Some(text) = disk::read(&path)? else { return Ok(None) };
        let record: Self = serde_json::from_slice(&text).map_err(|error| Error::file("read", &path)(error.into()))?;
        if record.version > VERSION {
            return Err(Error::Environment {
                what: format!("'{}' was written by a newer kestack", path.display()),
                hint: "use that one".into(),
            });
        }
        Ok(Some(record))
    }

    /// Keeps it completely or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, layout: &Layout) -> Result<(), Error> {
        FileResource::json(path(layout), self)?.make()
    }

    /// Forgets it: there is nothing to go back to.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(super) fn forget(layout: &Layout) -> Result<(), Error> {
        Ok(disk::remove(&path(layout))?)
    }
}

fn path(layout: &Layout) -> PathBuf {
    layout.rotation()
}

/// A name of a key as text.
mod word {
    use kes_server::auth::KeyName;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(name: &KeyName, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<KeyName, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_file() {
        let base = tempfile::tempdir().unwrap();
        let layout = Layout::new(base.path(), "s");
        std::fs::create_dir_all(layout.config()).unwrap();
        assert_eq!(Record::read(&layout).unwrap(), None);
        let key = |name: &str| name.parse::<KeyName>().unwrap();
        let record = Record::new(&key("a"), &key("a-2"), Some("before".parse().unwrap()), true);
        record.write(&layout).unwrap();
        assert_eq!(Record::read(&layout).unwrap(), Some(record));
        let newer = std::fs::read_to_string(layout.rotation()).unwrap().replace("\"version\": 1", "\"version\": 2");
        std::fs::write(layout.rotation(), newer).unwrap();
        assert_eq!(Record::read(&layout).unwrap_err().exit_code(), 6);
        Record::forget(&layout).unwrap();
        assert_eq!(Record::read(&layout).unwrap(), None);
    }
}
