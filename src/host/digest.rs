//! Digests: of wanted states, for labels and comparisons (docs/architecture.md §3.3, §3.4), and of written files.

use std::io::{self, Read, Write};

use aws_lc_rs::digest::{Context, SHA256, digest};
use aws_lc_rs::hmac;
use serde::Serialize;

/// Lowercase hex SHA-256 of a value's JSON form. Struct fields and map keys come in a fixed order, so equal
/// values have equal digests.
pub fn of(value: &impl Serialize) -> String {
    // A value that cannot be written as JSON has no maps with non-string keys here; the empty form then differs
    // from every real one and leads to a replacement, never to a wrong `keep`.
    let json = serde_json::to_vec(value).unwrap_or_default();
    sha256(&json)
}

/// Lowercase hex SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

/// Key under which secret parts of a state enter its digest: labels are readable by everybody who may ask the
/// engine, so a plain hash of a password must not be in one.
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

/// Copies all of `from`; says how many bytes that were, and their SHA-256.
pub(crate) fn copy(mut from: impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let mut hashed = Hashed::new(to);
    let size = io::copy(&mut from, &mut hashed)?;
    Ok((size, hashed.finish().1))
}

/// It digests everything that is written through it.
pub(crate) struct Hashed<W> {
    inner: W,
    context: Context,
}

impl<W> Hashed<W> {
    /// Nothing was written yet.
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, context: Context::new(&SHA256) }
    }

    /// Where it was written to, and the SHA-256 in hex.
    pub(crate) fn finish(self) -> (W, String) {
        (self.inner, hex::encode(self.context.finish()))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.context.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
