//! The stored form of a key, the value that every keystore is handed (docs/kes-protocol.md §5.2), and the legacy JSON
//! form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;
use serde::de::{IgnoredAny, MapAccess};
use zeroize::{Zeroize as _, Zeroizing};

use super::{Algorithm, CreatedAt, Key, SECRET_LEN};
use crate::json::{self, Bytes, Fields, Text};

/// Why a stored value is not a key. The text goes to the log; clients only learn that the key cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Neither JSON nor base64.
    #[error("crypto: stored key is not valid base64")]
    Base64,
    /// Not the message or object it should be.
    #[error("crypto: stored key is malformed: {0}")]
    Malformed(&'static str),
    /// A key of another length than 32 bytes.
    #[error("crypto: invalid key length '{0}'")]
    Length(usize),
    /// An algorithm or hash that is not known.
    #[error("crypto: stored key has an unknown algorithm")]
    Algorithm,
}

#[derive(Message)]
struct KeyVersion {
    #[prost(message, tag = "1")]
    key: Option<SecretKey>,
    #[prost(message, tag = "2")]
    hmac_key: Option<HmacKey>,
    #[prost(message, tag = "3")]
    created_at: Option<Time>,
    #[prost(string, tag = "4")]
    created_by: String,
}

#[derive(Message)]
struct SecretKey {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(uint32, tag = "2")]
    kind: u32,
}

#[derive(Message)]
struct HmacKey {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(uint32, tag = "2")]
    hash: u32,
}

/// google.protobuf.Timestamp
#[derive(Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The only HMAC hash there is: SHA-256.
const SHA256: u32 = 1;

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Drop for HmacKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Key {
    /// The stored form: base64 of a protobuf message, one line without newline.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let (seconds, nanos) = self.created_at.parts();
        let message = KeyVersion {
            key: Some(SecretKey { key: self.secrets.first().to_vec(), kind: kind(self.algorithm) }),
            hmac_key: self.has_hmac.then(|| HmacKey { key: self.secrets.second().to_vec(), hash: SHA256 }),
            created_at: Some(Time { seconds, nanos }),
            created_by: self.created_by.clone(),
        };
        let message = Zeroizing::new(message.encode_to_vec());
        Zeroizing::new(STANDARD.encode(message.as_slice()).into_bytes())
    }

    /// Reads either stored form.
    pub fn decode(stored: &[u8]) -> Result<Self, DecodeError> {
        match stored.iter().find(|byte| !b" \t\r\n".contains(byte)) {
            // base64 has no brace
            Some(b'{') => from_json(stored),
            _ => from_protobuf(stored).map_err(|error| match serde_json::from_slice::<IgnoredAny>(stored) {
                Ok(_) => DecodeError::Malformed("not an object"),
                Err(_) => error,
            }),
        }
    }
}

fn kind(algorithm: Algorithm) -> u32 {
    match algorithm {
        Algorithm::Aes256 => 1,
        Algorithm::ChaCha20 => 2,
    }
}

fn from_protobuf(stored: &[u8]) -> Result<Key, DecodeError> {
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(stored.iter().copied().filter(|b| !b"\r\n".contains(b)).collect());
    let bytes = Zeroizing::new(STANDARD.decode(text.as_slice()).map_err(|_| DecodeError::Base64)?);
    let message = KeyVersion::decode(bytes.as_slice()).map_err(|_| DecodeError::Malformed("not a key message"))?;
    let key = message.key.ok_or(DecodeError::Malformed("no key"))?;
    let algorithm = match key.kind {
        1 => Algorithm::Aes256,
        2 => Algorithm::ChaCha20,
        _ => return Err(DecodeError::Algorithm),
    };
    let hmac = message.hmac_key.ok_or(DecodeError::Malformed("no HMAC key"))?;
    if hmac.hash != SHA256 {
        return Err(DecodeError::Algorithm);
    }
    let time = message.created_at.unwrap_or_default();
    let created_at =
        CreatedAt::from_parts(time.seconds, time.nanos).ok_or(DecodeError::Malformed("time out of range"))?;
    Ok(Key::new(algorithm, secret(&key.key)?, Some(secret(&hmac.key)?), created_at, message.created_by))
}

/// Keys of versions before 2023: no HMAC key, never rewritten.
#[derive(Default)]
struct Legacy {
    bytes: Bytes,
    algorithm: Text,
    created_at: Option<Text>,
    created_by: Text,
}

impl Fields for Legacy {
    const NAMES: &'static [&'static str] = &["bytes", "algorithm", "created_at", "created_by"];

    fn take<'de, A: MapAccess<'de>>(&mut self, field: &str, values: &mut A) -> Result<(), A::Error> {
        match field {
            "bytes" => self.bytes.replace(values.next_value()?),
            "algorithm" => self.algorithm.replace(values.next_value()?),
            "created_at" => self.created_at = values.next_value::<Option<Text>>()?.or(self.created_at.take()),
            _ => self.created_by.replace(values.next_value()?),
        }
        Ok(())
    }
}

fn from_json(stored: &[u8]) -> Result<Key, DecodeError> {
    let legacy: Legacy = json::decode_all(stored).map_err(|_| DecodeError::Malformed("not a key object"))?;
    let algorithm = match legacy.algorithm.0.as_str() {
        "" => Algorithm::Aes256,
        name => name.parse().map_err(|_| DecodeError::Algorithm)?,
    };
    let created_at = match legacy.created_at {
        None => CreatedAt::ZERO,
        Some(time) => CreatedAt::parse(&time.0).ok_or(DecodeError::Malformed("not a time"))?,
    };
    Ok(Key::new(algorithm, secret(&legacy.bytes.0)?, None, created_at, legacy.created_by.0))
}

fn secret(bytes: &[u8]) -> Result<&[u8; SECRET_LEN], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Length(bytes.len()))
}
