//! What the running stack says of its objects: that must come back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::data::drive::{Item, Opens, with_version};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::clone::{Digest, Patience, in_parallel};
use crate::operate::evidence::{Claim, LISTED};
use crate::operate::session::Session;
use crate::servers::s3::S3Client;

/// Bucket, name and version of an object.
type Name = (String, String, Option<String>);

/// What is known of a version of the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Witness {
    /// The running stack has it unchanged, and this is in it.
    Has(Digest),
    /// It was overwritten or deleted after the snapshot: only its length is known.
    Changed,
    /// Only the client has its key.
    Closed,
    /// The running stack itself does not read it.
    Unreadable(String),
}

/// What is known of all versions of the snapshot.
#[derive(Debug, Default)]
pub(super) struct Witnesses {
    all: BTreeMap<Name, Witness>,
    /// Versions of the running stack that were there before the snapshot, and that it lacks.
    absent: Vec<Name>,
}

/// How the versions of a recovered stack compare.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Versions with the SHA-256 that they had.
    pub(super) same: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Versions that can be read, and that the running stack does not have any more.
    pub(super) unwitnessed: u64,
    /// Versions with nothing to compare: only clients have their keys, or the running stack does not read them.
    pub(super) skipped: u64,
    /// Versions that are not there, or changed.
    pub(super) missing_count: u64,
    /// Names of the first of these, with the reason.
    pub(super) missing: Vec<String>,
}

impl Witnesses {
    /// Reads every version on the drive of a snapshot from the running stack, and looks for those that it lacks.
    ///
    /// # Errors
    /// Those of the drives; [`Error::Interrupted`] after a signal.
    pub(super) async fn of(
        source: &Session,
        (drive, taken): (&Path, SystemTime),
        interrupt: &Interrupt,
    ) -> Result<Self, Error> {
        let (s3, live) = (&source.context.s3, source.stack.layout.drive());
        let (mut all, patience) = (Self::default(), Patience::default());
        let ask = async |item: Item| {
            let witness = ask(s3, &item, &[live.join(&item.meta), drive.join(&item.meta)], &patience).await;
            (name(item), witness)
        };
        let work = in_parallel(drive, ask, |(name, witness)| {
            all.all.insert(name, witness);
            Ok(())
        });
        interrupt.ends(work).await?;
        interrupt.ends(all.look_for_absent(&live, taken)).await?;
        Ok(all)
    }

    /// Whose metadata were not written since the snapshot was there before it.
    async fn look_for_absent(&mut self, live: &Path, taken: SystemTime) -> Result<(), Error> {
        let date = async |item: Item| {
            let meta = tokio::fs::metadata(live.join(&item.meta)).await;
            (name(item), meta.and_then(|meta| meta.modified()))
        };
        in_parallel(live, date, |(name, modified)| {
            if modified.is_ok_and(|modified| modified < taken) && !self.all.contains_key(&name) {
                self.absent.push(name);
            }
            Ok(())
        })
        .await
    }

    /// Reads every version on the drive of the snapshot from a recovered stack.
    ///
    /// # Errors
    /// As [`Witnesses::of`].
    pub(super) async fn compare(
        &self,
        s3: &S3Client,
        drive: &Path,
        interrupt: &Interrupt,
    ) -> Result<Comparison, Error> {
        let (mut comparison, patience) = (Comparison::default(), Patience::default());
        let ask = async |item: Item| {
            let read = if item.opens == Opens::Client { None } else { Some(patience.digest(s3, &item).await) };
            let bytes = item.bytes;
            (name(item), bytes, read)
        };
        let work = in_parallel(drive, ask, |(name, bytes, read)| {
            match (self.all.get(&name), read) {
                (Some(witness), Some(read)) => {
                    comparison.add(&name, witness, bytes, read.map_err(|error| error.to_string()));
                }
                (Some(_), None) => comparison.skipped += 1,
                (None, _) => {}
            }
            Ok(())
        });
        interrupt.ends(work).await?;
        Ok(comparison)
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.all.len() as u64
    }

    /// That there is anything to compare, if there is not.
    pub(super) fn nothing_to_compare(&self) -> Option<Claim> {
        let is_compared = |witness: &Witness| matches!(witness, Witness::Has(_) | Witness::Changed);
        (!self.all.values().any(is_compared)).then(|| Claim {
            about: "the snapshot".into(),
            claim: "it holds versions that can be compared".into(),
            proven: false,
            seen: format!("nothing could be compared in {} versions; store an object first", self.count()),
        })
    }

    /// That the snapshot is complete, and that the running stack reads its own objects.
    pub(super) fn claims(&self) -> [Claim; 2] {
        let mut absent: Vec<_> = self.absent.iter().map(shown).collect();
        absent.sort_unstable();
        let complete = Claim {
            about: "the snapshot".into(),
            claim: "it holds every version that was there when it was taken".into(),
            proven: absent.is_empty(),
            seen: match absent.first() {
                None => format!("{} versions", self.count()),
                Some(first) => format!("{} are not in it, such as {first}", absent.len()),
            },
        };
        [complete, self.readable()]
    }

    fn readable(&self) -> Claim {
        let mut unreadable = self.all.iter().filter_map(|(name, witness)| match witness {
            Witness::Unreadable(why) => Some(format!("{}: {why}", shown(name))),
            _ => None,
        });
        let first = unreadable.next();
        let more = unreadable.count();
        let seen = match &first {
            None => format!("{} versions", self.count()),
            Some(first) => format!("{first}; and {more} more"),
        };
        Claim {
            about: "the running stack".into(),
            claim: "every version of the snapshot can be read, or was changed since".into(),
            proven: first.is_none(),
            seen,
        }
    }

    /// What they leave open.
    pub(super) fn limits(&self) -> impl Iterator<Item = String> {
        let count = |wanted: &Witness| self.all.values().filter(|witness| *witness == wanted).count();
        let closed = Some(count(&Witness::Closed)).filter(|count| *count > 0);
        let changed = Some(count(&Witness::Changed)).filter(|count| *count > 0);
        let closed = closed.map(|count| format!("{count} versions under keys of clients (SSE-C) were not read"));
        let changed = changed.map(|count| {
            format!("{count} versions were overwritten or deleted after the snapshot: only their length was compared")
        });
        closed.into_iter().chain(changed)
    }
}

impl Comparison {
    /// True if that many versions were dealt with, at least one of them was compared, and nothing is missing.
    pub(super) fn shows_all(&self, witnesses: u64) -> bool {
        let compared = self.same + self.unwitnessed;
        compared > 0 && self.missing_count == 0 && compared + self.skipped == witnesses
    }

    fn add(&mut self, name: &Name, witness: &Witness, bytes: u64, read: Result<Digest, String>) {
        let why = match (witness, read) {
            (Witness::Closed | Witness::Unreadable(_), _) => {
                self.skipped += 1;
                return;
            }
            (Witness::Has(then), Ok(now)) if *then == now => {
                self.same += 1;
                self.bytes += now.bytes;
                return;
            }
            (Witness::Changed, Ok(now)) if now.bytes == bytes => {
                self.unwitnessed += 1;
                return;
            }
            (_, Ok(now)) => format!("came back changed, with {} bytes", now.bytes),
            (_, Err(why)) => why,
        };
        self.missing_count += 1;
        if self.missing.len() < LISTED {
            self.missing.push(format!("{}: {why}", shown(name)));
        }
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { same, bytes, unwitnessed, skipped, missing_count, .. } = self;
        write!(
            f,
            "{same} versions of {bytes} bytes with the SHA-256 of the running stack, {unwitnessed} others, {skipped} not \
             compared, {missing_count} missing"
        )
    }
}

/// What the running stack says of a version. Its metadata are compared after it was read: as long as they are those of the
/// snapshot, so was what was read.
async fn ask(s3: &S3Client, item: &Item, [live, then]: &[PathBuf; 2], patience: &Patience) -> Witness {
    if item.opens == Opens::Client {
        return Witness::Closed;
    }
    let read = patience.digest(s3, item).await;
    let (live, then) = tokio::join!(tokio::fs::read(live), tokio::fs::read(then));
    let is_unchanged = matches!((live, then), (Ok(live), Ok(then)) if live == then);
    match read {
        Ok(digest) if is_unchanged => Witness::Has(digest),
        Err(why) if is_unchanged => Witness::Unreadable(why.to_string()),
        _ => Witness::Changed,
    }
}

fn name(item: Item) -> Name {
    (item.bucket, item.object, item.version)
}

fn shown((bucket, object, version): &Name) -> String {
    with_version(&format!("{bucket}/{object}"), version.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_changed_is_named() {
        let digest = |bytes, sha256: &str| Digest { bytes, sha256: sha256.into() };
        let name = |object: &str| ("b".to_owned(), object.to_owned(), None);
        let mut comparison = Comparison::default();
        let mut add = |object: &str, witness: Witness, read| comparison.add(&name(object), &witness, 5, read);
        add("same", Witness::Has(digest(5, "a")), Ok(digest(5, "a")));
        add("other", Witness::Has(digest(5, "a")), Ok(digest(5, "b")));
        add("gone", Witness::Has(digest(5, "a")), Err("404".into()));
        add("old", Witness::Changed, Ok(digest(5, "c")));
        add("cut", Witness::Changed, Ok(digest(4, "c")));
        add("closed", Witness::Closed, Err("400".into()));
        let missing =
            ["b/other: came back changed, with 5 bytes", "b/gone: 404", "b/cut: came back changed, with 4 bytes"];
        let missing: Vec<_> = missing.map(str::to_owned).into();
        assert_eq!(comparison, Comparison { same: 1, bytes: 5, unwitnessed: 1, skipped: 1, missing_count: 3, missing });
    }

    #[test]
    fn nothing_is_shown_unless_every_version_was_dealt_with_and_one_compared() {
        let found = |same, skipped, missing_count| Comparison { same, skipped, missing_count, ..Comparison::default() };
        assert!(found(2, 1, 0).shows_all(3));
        for (comparison, witnesses) in
            [(found(0, 0, 0), 0), (found(0, 3, 0), 3), (found(2, 0, 0), 3), (found(2, 0, 1), 3)]
        {
            assert!(!comparison.shows_all(witnesses), "{comparison:?}");
        }
        let mut witnesses = Witnesses::default();
        assert!(witnesses.nothing_to_compare().unwrap().seen.contains("store an object first"));
        let name = ("b".to_owned(), "o".to_owned(), None);
        witnesses.all.insert(name.clone(), Witness::Closed);
        assert!(witnesses.nothing_to_compare().is_some());
        witnesses.all.insert(name, Witness::Changed);
        assert!(witnesses.nothing_to_compare().is_none());
    }
}
