//! Digests of wanted states, for labels and comparisons (design.md D3, D4).

use aws_lc_rs::hmac;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Lowercase hex SHA-256 of a value's JSON form. Struct fields and map keys come in a fixed order, so equal
/// values have equal digests.
pub fn of(value: &impl Serialize) -> String {
    // A value that cannot be written as JSON has no maps with non-string keys here; the empty form then differs
    // from every real one and leads to a replacement, never to a wrong `keep`.
    let json = serde_json::to_vec(value).unwrap_or_default();
    hex::encode(Sha256::digest(json))
}

/// Key under which secret parts of a state enter its digest: labels are readable by everybody who may ask the
/// engine, so a plain hash of a password must not stand in one.
#[derive(Clone)]
pub struct SecretKey(hmac::Key);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

impl SecretKey {
    /// Takes the stack's random bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Hex HMAC-SHA256 of a secret.
    pub fn tag(&self, secret: &[u8]) -> String {
        hex::encode(hmac::sign(&self.0, secret))
    }
}
