//! The question whether the keys that data was written under are there, and the refusal.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::Verdict;
use super::ask::{Answer, Opener};
use super::record::{KeyRecord, Proof};
use crate::data::drive::{self, Inventory, KeyUse};
use crate::error::Error;
use crate::host::blocking::detached;
use crate::manifest::Manifest;

/// The data of a stack, and where its keys should be.
#[derive(Debug, Clone)]
pub struct Guarded {
    stack: String,
    drive: PathBuf,
    record: PathBuf,
    keystore: String,
    /// The folder of an fs keystore.
    folder: Option<PathBuf>,
    /// What brings the stack up once the keys are back, and what gives its data up.
    next: [&'static str; 2],
}

/// What is wrong with a key that data needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Missing,
    Replaced,
}

impl Guarded {
    /// Data on that drive with that record, for the keystore of a manifest; an fs keystore is in `folder`.
    pub(crate) fn at(manifest: &Manifest, drive: PathBuf, record: PathBuf, folder: PathBuf) -> Self {
        Self {
            stack: manifest.name.to_string(),
            drive,
            record,
            keystore: manifest.keystore_name(),
            folder: manifest.keystore_is_fs().then_some(folder),
            next: ["run `kestack up`", "`kestack down --data` deletes it"],
        }
    }

    /// The same of a stack that `kestack serve` runs.
    pub(crate) fn in_foreground(self) -> Self {
        Self { next: ["start it again", "give it up by starting on an empty drive"], ..self }
    }

    /// The record of its keys.
    pub(crate) fn record(&self) -> &Path {
        &self.record
    }

    /// True if there is data.
    pub fn has_data(&self) -> bool {
        drive::holds_data(&self.drive)
    }

    /// Asks for the keys of all data: each drive of several has its own. Of the further ones only a refusal counts: one that
    /// cannot be read is what several drives are for, as long as another one of MinIO's can.
    ///
    /// # Errors
    /// As [`Guarded::check`].
    pub async fn check_all(all: &[Self], opener: &dyn Opener) -> Result<Verdict, Error> {
        let (mut verdict, mut unread, mut is_judged) = (Verdict::Good, None, false);
        for (number, guarded) in all.iter().enumerate().filter(|(_, guarded)| guarded.has_data()) {
            match guarded.check(opener).await {
                Err(error) if number > 0 && !matches!(error, Error::Guard(_)) => {
                    tracing::warn!(
                        "the drive '{}' does not show which keys it needs: {error}",
                        guarded.drive.display()
                    );
                    verdict = Verdict::Unknown;
                    unread = unread.or(Some(error));
                }
                found => {
                    if found? == Verdict::Unknown {
                        verdict = Verdict::Unknown;
                    }
                    is_judged |= drive::is_formatted(&guarded.drive);
                }
            }
        }
        match unread {
            // the first drive is a new one, and nothing else says which keys the data needs
            Some(error) if !is_judged => Err(error),
            _ => Ok(verdict),
        }
    }

    /// Asks `opener` to open everything that proves the keys of the data.
    ///
    /// # Errors
    /// [`Error::Guard`] if a key that protects something is gone or has other material.
    pub async fn check(&self, opener: &dyn Opener) -> Result<Verdict, Error> {
        let mut verdict = Verdict::Good;
        let mut wrong: Vec<(String, Wrong)> = Vec::new();
        let own = self.clone();
        let proofs = detached(move || own.proofs()).await.map_err(Error::file("read", &self.drive))??;
        for proof in proofs {
            let found = match opener.open(&proof.key, &proof.ciphertext, &proof.context).await {
                Answer::Opened(plaintext) if proof.is_of(&plaintext) => continue,
                Answer::Opened(_) | Answer::NotAuthentic => Wrong::Replaced,
                Answer::Missing => Wrong::Missing,
                Answer::Unknown(why) => {
                    tracing::debug!(key = proof.key, why, "cannot be asked for");
                    verdict = Verdict::Unknown;
                    continue;
                }
            };
            if !wrong.iter().any(|(key, _)| *key == proof.key) {
                wrong.push((proof.key, found));
            }
        }
        if wrong.is_empty() {
            return Ok(verdict);
        }
        let own = self.clone();
        detached(move || own.refuse(wrong)).await.map_err(Error::file("read", &self.drive))??;
        Ok(verdict)
    }

    /// The record's proofs; for keys without any, those of MinIO's own files, and of its objects if there is no record.
    fn proofs(&self) -> Result<Vec<Proof>, Error> {
        let unreadable = |error| Error::file("read", &self.drive)(error);
        let record = KeyRecord::load(&self.record)?;
        let mut sealed = drive::configuration(&self.drive).map_err(unreadable)?;
        if record.is_none() {
            sealed.extend(drive::samples(&self.drive).map_err(unreadable)?);
        }
        let record = record.unwrap_or_default();
        let mut proofs: Vec<Proof> =
            sealed.into_iter().filter(|sealed| !record.knows(&sealed.key)).map(Proof::from).collect();
        proofs.extend(record.proofs());
        Ok(proofs)
    }

    /// A key that protects nothing may go; the others may not.
    fn refuse(&self, wrong: Vec<(String, Wrong)>) -> Result<(), Error> {
        let inventory = drive::take(&self.drive).map_err(Error::file("read", &self.drive))?;
        let (needed, unused): (Vec<_>, Vec<_>) = wrong.into_iter().partition(|(key, _)| is_needed(&inventory, key));
        for (key, wrong) in unused {
            tracing::debug!(key, ?wrong, "nothing is encrypted under it");
        }
        if needed.is_empty() { Ok(()) } else { Err(Error::Guard(self.described(&inventory, &needed)?)) }
    }

    fn described(&self, inventory: &Inventory, wrong: &[(String, Wrong)]) -> Result<String, Error> {
        let mut text =
            format!("stack '{}' was not changed: its keystore does not hold the keys of its data", self.stack);
        for (key, wrong) in wrong {
            let state = match wrong {
                Wrong::Missing => "is gone",
                Wrong::Replaced => "is not the key that encrypted the data",
            };
            let used = inventory.keys.get(key).map_or_else(|| "what is on the drive".into(), ToString::to_string);
            let _ = write!(text, "\n  key '{key}' {state}; it protects {used} in '{}'", self.drive.display());
        }
        let former = KeyRecord::load(&self.record)?.map(|record| record.keystore);
        if let Some(former) = former.filter(|former| *former != self.keystore) {
            let _ = write!(
                text,
                "\n  the data was written with keystore '{former}'; now it is '{}': name that one again, or",
                self.keystore
            );
        }
        let names: Vec<_> = wrong.iter().map(|(key, _)| format!("'{key}'")).collect();
        let _ = write!(text, "\n  {}", self.way_back(&names.join(", ")));
        Ok(text)
    }

    fn way_back(&self, keys: &str) -> String {
        let [again, give_up] = self.next;
        let back = match &self.folder {
            Some(folder) => format!("restore the files {keys} from a backup into '{}'", folder.display()),
            None => format!("restore {keys} in {} from an earlier version or a backup", self.keystore),
        };
        format!("{back}, then {again}; without these keys nobody can read the data; {give_up}")
    }
}

/// A file on the drive that kestack does not understand may need any key.
fn is_needed(inventory: &Inventory, key: &str) -> bool {
    inventory.not_understood > 0 || inventory.keys.get(key).is_some_and(KeyUse::protects)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A keystore without keys.
    struct Empty;

    #[async_trait::async_trait]
    impl Opener for Empty {
        async fn open(&self, _: &str, _: &[u8], _: &[u8]) -> Answer {
            Answer::Missing
        }
    }

    /// Three drives that MinIO has taken.
    fn drives(folder: &Path) -> Vec<Guarded> {
        let all = ["a", "b", "c"].map(|name| folder.join(name));
        for drive in &all {
            std::fs::create_dir_all(drive.join(".minio.sys")).unwrap();
            std::fs::write(drive.join(".minio.sys/format.json"), "{}").unwrap();
        }
        let guarded = |drive: PathBuf| {
            let record = drive.join("record");
            Guarded::at(&Manifest::default(), drive, record, folder.join("keys"))
        };
        all.map(guarded).to_vec()
    }

    #[tokio::test]
    async fn a_further_drive_that_cannot_be_read_refuses_nothing_and_one_that_needs_a_key_does() {
        let folder = tempfile::tempdir().unwrap();
        let all = drives(folder.path());
        assert_eq!(Guarded::check_all(&all, &Empty).await.unwrap(), Verdict::Good);
        std::fs::create_dir(&all[1].record).unwrap();
        assert_eq!(Guarded::check_all(&all, &Empty).await.unwrap(), Verdict::Unknown);
        let record = r#"{ "version": 1, "keystore": "", "keys": { "docs": {
            "ciphertext": "AAAA", "sha256": "", "since": "2026-01-01T00:00:00Z" } } }"#;
        std::fs::write(&all[2].record, record).unwrap();
        std::fs::create_dir_all(all[2].drive.join("docs/object")).unwrap();
        std::fs::write(all[2].drive.join("docs/object/xl.meta"), "of a later MinIO").unwrap();
        let error = Guarded::check_all(&all, &Empty).await.unwrap_err();
        assert!(error.exit_code() == 7 && error.to_string().contains("key 'docs' is gone"), "{error}");
    }

    #[tokio::test]
    async fn a_first_drive_that_is_new_or_unreadable_vouches_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let all = drives(folder.path());
        std::fs::create_dir(&all[1].record).unwrap();
        std::fs::remove_dir_all(all[0].drive.join(".minio.sys")).unwrap();
        std::fs::create_dir(all[0].drive.join(".kestack")).unwrap();
        assert_eq!(Guarded::check_all(&all, &Empty).await.unwrap(), Verdict::Unknown, "the third one is read");
        let error = Guarded::check_all(&all[..2], &Empty).await.unwrap_err();
        assert!(error.exit_code() == 1 && error.to_string().contains("record"), "{error}");
        std::fs::create_dir(&all[0].record).unwrap();
        assert_eq!(Guarded::check_all(&all, &Empty).await.unwrap_err().exit_code(), 1);
    }
}
