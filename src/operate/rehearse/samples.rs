//! The oldest and the newest objects of each key, read from a MinIO on a clone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use crate::data::drive::{self, Item, Opens, with_version};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::operate::clone::{CloneServer, Patience, is_changed};
use crate::operate::evidence::{Claim, LISTED};

/// What was read of one key.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "RehearsedSamples")]
pub(crate) struct Samples {
    /// Name of the key; null for objects that lie in clear.
    pub(crate) key: Option<String>,
    /// Versions that were read to their end.
    pub(crate) read: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Versions that clients changed or removed meanwhile: they count neither way.
    pub(crate) changed_meanwhile: u64,
    /// The first versions that could not be read, with the reason.
    pub(crate) failed: Vec<String>,
}

/// Reads so many of the oldest and of the newest versions of each of these keys and of those in clear, each to its end.
///
/// # Errors
/// Those of the clone, also if its MinIO ends.
pub(super) async fn read(
    server: &mut CloneServer,
    drive: &Path,
    count: usize,
    keys: &[String],
) -> Result<Vec<Samples>, Error> {
    let cloned = server.drive.path();
    let mut all: BTreeMap<Opens, Samples> = BTreeMap::new();
    let patience = Patience::default();
    for item in chosen(&cloned, count).await? {
        let key = match &item.opens {
            Opens::Key(name) if !keys.contains(name) => continue,
            Opens::Key(name) => Some(name.clone()),
            Opens::Clear | Opens::Client | Opens::Unknown => None,
        };
        let read = patience.digest(&server.s3, &item).await;
        let samples = all.entry(item.opens.clone()).or_insert_with(|| Samples { key, ..Samples::default() });
        let why = match read {
            Ok(digest) if digest.bytes == item.bytes => {
                (samples.read, samples.bytes) = (samples.read + 1, samples.bytes + digest.bytes);
                continue;
            }
            Ok(digest) => format!("{} bytes came, and it has {}", digest.bytes, item.bytes),
            Err(error) => error.to_string(),
        };
        samples.miss(&item, &why, is_changed(&cloned.join(&item.meta), &drive.join(&item.meta)));
    }
    // one that has ended gives no object, however good that is
    server.require_alive().await?;
    Ok(all.into_values().collect())
}

async fn chosen(drive: &Path, count: usize) -> Result<Vec<Item>, Error> {
    let place: PathBuf = drive.to_owned();
    blocking("read", drive, move || drive::ends(&place, count, count).map_err(Error::file("read", place))).await
}

impl Samples {
    fn miss(&mut self, item: &Item, why: &str, is_changed: bool) {
        if is_changed {
            self.changed_meanwhile += 1;
        } else if self.failed.len() < LISTED {
            let name = with_version(&format!("{}/{}", item.bucket, item.object), item.version.as_deref());
            self.failed.push(format!("'{name}': {why}"));
        }
    }

    /// What they are, for people.
    fn about(&self) -> String {
        self.key.as_ref().map_or_else(|| "objects in clear".into(), |key| format!("objects under key '{key}'"))
    }

    /// That they can be read; the error says why nothing can be said of them.
    pub(super) fn claim(&self) -> Result<Claim, String> {
        let seen = match self.failed.as_slice() {
            [] if self.read == 0 => {
                return Err(format!("{}: clients changed all of them meanwhile; run it again", self.about()));
            }
            [] => format!("{} versions of {} bytes", self.read, self.bytes),
            [first] => first.clone(),
            [first, more @ ..] => format!("{first}; and {} more", more.len()),
        };
        Ok(Claim {
            about: self.about(),
            claim: "the target MinIO reads the oldest and the newest of them".into(),
            proven: self.failed.is_empty(),
            seen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_read_counts() {
        let item = Item {
            bucket: "b".into(),
            object: "o".into(),
            version: Some("v".into()),
            bytes: 1,
            written: 1,
            opens: Opens::Clear,
            is_current: true,
            meta: "b/o/xl.meta".into(),
        };
        let mut samples = Samples { key: Some("k".into()), ..Samples::default() };
        samples.miss(&item, "404", true);
        let said = "objects under key 'k': clients changed all of them meanwhile; run it again";
        assert_eq!(samples.claim().unwrap_err(), said);
        (samples.read, samples.bytes) = (2, 2048);
        let claim = samples.claim().unwrap();
        assert!(claim.proven && claim.seen.starts_with("2 versions of 2048"), "{claim:?}");
        for read in [2, 0] {
            samples.read = read;
            samples.miss(&item, "403", false);
            let claim = samples.claim().unwrap();
            assert!(!claim.proven && claim.seen.starts_with("'b/o (version v)': 403"), "{claim:?}");
        }
    }
}
