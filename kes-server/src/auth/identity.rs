//! The identity of a client: the hash of its public key (docs/kes-protocol.md §3.1).

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;
use x509_parser::asn1_rs::Header;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// SHA-256 of a certificate's SubjectPublicKeyInfo in lowercase hex; in a configuration, any text that is compared
/// with one. Reissuing a certificate for the same key keeps the identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Identity(String);

/// A certificate that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("x509: cannot parse the certificate: {0}")]
pub struct CertificateError(String);

impl Identity {
    /// A configured identity, compared as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The identity of a public key, given as DER of its SubjectPublicKeyInfo.
    pub fn of_public_key(spki: &[u8]) -> Self {
        Self(hex::encode(digest(&SHA256, spki)))
    }

    /// The identity of a certificate (DER), and whether the certificate is marked as a CA: those are not clients.
    pub fn of_certificate(der: &[u8]) -> Result<(Self, bool), CertificateError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| CertificateError(error.to_string()))?;
        let spki = certificate.public_key().raw;
        if !is_whole(spki) {
            return Err(CertificateError("its public key does not fill its field".into()));
        }
        Ok((Self::of_public_key(spki), certificate.is_ca()))
    }

    /// The identity as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if no client was identified.
    pub fn is_unknown(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether these bytes are one element to its end. The parser stops behind the last part that it knows; what is hashed
/// must be what the handshake is verified with.
fn is_whole(element: &[u8]) -> bool {
    Header::from_der(element).is_ok_and(|(content, header)| header.length().definite() == Ok(content.len()))
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
