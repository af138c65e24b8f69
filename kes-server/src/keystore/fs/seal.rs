//! A folder that is sealed, or in clear: what may be served, and the form of each value (docs/sealed-keys.md §4).

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::super::KeyStoreError;
use super::marker::{self, Claim, Lock, Marker, OURS};
use super::master::MasterKeys;
use super::{entry, failure};
use crate::crypto::{Fingerprint, SealedValue};

/// How a folder is served: sealed under these master keys, or in clear.
#[derive(Debug, Clone)]
pub(super) struct Seal(pub(super) Option<Arc<MasterKeys>>);

impl Seal {
    /// Whether the folder may be served so. Returns the marker that it should have and lacks.
    ///
    /// # Errors
    /// If it is sealed under other master keys, or is in clear and should not be, or the reverse; the text says what to do.
    pub(super) fn check(&self, folder: &Path) -> Result<Option<Marker>, KeyStoreError> {
        let shown = folder.display();
        match (Marker::load(folder)?, &self.0) {
            (None, None) => Ok(None),
            (None, Some(keys)) => adopted(folder, keys),
            (Some(Marker { unfinished: Some(change), .. }), _) => {
                let verb = change.verb();
                Err(refused(format!("'{shown}': `kes {verb}` was interrupted: run `kes {verb} {shown}` again")))
            }
            (Some(marker), None) => Err(refused(format!(
                "'{shown}' is sealed under master key {}: add `encryption` to keystore.fs, or open the folder with `kes unseal {shown}`",
                named(&marker.master_keys)
            ))),
            (Some(marker), Some(keys)) => match unknown(&marker, keys) {
                missing if missing.is_empty() => Ok(None),
                missing => Err(refused(format!("'{shown}' is sealed under {}", keys.other_than(missing)))),
            },
        }
    }

    /// Takes the right to change an entry of the folder, unless somebody else has it, and checks that the folder is still
    /// what it was at start.
    pub(super) fn try_lock(&self, folder: &Path) -> Result<Option<Lock>, KeyStoreError> {
        // alone, because it may have to change the marker
        let claim = if self.0.is_some() { Claim::Exclusive } else { Claim::Shared };
        let Some(lock) = marker::try_lock(folder, claim) else { return Ok(None) };
        let Some(keys) = &self.0 else {
            return if marker::place(folder).exists() {
                self.check(folder).map(|_| Some(lock))
            } else {
                Ok(Some(lock))
            };
        };
        let lost = self.check(folder)?;
        let is_lost = lost.is_some();
        let mut marker = lost.or(Marker::load(folder)?).unwrap_or_else(|| Marker::new(Vec::new(), None));
        let current = keys.current().fingerprint();
        let is_new = !marker.master_keys.contains(current);
        if is_new {
            marker.master_keys.push(current.clone());
        }
        // before the first key that is sealed under it
        if is_lost || is_new {
            marker.save(folder).map_err(|error| failure(folder, &marker::place(folder), &error))?;
        }
        Ok(Some(lock))
    }

    /// The form in which a value is stored.
    pub(super) fn close(&self, name: &str, value: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        let Some(keys) = &self.0 else { return Ok(value) };
        let sealed = keys.current().seal(name, &value);
        sealed.map(Zeroizing::new).map_err(|error| KeyStoreError::Other(error.to_string()))
    }

    /// The value of what is stored.
    pub(super) fn open(
        &self,
        folder: &Path,
        name: &str,
        stored: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        let shown = folder.display();
        match (&self.0, SealedValue::is_one(&stored)) {
            (None, false) => Ok(stored),
            (None, true) => Err(refused(format!(
                "key '{name}' is sealed: add `encryption` to keystore.fs, or open the folder with `kes unseal {shown}`"
            ))),
            (Some(_), false) => Err(refused(format!(
                "key '{name}' is in clear among sealed ones: if it is a key of yours, run `kes seal {shown}`"
            ))),
            (Some(keys), true) => {
                let sealed = SealedValue::parse(&stored);
                let sealed = sealed.map_err(|error| refused(format!("key '{name}' cannot be opened: {error}")))?;
                keys.open(name, &sealed).map_err(refused)
            }
        }
    }
}

/// The marker for a folder that has none: a new one, or one whose marker was lost when the keys were copied.
fn adopted(folder: &Path, keys: &MasterKeys) -> Result<Option<Marker>, KeyStoreError> {
    let shown = folder.display();
    // To serve the keys of a folder, one need not list it.
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(None) };
    let mut found: BTreeSet<Fingerprint> = [keys.current().fingerprint().clone()].into();
    for entry in entries.flatten() {
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(OURS.as_bytes());
        let Ok(stored) = entry::read(&entry.path()) else { continue };
        if is_ours {
            continue;
        }
        if !SealedValue::is_one(&stored) {
            return Err(refused(format!(
                "'{shown}' holds keys in clear: run `kes seal {shown}`, or remove `encryption` from keystore.fs"
            )));
        }
        let sealed = SealedValue::parse(&stored);
        found.extend(sealed.map(|sealed| sealed.fingerprint));
    }
    let marker = Marker::new(found.into_iter().collect(), None);
    let missing = unknown(&marker, keys);
    if missing.is_empty() {
        return Ok(Some(marker));
    }
    Err(refused(format!("'{shown}' is sealed under {}", keys.other_than(missing))))
}

/// The master keys of a marker that are not here.
fn unknown<'a>(marker: &'a Marker, keys: &MasterKeys) -> Vec<&'a Fingerprint> {
    marker.master_keys.iter().filter(|fingerprint| keys.find(fingerprint).is_none()).collect()
}

fn named(fingerprints: &[Fingerprint]) -> String {
    fingerprints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

pub(super) fn refused(text: String) -> KeyStoreError {
    KeyStoreError::Other(["fs: ".to_owned(), text].concat())
}
