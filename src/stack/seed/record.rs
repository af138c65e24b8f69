//! What of the declared content was made, and how it looked then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::host::disk;
use crate::resource::FileResource;
use crate::stack::Layout;

/// A file in the stack's folder of configuration: a snapshot takes it along with the data that it is about.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct SeedRecord {
    #[serde(default)]
    pub(super) items: BTreeMap<String, Item>,
}

/// One thing of the content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    /// Digest of what was declared.
    pub(super) declared: String,
    /// Digest of what MinIO said of it right afterwards.
    #[serde(default)]
    pub(super) found: String,
}

impl SeedRecord {
    /// What is recorded; nothing if nothing was made yet.
    ///
    /// # Errors
    /// [`Error::Environment`] if the file cannot be understood.
    pub(super) fn load(layout: &Layout) -> Result<Self, Error> {
        let path = layout.seed();
        let Some(text) = disk::read(&path)? else { return Ok(Self::default()) };
        serde_json::from_slice(&text).map_err(|error| Error::Environment {
            what: format!("'{}' is damaged: {error}", path.display()),
            hint: "remove it: `kestack up` then makes the content of `seed:` again".into(),
        })
    }

    /// Adds what was made, in one step.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn add(layout: &Layout, items: impl IntoIterator<Item = (String, Item)>) -> Result<(), Error> {
        let mut record = Self::load(layout)?;
        record.items.extend(items);
        FileResource::json(layout.seed(), &record)?.make()
    }

    /// Forgets all of it, because the drive is empty.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be removed.
    pub(crate) fn forget(layout: &Layout) -> Result<(), Error> {
        Ok(disk::remove(&layout.seed())?)
    }
}
