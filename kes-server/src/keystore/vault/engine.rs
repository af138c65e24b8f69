//! The two versions of Vault's K/V engine: paths, what is stored, what is read (docs/keystores-protocol.md §4.4).

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::super::KeyStoreError;
use super::super::http::Answer;
use super::wire::{is_done, is_missing, refused};
use crate::config::{EngineVersion, Secret, VaultConfig};

/// Where a K/V engine is mounted, and which it is.
#[derive(Debug)]
pub(super) struct Engine {
    version: EngineVersion,
    mount: String,
    prefix: String,
}

type Fields = BTreeMap<String, Field>;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Field {
    Text(Secret),
    Other(IgnoredAny),
}

/// What an answer holds.
enum Read {
    Nothing,
    /// An entry whose version is deleted.
    Deleted,
    Fields(Fields),
}

impl Engine {
    pub(super) fn new(config: &VaultConfig) -> Self {
        let (mount, prefix) = (trimmed(&config.engine), trimmed(&config.prefix));
        Self { version: config.version, mount, prefix }
    }

    pub(super) fn version(&self) -> EngineVersion {
        self.version
    }

    /// The path of an entry's data.
    pub(super) fn entry(&self, name: &str) -> String {
        self.path("data", name)
    }

    /// The path under which an entry is deleted completely; that of the folder for no name.
    pub(super) fn whole(&self, name: &str) -> String {
        self.path("metadata", name)
    }

    fn path(&self, part: &str, name: &str) -> String {
        let part = if self.version == EngineVersion::V2 { part } else { "" };
        let segments = [&self.mount, part, &self.prefix, name];
        segments.into_iter().filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/")
    }

    /// What to write. V2 refuses it if there is an entry.
    pub(super) fn body(&self, name: &str, value: &str) -> Value {
        match self.version {
            EngineVersion::V1 => json!({ name: value }),
            EngineVersion::V2 => json!({ "data": { name: value }, "options": { "cas": 0 } }),
        }
    }

    /// The value of an entry as read, `None` if there is no entry.
    ///
    /// # Errors
    /// If there is one that holds no key of that name, or no answer to the question.
    pub(super) fn value(&self, name: &str, answer: &Answer) -> Result<Option<Secret>, KeyStoreError> {
        let path = self.entry(name);
        if is_missing(answer) {
            return Ok(None);
        }
        // a version that is deleted comes with 404, too
        if !matches!(answer.status, StatusCode::OK | StatusCode::NOT_FOUND) {
            return Err(refused(answer, "read", &path));
        }
        match self.read(answer) {
            Read::Nothing => Err(refused(answer, "read", &path)),
            Read::Deleted => Err(answer.unexpected(
                "the entry exists but no secret key is present: its version is deleted; undelete it, or delete the key",
            )),
            Read::Fields(mut fields) => match fields.remove(name) {
                Some(Field::Text(value)) => Ok(Some(value)),
                _ => Err(answer.unexpected("the entry has no field with the name of the key: kes did not write it")),
            },
        }
    }

    /// Whether an answer to a write is that of the engine, which says which version it wrote if it has versions.
    pub(super) fn is_written(&self, answer: &Answer) -> bool {
        #[derive(Deserialize)]
        struct Written {
            data: Version,
        }
        #[derive(Deserialize)]
        struct Version {
            version: u64,
        }

        match self.version {
            EngineVersion::V1 => is_done(answer),
            EngineVersion::V2 => {
                let written = answer.json::<Written>();
                answer.status == StatusCode::OK && written.is_ok_and(|written| written.data.version > 0)
            }
        }
    }

    fn read(&self, answer: &Answer) -> Read {
        #[derive(Deserialize)]
        struct Entry<T> {
            data: Option<T>,
        }

        match self.version {
            EngineVersion::V1 => match answer.json::<Entry<Fields>>() {
                Ok(Entry { data: Some(fields) }) => Read::Fields(fields),
                _ => Read::Nothing,
            },
            EngineVersion::V2 => match answer.json::<Entry<Entry<Fields>>>() {
                Ok(Entry { data: Some(Entry { data: Some(fields) }) }) => Read::Fields(fields),
                Ok(Entry { data: Some(Entry { data: None }) }) => Read::Deleted,
                _ => Read::Nothing,
            },
        }
    }
}

fn trimmed(path: &str) -> String {
    path.split('/').filter(|segment| !segment.is_empty()).collect::<Vec<_>>().join("/")
}
