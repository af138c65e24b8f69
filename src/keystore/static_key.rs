//! The key of a MinIO without KES, as `MINIO_KMS_SECRET_KEY` gives it: `<name>:<base64 of 32 bytes>`
//! (docs/minio-kms-client.md §1.1). What it seals has the form that KES gives a key of AES-256, and the reverse.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kes_server::auth::KeyName;
use kes_server::crypto::{Algorithm, CryptoError, Key};
use zeroize::Zeroizing;

/// Bytes of the secret.
const LENGTH: usize = 32;

/// A name and a secret.
#[derive(Clone)]
pub(crate) struct StaticKey {
    name: KeyName,
    secret: Zeroizing<[u8; LENGTH]>,
}

impl StaticKey {
    /// The same key as KES has it.
    ///
    /// # Errors
    /// Why MinIO cannot use it: what it seals with a static key on processors with AES has another form.
    pub(crate) fn of(name: KeyName, key: &Key) -> Result<Self, String> {
        match key.algorithm() {
            Algorithm::Aes256 => Ok(Self { name, secret: key.secret() }),
            other @ Algorithm::ChaCha20 => {
                Err(format!("it is a key of {other}, and MinIO's static key is one of {}", Algorithm::Aes256))
            }
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &KeyName {
        &self.name
    }

    /// The value of the variable.
    pub(crate) fn value(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}:{}", self.name, *Zeroizing::new(STANDARD.encode(*self.secret))))
    }

    /// The key for a keystore, by KES's own import.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub(crate) fn import(&self, algorithm: Algorithm) -> Result<Key, CryptoError> {
        Key::import(algorithm, self.secret.as_ref(), "")
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticKey").field("name", &self.name).finish_non_exhaustive()
    }
}

impl FromStr for StaticKey {
    type Err = &'static str;

    /// Never shows a part of the text: it may be the secret.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, secret) = text.split_once(':').ok_or("it has no colon between name and secret")?;
        let name = name.parse().map_err(|_| "its name is not one that KES takes")?;
        let bytes = Zeroizing::new(STANDARD.decode(secret).map_err(|_| "its secret is not base64")?);
        let secret = bytes.as_slice().try_into().map_err(|_| "its secret does not have 32 bytes")?;
        Ok(Self { name, secret: Zeroizing::new(secret) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_there_and_back() {
        let value = format!("my-key:{}", STANDARD.encode([7; 32]));
        let key: StaticKey = value.parse().unwrap();
        assert_eq!((key.name().as_str(), key.value().as_str()), ("my-key", value.as_str()));
        let imported = key.import(Algorithm::Aes256).unwrap();
        let sealed = imported.encrypt(b"data key", b"context").unwrap();
        let back = StaticKey::of("other".parse().unwrap(), &imported).unwrap().import(Algorithm::Aes256).unwrap();
        assert_eq!(back.decrypt(&sealed, b"context").unwrap().as_slice(), b"data key");
        assert!(!format!("{key:?}").contains("BwcH"), "no secret is shown");
        let chacha = key.import(Algorithm::ChaCha20).unwrap();
        assert!(StaticKey::of("other".parse().unwrap(), &chacha).unwrap_err().contains("ChaCha20"));
    }

    #[test]
    fn whatever_is_wrong_is_said_without_the_secret() {
        let short = STANDARD.encode([7; 31]);
        for (text, why) in [
            ("c2VjcmV0".to_owned(), "no colon"),
            (format!("-:{short}"), "name"),
            ("key:c2VjcmV0!".to_owned(), "base64"),
            (format!("key:{short}"), "32 bytes"),
        ] {
            let said = text.parse::<StaticKey>().unwrap_err();
            assert!(said.contains(why) && !said.contains("c2VjcmV0"), "{said}");
        }
    }
}
