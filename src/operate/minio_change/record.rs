//! The record of which MinIO has the drive, and of a change that is under way.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::disk;
use crate::operate::snapshot::SnapshotName;
use crate::resource::FileResource;
use crate::stack::Layout;
use crate::supply::Release;

/// Version of the file's form.
const VERSION: u32 = 1;

/// What the stack's folder says of its MinIO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// The last one that was seen to serve the data.
    pub(super) minio: Release,
    /// The change to another one that has begun and is not proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) change: Option<Change>,
}

/// A change of MinIO.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// The new one.
    pub(super) to: Release,
    /// The snapshot that holds the data from before the change; `None` if none was wanted.
    pub(super) snapshot: Option<SnapshotName>,
}

impl Record {
    /// That one serves the data.
    pub(super) fn new(minio: Release) -> Self {
        Self { version: VERSION, minio, change: None }
    }

    /// That one did until the change began.
    pub(super) fn changing(minio: Release, change: Change) -> Self {
        Self { change: Some(change), ..Self::new(minio) }
    }

    /// What the folder says; `None` if it says nothing, as where kestack 0.1.0 brought the stack up.
    ///
    /// # Errors
    /// [`Error::Environment`] if the file is damaged, or a later kestack wrote it.
    pub(super) fn load(layout: &Layout) -> Result<Option<Self>, Error> {
        let path = layout.minio_record();
        let Some(text) = disk::read(&path)? else { return Ok(None) };
        let read = serde_json::from_slice::<Self>(&text).ok().filter(|record| record.version <= VERSION);
        read.map(Some).ok_or_else(|| Error::Environment {
            what: format!("'{}' is damaged, or a newer kestack wrote it", path.display()),
            hint: "use that kestack; or remove the file: then kestack does not know which MinIO wrote the data".into(),
        })
    }

    /// Writes it, unless it is there.
    pub(super) fn save(&self, layout: &Layout) -> Result<(), Error> {
        if Self::load(layout)?.as_ref() == Some(self) {
            return Ok(());
        }
        FileResource::json(layout.minio_record(), self)?.make()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_a_strange_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path());
        assert_eq!(Record::load(&layout).unwrap(), None);
        let minio = |identity: &str| Release {
            identity: identity.into(),
            reference: "/bin/minio".into(),
            flavour: None,
            release: None,
        };
        let mut record = Record::new(minio("a"));
        record.save(&layout).unwrap();
        record.change = Some(Change { to: minio("b"), snapshot: Some("before".parse().unwrap()) });
        record.save(&layout).unwrap();
        assert_eq!(Record::load(&layout).unwrap(), Some(record));
        for strange in ["", "{}", r#"{"version":2,"minio":{"identity":"a","reference":"b"}}"#] {
            std::fs::write(layout.minio_record(), strange).unwrap();
            assert_eq!(Record::load(&layout).unwrap_err().exit_code(), 6, "{strange}");
        }
    }
}
