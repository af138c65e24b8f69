//! Master keys: they seal what the fs keystore writes (docs/sealed-keys.md §5).
//!
//! A [`MasterKey`] is 32 random bytes that are never used as they are: one HMAC gives the key that seals, another the
//! [`Fingerprint`] that names it. A sealed value is one line of text that says by which master key it was sealed.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{CryptoError, fill, sha256_mac};
use crate::memory::{LockedSecret, SECRET_LEN};

/// Start of every sealed value; the number is the version of the form.
const FORM: &str = "kes-sealed:v1";

/// Start of sealed values of all versions.
const ANY_FORM: &[u8] = b"kes-sealed:";

const SEALING: &[u8] = b"kes-sealed:v1 sealing";
const NAMING: &[u8] = b"kes-sealed:v1 fingerprint";

/// Bytes of a fingerprint.
const FINGERPRINT_LEN: usize = 8;

/// A key that seals other keys.
pub struct MasterKey {
    fingerprint: Fingerprint,
    /// The derived key that seals; the second half is not used.
    sealing: LockedSecret,
}

/// The name of a master key: derived from it, and no secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; FINGERPRINT_LEN]);

/// A text or file that is not a master key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a master key: it must be 32 random bytes, as they are, as 64 hexadecimal digits or in base64")]
pub struct NotAMasterKey;

/// A text that is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint: it has 16 hexadecimal digits")]
pub struct NotAFingerprint;

/// A sealed value that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not of the form of this version.
    #[error("its sealed form is damaged, or one of a later version")]
    Form,
    /// Changed, or sealed under another name.
    #[error("it was changed, or sealed under another name")]
    NotAuthentic,
    /// The library refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// A value in its sealed form, not opened yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedValue {
    /// The master key that sealed it.
    pub fingerprint: Fingerprint,
    /// Nonce, ciphertext, tag.
    body: Vec<u8>,
}

impl MasterKey {
    /// A new one, as the text of its file: 64 hexadecimal digits.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn generate() -> Result<Zeroizing<String>, CryptoError> {
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        fill(bytes.as_mut())?;
        Ok(Zeroizing::new(hex::encode(bytes.as_ref())))
    }

    /// Reads a master key: 32 bytes as they are, or as text in hexadecimal digits (with spaces, as people copy them from
    /// paper) or in base64.
    ///
    /// # Errors
    /// If it is none of these.
    pub fn parse(content: &[u8]) -> Result<Self, NotAMasterKey> {
        let secret = match <&[u8; SECRET_LEN]>::try_from(content) {
            Ok(bytes) => Zeroizing::new(*bytes),
            Err(_) => from_text(content).ok_or(NotAMasterKey)?,
        };
        Self::derive(&secret).map_err(|_| NotAMasterKey)
    }

    fn derive(secret: &[u8; SECRET_LEN]) -> Result<Self, CryptoError> {
        let sealing = Zeroizing::new(sha256_mac(secret, SEALING)?);
        let name = sha256_mac(secret, NAMING)?;
        let fingerprint = Fingerprint(*name.first_chunk().ok_or(CryptoError::Failed)?);
        Ok(Self { fingerprint, sealing: LockedSecret::new(&sealing, &[0; SECRET_LEN]) })
    }

    /// Its name.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Seals a value, bound to the version of the form, this key and the name of the value.
    ///
    /// # Errors
    /// If the library refuses.
    pub fn seal(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let mut nonce = [0; NONCE_LEN];
        fill(&mut nonce)?;
        let mut body = Vec::with_capacity(NONCE_LEN + value.len() + AES_256_GCM.tag_len());
        body.extend_from_slice(value);
        let bound = Aad::from(self.bound(name));
        let tag = self.aead()?.seal_in_place_separate_tag(Nonce::from(&nonce), bound, &mut body);
        body.extend_from_slice(tag.map_err(|_| CryptoError::Failed)?.as_ref());
        body.splice(..0, nonce);
        Ok(format!("{FORM}:{}:{}\n", self.fingerprint, STANDARD.encode(body)).into_bytes())
    }

    /// Opens a value of that name.
    ///
    /// # Errors
    /// If this key did not seal it under this name.
    pub fn open(&self, name: &str, sealed: &SealedValue) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (nonce, body) = sealed.body.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Form)?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let bound = Aad::from(self.bound(name));
        let opened = self.aead()?.open_in_place(Nonce::from(nonce), bound, &mut buffer);
        let length = opened.map_err(|_| SealError::NotAuthentic)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }

    /// What a sealed value is bound to.
    fn bound(&self, name: &str) -> String {
        format!("{FORM}:{}:{name}", self.fingerprint)
    }

    fn aead(&self) -> Result<LessSafeKey, CryptoError> {
        let unbound = UnboundKey::new(&AES_256_GCM, self.sealing.first());
        unbound.map(LessSafeKey::new).map_err(|_| CryptoError::Failed)
    }
}

/// The bytes of a text. Spaces mean nothing, so that a text in groups may be typed as it is read.
fn from_text(content: &[u8]) -> Option<Zeroizing<[u8; SECRET_LEN]>> {
    let mut text = Zeroizing::new(Vec::with_capacity(content.len()));
    text.extend(content.iter().filter(|byte| !byte.is_ascii_whitespace()));
    let mut secret = Zeroizing::new([0; SECRET_LEN]);
    if hex::decode_to_slice(&*text, secret.as_mut()).is_ok() {
        return Some(secret);
    }
    let decoded = Zeroizing::new(STANDARD.decode(&*text).ok()?);
    secret.copy_from_slice(<&[u8; SECRET_LEN]>::try_from(decoded.as_slice()).ok()?);
    Some(secret)
}

impl SealedValue {
    /// True for a value in a sealed form, of whatever version.
    pub fn is_one(stored: &[u8]) -> bool {
        stored.starts_with(ANY_FORM)
    }

    /// Reads the sealed form.
    ///
    /// # Errors
    /// If it is not of this version.
    pub fn parse(stored: &[u8]) -> Result<Self, SealError> {
        let text = std::str::from_utf8(stored).map_err(|_| SealError::Form)?;
        let rest = text.trim_end().strip_prefix(FORM).and_then(|rest| rest.strip_prefix(':'));
        let (fingerprint, body) = rest.and_then(|rest| rest.split_once(':')).ok_or(SealError::Form)?;
        let fingerprint = fingerprint.to_owned().try_into().map_err(|_| SealError::Form)?;
        Ok(Self { fingerprint, body: STANDARD.decode(body).map_err(|_| SealError::Form)? })
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.fingerprint)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = NotAFingerprint;

    fn try_from(text: String) -> Result<Self, NotAFingerprint> {
        let mut bytes = [0; FINGERPRINT_LEN];
        hex::decode_to_slice(&text, &mut bytes).map_err(|_| NotAFingerprint)?;
        Ok(Self(bytes))
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master(byte: u8) -> MasterKey {
        MasterKey::parse(&[byte; SECRET_LEN]).unwrap()
    }

    #[test]
    fn only_this_key_and_this_name_open_it_and_every_changed_bit_is_noticed() {
        let stored = master(1).seal("name", b"value").unwrap();
        assert!(SealedValue::is_one(&stored) && !SealedValue::is_one(b"CiQK"));
        let sealed = SealedValue::parse(&stored).unwrap();
        assert_eq!(sealed.fingerprint, *master(1).fingerprint());
        assert_eq!(master(1).open("name", &sealed).unwrap().as_slice(), b"value");
        assert_eq!(master(1).open("nam", &sealed), Err(SealError::NotAuthentic));
        assert_eq!(master(2).open("name", &sealed), Err(SealError::NotAuthentic));
        for at in 0..stored.len() - 1 {
            let mut changed = stored.clone();
            changed[at] ^= 1;
            let opened = SealedValue::parse(&changed).and_then(|sealed| master(1).open("name", &sealed));
            // the fingerprint only says which key to take
            let is_fingerprint = (FORM.len() + 1..FORM.len() + 17).contains(&at);
            assert!(opened.is_err() || is_fingerprint, "{at}: {changed:?}");
        }
        assert_ne!(master(1).seal("name", b"value").unwrap(), stored, "a nonce of its own");
    }

    #[test]
    fn a_master_key_is_read_in_every_form_and_nothing_else_is_taken_for_one() {
        let known = master(0x61).fingerprint().clone();
        let digits = "61".repeat(32);
        let groups = digits.as_bytes().chunks(8).map(|group| std::str::from_utf8(group).unwrap());
        let groups = groups.collect::<Vec<_>>().join(" ") + "\r\n";
        for text in [digits.as_str(), &groups, &STANDARD.encode([0x61; 32]), &"a".repeat(32)] {
            assert_eq!(*MasterKey::parse(text.as_bytes()).unwrap().fingerprint(), known, "{text}");
        }
        for text in ["", "61", &digits[1..], &format!("{digits}61"), &"a".repeat(31), &"a".repeat(33), "a b"] {
            assert!(MasterKey::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_ne!(MasterKey::generate().unwrap(), MasterKey::generate().unwrap());
        assert_eq!(format!("{:?}", master(0x61)), format!("MasterKey({known})"));
    }

    /// Made by another library, by the recipe of docs/sealed-keys.md §5.
    #[test]
    fn the_form_is_the_one_that_is_documented() {
        let key = MasterKey::parse(&std::array::from_fn::<u8, SECRET_LEN, _>(|at| u8::try_from(at).unwrap())).unwrap();
        let stored = b"kes-sealed:v1:b48573e6afeaa35b:AAECAwQFBgcICQoLMQuEl6vfvuZpMHjKotvz2KSoL63e\n";
        let sealed = SealedValue::parse(stored).unwrap();
        assert_eq!(key.open("name", &sealed).unwrap().as_slice(), b"value");
    }
}
