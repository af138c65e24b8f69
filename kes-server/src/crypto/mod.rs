//! Keys and what they do: no I/O, no knowledge of keystores or HTTP.
//!
//! A [`Key`] is what a keystore holds under a name: a 32-byte secret, an HMAC key, when and by whom it was made.
//! Stored forms are in `stored`, ciphertext forms in `ciphertext`, the memory that holds secrets in `memory`. A
//! [`MasterKey`] seals what a folder of keys holds.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::{hmac, rand};
use zeroize::Zeroizing;

mod ciphertext;
mod created_at;
pub mod encrypted_pem;
mod master;
pub(crate) mod private_key;
mod stored;

#[doc(hidden)]
pub use ciphertext::legacy_ciphertext;
pub use created_at::CreatedAt;
pub use master::{Fingerprint, MasterKey, NotAFingerprint, NotAMasterKey, SealError, SealedValue};
pub use stored::DecodeError;

use crate::memory::{LockedSecret, SECRET_LEN};

/// The algorithm of a key (docs/kes-protocol.md §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// AES-256-GCM under a key derived with HMAC-SHA-256.
    Aes256,
    /// ChaCha20-Poly1305 under a key derived with HChaCha20.
    ChaCha20,
}

/// Why an operation with a key failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// Not the ciphertext of this key and context, or damaged.
    #[error("decryption failed: ciphertext is not authentic")]
    NotAuthentic,
    /// A key of the legacy form has no HMAC key.
    #[error("key does not support HMAC")]
    NoHmacKey,
    /// A secret that is not 32 bytes long.
    #[error("crypto: invalid key length '{0}'")]
    SecretLength(usize),
    /// The library refused: no randomness, or a plaintext beyond what the algorithm can take.
    #[error("crypto: operation failed")]
    Failed,
}

/// A stored key.
pub struct Key {
    algorithm: Algorithm,
    /// The secret, followed by the HMAC key.
    secrets: LockedSecret,
    has_hmac: bool,
    created_at: CreatedAt,
    created_by: String,
}

/// A data encryption key (DEK): the plaintext to use and forget, the ciphertext to keep.
pub struct Dek {
    /// 32 random bytes.
    pub plaintext: Zeroizing<[u8; SECRET_LEN]>,
    /// The plaintext, encrypted under the key that made it.
    pub ciphertext: Vec<u8>,
}

impl Key {
    /// Makes a key of random bytes.
    pub fn generate(algorithm: Algorithm, created_by: &str) -> Result<Self, CryptoError> {
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        fill(secret.as_mut())?;
        Self::import(algorithm, secret.as_ref(), created_by)
    }

    /// Makes a key of the given secret and a random HMAC key: importing a secret twice gives two different HMACs.
    pub fn import(algorithm: Algorithm, secret: &[u8], created_by: &str) -> Result<Self, CryptoError> {
        let secret: &[u8; SECRET_LEN] = secret.try_into().map_err(|_| CryptoError::SecretLength(secret.len()))?;
        let mut hmac_key = Zeroizing::new([0; SECRET_LEN]);
        fill(hmac_key.as_mut())?;
        Ok(Self::new(algorithm, secret, Some(&hmac_key), CreatedAt::now(), created_by.to_owned()))
    }

    fn new(
        algorithm: Algorithm,
        secret: &[u8; SECRET_LEN],
        hmac_key: Option<&[u8; SECRET_LEN]>,
        created_at: CreatedAt,
        created_by: String,
    ) -> Self {
        let secrets = LockedSecret::new(secret, hmac_key.unwrap_or(&[0; SECRET_LEN]));
        Self { algorithm, secrets, has_hmac: hmac_key.is_some(), created_at, created_by }
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The secret itself, for whoever takes the key away from KES.
    pub fn secret(&self) -> Zeroizing<[u8; SECRET_LEN]> {
        Zeroizing::new(*self.secrets.first())
    }

    /// When it was made.
    pub fn created_at(&self) -> &CreatedAt {
        &self.created_at
    }

    /// Identity of who made it, empty if unknown.
    pub fn created_by(&self) -> &str {
        &self.created_by
    }

    /// Makes a data key and encrypts it, bound to `context`.
    pub fn generate_dek(&self, context: &[u8]) -> Result<Dek, CryptoError> {
        let mut plaintext = Zeroizing::new([0; SECRET_LEN]);
        fill(plaintext.as_mut())?;
        let ciphertext = self.encrypt(plaintext.as_ref(), context)?;
        Ok(Dek { plaintext, ciphertext })
    }

    /// HMAC-SHA-256 of a message (docs/kes-protocol.md §5.5).
    pub fn hmac(&self, message: &[u8]) -> Result<[u8; 32], CryptoError> {
        if !self.has_hmac {
            return Err(CryptoError::NoHmacKey);
        }
        sha256_mac(self.secrets.second(), message)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("created_at", &self.created_at)
            .field("created_by", &self.created_by)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek(..)")
    }
}

impl Algorithm {
    /// The algorithm of new keys on this machine: AES where the CPU accelerates AES-GCM (docs/kes-protocol.md §5.1).
    pub fn preferred() -> Self {
        #[cfg(target_arch = "x86_64")]
        let accelerated = std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
        #[cfg(target_arch = "aarch64")]
        let accelerated = std::arch::is_aarch64_feature_detected!("aes");
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let accelerated = cfg!(any(target_arch = "powerpc64", target_arch = "s390x"));
        if accelerated { Self::Aes256 } else { Self::ChaCha20 }
    }

    /// `AES256` or `ChaCha20`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::ChaCha20 => "ChaCha20",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is none of the accepted spellings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("crypto: invalid algorithm")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Both the short names and those of older versions, case-sensitive (docs/kes-protocol.md §1.5).
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            "AES256" | "AES256-GCM_SHA256" => Ok(Self::Aes256),
            "ChaCha20" | "XCHACHA20-POLY1305" => Ok(Self::ChaCha20),
            _ => Err(UnknownAlgorithm),
        }
    }
}

fn fill(bytes: &mut [u8]) -> Result<(), CryptoError> {
    rand::fill(bytes).map_err(|_| CryptoError::Failed)
}

fn sha256_mac(key: &[u8], message: &[u8]) -> Result<[u8; 32], CryptoError> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, message).as_ref().try_into().map_err(|_| CryptoError::Failed)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn keys_show_what_they_are_but_not_their_secret() {
        let key = Key::import(Algorithm::ChaCha20, &[0xab; SECRET_LEN], "an identity").unwrap();
        let shown = format!("{key:?}");
        assert!(shown.starts_with("Key { algorithm: ChaCha20, created_at: "), "{shown}");
        assert!(shown.ends_with(r#"created_by: "an identity", .. }"#), "{shown}");
        assert!(!shown.contains("171") && !shown.contains("ab, ab"), "{shown}");
        assert_eq!(format!("{:?}", key.generate_dek(b"").unwrap()), "Dek(..)");
        assert_eq!(Algorithm::ChaCha20.to_string(), "ChaCha20");
        assert_eq!(Algorithm::Aes256.to_string(), "AES256");
    }
}
