//! The same versions read from the clone without KES and from the running stack with it.

use std::path::Path;
use std::sync::Mutex;

use schemars::JsonSchema;
use serde::Serialize;

use crate::data::drive::{Item, Opens};
use crate::error::Error;
use crate::operate::clone::{CloneServer, Digest, digest, in_parallel, is_changed};
use crate::servers::s3::{S3Client, S3Error};

/// Differences that are named; the rest is counted.
const NAMED: usize = 100;

/// What was read.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Compared {
    /// Versions that are the same.
    pub(crate) same: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Versions that clients changed or removed meanwhile.
    pub(crate) changed_meanwhile: u64,
    /// Versions under keys that only clients have (SSE-C), which need no KES and were not read.
    pub(crate) client_keys: u64,
    /// The first versions that are not the same.
    pub(crate) different: Vec<Difference>,
    /// How many more there are.
    pub(crate) more_different: u64,
    /// Versions that need a key of KES.
    #[serde(skip)]
    needing: u64,
    /// Those of them that are the same.
    #[serde(skip)]
    same_needing: u64,
}

/// A version that is not the same without KES.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Difference {
    /// Its bucket.
    pub(crate) bucket: String,
    /// Its name.
    pub(crate) object: String,
    /// The ID of its version; null in a bucket that keeps none.
    pub(crate) version: Option<String>,
    /// What was seen.
    pub(crate) reason: String,
}

/// What became of one version.
enum Outcome {
    Same { bytes: u64, needs_key: bool },
    Changed,
    Client,
    NotChosen,
    Different(Difference),
}

/// Compares every version on the clone, or as many as `sample` says.
///
/// # Errors
/// Those of the drive.
pub(super) async fn all(
    clone: &CloneServer,
    stack: &S3Client,
    drive: &Path,
    sample: Option<u64>,
) -> Result<Compared, Error> {
    let path = clone.drive.path();
    let chosen = match sample {
        Some(count) => Some(Mutex::new(Choice::of(count, total(&path).await?))),
        None => None,
    };
    let both = Both { clone: &clone.s3, stack, cloned: &path, drive };
    let work = |item: Item| {
        let needs_key = needs_key(&item);
        // a version that needs no key proves nothing about one
        let choose = |choice: &Mutex<Choice>| needs_key && choice.lock().is_ok_and(|mut choice| choice.next());
        let is_chosen = chosen.as_ref().is_none_or(choose);
        async move { (needs_key, if is_chosen { both.compare(item).await } else { Outcome::NotChosen }) }
    };
    let mut compared = Compared::default();
    in_parallel(&path, work, |(needs_key, outcome)| {
        compared.needing += u64::from(needs_key);
        compared.add(outcome);
        Ok(())
    })
    .await?;
    Ok(compared)
}

/// How many versions could be chosen.
async fn total(drive: &Path) -> Result<u64, Error> {
    let mut total = 0;
    in_parallel(
        drive,
        |item| std::future::ready(needs_key(&item)),
        |needs_key| {
            total += u64::from(needs_key);
            Ok(())
        },
    )
    .await?;
    Ok(total)
}

fn needs_key(item: &Item) -> bool {
    matches!(item.opens, Opens::Key(_))
}

/// Chooses so many of so many, each with the same chance, as they come.
struct Choice {
    wanted: u64,
    left: u64,
}

impl Choice {
    fn of(wanted: u64, total: u64) -> Self {
        Self { wanted, left: total }
    }

    fn next(&mut self) -> bool {
        let is_chosen = self.wanted > 0 && fastrand::u64(..self.left.max(1)) < self.wanted;
        self.left = self.left.saturating_sub(1);
        self.wanted -= u64::from(is_chosen);
        is_chosen
    }
}

/// Both ways to the same versions.
#[derive(Clone, Copy)]
struct Both<'a> {
    clone: &'a S3Client,
    stack: &'a S3Client,
    cloned: &'a Path,
    drive: &'a Path,
}

impl Both<'_> {
    async fn compare(self, item: Item) -> Outcome {
        if item.opens == Opens::Client {
            return Outcome::Client;
        }
        let needs_key = needs_key(&item);
        let (clone, stack) = tokio::join!(digest(self.clone, &item), digest(self.stack, &item));
        let reason = match difference(clone, stack) {
            Ok(bytes) => return Outcome::Same { bytes, needs_key },
            Err(reason) => reason,
        };
        if is_changed(&self.cloned.join(&item.meta), &self.drive.join(&item.meta)) {
            return Outcome::Changed;
        }
        let Item { bucket, object, version, .. } = item;
        Outcome::Different(Difference { bucket, object, version, reason })
    }
}

/// How many bytes both have; else what was seen.
fn difference(clone: Result<Digest, S3Error>, stack: Result<Digest, S3Error>) -> Result<u64, String> {
    match (clone, stack) {
        (Ok(clone), Ok(stack)) if clone == stack => Ok(clone.bytes),
        (Ok(_), Ok(_)) => Err("other bytes come".to_owned()),
        (Err(error), _) => Err(format!("it cannot be read without KES: {error}")),
        (Ok(_), Err(error)) => Err(format!("it cannot be read from the running stack: {error}")),
    }
}

impl Compared {
    /// True if nothing differs, and something under the key was compared: MinIO's own files do if nothing else is under it.
    pub(super) fn proves(&self, minio_files: u64) -> bool {
        let nothing_differs = self.different.is_empty() && self.more_different == 0;
        nothing_differs && (self.same_needing > 0 || self.needing == 0 && minio_files > 0)
    }

    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Same { bytes, needs_key } => {
                (self.same, self.bytes) = (self.same + 1, self.bytes + bytes);
                self.same_needing += u64::from(needs_key);
            }
            Outcome::Changed => self.changed_meanwhile += 1,
            Outcome::Client => self.client_keys += 1,
            Outcome::NotChosen => {}
            Outcome::Different(one) if self.different.len() < NAMED => self.different.push(one),
            Outcome::Different(_) => self.more_different += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_as_many_are_chosen_as_are_wanted() {
        for (wanted, total, chosen) in [(3, 10, 3), (0, 10, 0), (10, 3, 3), (5, 5, 5)] {
            let mut choice = Choice::of(wanted, total);
            assert_eq!((0..total).filter(|_| choice.next()).count(), chosen, "{wanted} of {total}");
        }
    }

    #[test]
    fn only_what_was_compared_proves_anything() {
        let of = |outcome, needing| {
            let mut compared = Compared { needing, ..Compared::default() };
            compared.add(outcome);
            compared
        };
        assert!(of(Outcome::Same { bytes: 1, needs_key: true }, 1).proves(0));
        assert!(!of(Outcome::Same { bytes: 1, needs_key: false }, 0).proves(0), "it needs no key");
        assert!(!of(Outcome::Changed, 1).proves(2), "nothing under the key was compared");
        assert!(of(Outcome::Client, 0).proves(2), "MinIO's own files are under it, and nothing else");
    }

    #[test]
    fn differences_are_named_and_bounded() {
        let mut compared = Compared::default();
        for number in 0..NAMED + 2 {
            let (bucket, object, reason) = ("b".into(), number.to_string(), "why".into());
            compared.add(Outcome::Different(Difference { bucket, object, version: None, reason }));
        }
        compared.add(Outcome::Same { bytes: 7, needs_key: true });
        assert!(!compared.proves(1), "something differs");
        assert_eq!((compared.different.len(), compared.more_different, compared.bytes), (NAMED, 2, 7));
    }
}
