//! What is remembered of each key next to the data: something that only its material can open, and nothing of it.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use kes_server::client::{Client, ClientError};
use serde::{Deserialize, Serialize};

use crate::data::drive::Sealed;
use crate::error::Error;
use crate::host::digest::sha256;
use crate::host::disk::{self, Outlasts};

/// What the data keys of the record are bound to: they open nothing else.
const CONTEXT: &[u8] = b"kestack key guard";

/// Version of the file's form.
const VERSION: u32 = 1;

/// The file next to the data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    version: u32,
    /// The keystore of the time when the data was written, in words for people.
    pub keystore: String,
    keys: BTreeMap<String, Fingerprint>,
}

/// A random data key that KES made and sealed, and that nobody uses: the sealed form and the digest of its 32 random
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Fingerprint {
    #[serde(with = "base64_text")]
    ciphertext: Vec<u8>,
    sha256: String,
    since: Timestamp,
}

/// Something that the right key opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) key: String,
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) context: Vec<u8>,
    /// SHA-256 of what is inside, where it is known.
    pub(crate) digest: Option<String>,
}

impl KeyRecord {
    /// A record without keys.
    pub(crate) fn of(keystore: String) -> Self {
        Self { keystore, ..Self::default() }
    }

    /// Reads the file; `None` if it is not there or not complete.
    ///
    /// # Errors
    /// If it is there and cannot be read, or a later kestack wrote it.
    pub fn load(path: &Path) -> Result<Option<Self>, Error> {
        let Some(bytes) = disk::read(path)? else { return Ok(None) };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(record) if record.version > VERSION => Err(Error::Environment {
                what: format!("'{}' was written by a newer kestack", path.display()),
                hint: "use that one".into(),
            }),
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                tracing::warn!("'{}' is damaged ({error}); kestack reads the drive instead", path.display());
                Ok(None)
            }
        }
    }

    /// Writes the file completely or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&mut self, path: &Path) -> Result<(), Error> {
        self.version = VERSION;
        let content = serde_json::to_vec_pretty(self).map_err(|error| Error::file("write", path)(error.into()))?;
        disk::replace(path, &content, Outlasts::Machine).map_err(Error::file("write", path))
    }

    /// Removes the file, and with it what was remembered.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn forget(path: &Path) -> Result<(), Error> {
        Ok(disk::remove(path)?)
    }

    /// True if that key is remembered.
    pub fn knows(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// Names of the keys that are remembered.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Remembers a key, as KES has it now.
    ///
    /// # Errors
    /// Those of KES.
    pub async fn add(&mut self, key: &str, kes: &Client) -> Result<(), ClientError> {
        let made = kes.generate_key(key, CONTEXT).await?;
        let sha256 = sha256(&made.plaintext);
        let fingerprint = Fingerprint { ciphertext: made.ciphertext, sha256, since: Timestamp::now() };
        self.keys.insert(key.to_owned(), fingerprint);
        Ok(())
    }

    /// Forgets a key; one that is not known is forgotten already.
    pub fn drop_key(&mut self, key: &str) {
        self.keys.remove(key);
    }

    pub(crate) fn proofs(self) -> Vec<Proof> {
        let proof = |(key, found): (String, Fingerprint)| Proof {
            key,
            ciphertext: found.ciphertext,
            context: CONTEXT.to_vec(),
            digest: Some(found.sha256),
        };
        self.keys.into_iter().map(proof).collect()
    }
}

impl Proof {
    /// True if that is what was inside, as far as it is known.
    pub(super) fn is_of(&self, plaintext: &[u8]) -> bool {
        self.digest.as_ref().is_none_or(|digest| *digest == sha256(plaintext))
    }
}

impl From<Sealed> for Proof {
    fn from(sealed: Sealed) -> Self {
        Self { key: sealed.key, ciphertext: sealed.ciphertext, context: sealed.context, digest: None }
    }
}

mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use kes_server::crypto::{Algorithm, Key};

    use super::*;

    fn record(key: &Key) -> KeyRecord {
        let dek = key.generate_dek(CONTEXT).unwrap();
        let sha256 = sha256(&*dek.plaintext);
        let fingerprint = Fingerprint { ciphertext: dek.ciphertext, sha256, since: Timestamp::now() };
        KeyRecord { keys: [("docs".to_owned(), fingerprint)].into(), ..KeyRecord::of("somewhere".into()) }
    }

    #[test]
    fn a_record_survives_its_file_and_only_the_key_opens_its_proof() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard.json");
        assert_eq!(KeyRecord::load(&path).unwrap(), None);
        let key = Key::generate(Algorithm::Aes256, "").unwrap();
        let mut record = record(&key);
        record.save(&path).unwrap();
        let read = KeyRecord::load(&path).unwrap().unwrap();
        assert_eq!(read, record);
        for proof in read.proofs() {
            assert!(proof.is_of(&key.decrypt(&proof.ciphertext, &proof.context).unwrap()));
            assert!(!proof.is_of(&[7; 32]));
            let other = Key::generate(Algorithm::Aes256, "").unwrap();
            assert!(other.decrypt(&proof.ciphertext, &proof.context).is_err());
        }
    }

    #[test]
    fn half_a_file_is_none_and_a_later_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard.json");
        std::fs::write(&path, "{ \"version\": 1, \"keys").unwrap();
        assert_eq!(KeyRecord::load(&path).unwrap(), None);
        std::fs::write(&path, r#"{ "version": 2, "keystore": "", "keys": {} }"#).unwrap();
        assert_eq!(KeyRecord::load(&path).unwrap_err().exit_code(), 6);
        KeyRecord::forget(&path).unwrap();
        KeyRecord::forget(&path).unwrap();
    }
}
