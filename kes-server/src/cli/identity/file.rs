//! Reads the identity or key of an API key, a certificate file or a private key file.

use std::path::Path;

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::super::{CliError, output::printable, session};
use crate::{
    auth::{ApiKey, Identity},
    crypto::private_key,
};

const PREFIX: &str = "kes:v1:";

/// The identity of an API key (with its prefix) or of a certificate file.
pub(super) fn identity(subject: &str) -> Result<String, CliError> {
    if subject.starts_with(PREFIX) {
        return Ok(parse(subject)?.identity().to_string());
    }
    match (session::read(Path::new(subject)), parse(subject)) {
        // The text of other files that are missing would show the secret.
        (Err(_), Ok(_)) => Err(CliError::message(format!("an API key must begin with '{PREFIX}' here"))),
        (Err(error), Err(_)) => Err(error),
        (Ok(content), _) => of_certificate(&content, subject),
    }
}

/// The identity of an API key or certificate; the API key of a private key.
pub(super) fn counterpart(subject: &str) -> Result<String, CliError> {
    if subject.starts_with(PREFIX) {
        return identity(subject);
    }
    match (session::read(Path::new(subject)), parse(subject)) {
        (Err(_), Ok(api_key)) => Ok(api_key.identity().to_string()),
        (Err(error), Err(_)) => Err(error),
        (Ok(content), _) => {
            let content = Zeroizing::new(content);
            match private_key::from_pem(&content) {
                Some(key) => Ok(api_key(&key, subject)?.reveal().to_string()),
                None => of_certificate(&content, subject),
            }
        }
    }
}

fn parse(text: &str) -> Result<ApiKey, CliError> {
    text.parse().map_err(CliError::plain)
}

fn of_certificate(content: &[u8], file: &str) -> Result<String, CliError> {
    let invalid = |cause: &dyn std::fmt::Display| {
        CliError::message(format!("'{file}' is not a certificate: {}", printable(&cause.to_string())))
    };
    let certificate = CertificateDer::from_pem_slice(content).map_err(|error| {
        if private_key::from_pem(content).is_some() {
            invalid(&format!("it is a private key; 'kes identity {file}' shows its API key"))
        } else {
            invalid(&error)
        }
    })?;
    Ok(Identity::of_certificate(&certificate).map_err(|error| invalid(&error))?.0.to_string())
}

/// An Ed25519 key in PKCS#8 is the seed of an API key (RFC 8410 §7; docs/kes-protocol.md §3.2). Newer encodings append
/// the public key.
fn api_key(key: &PrivateKeyDer<'_>, file: &str) -> Result<ApiKey, CliError> {
    const SEED: usize = 32;
    const OID_AND_SEED: [u8; 11] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

    let unsuitable = || CliError::message(format!("'{file}' is not an Ed25519 private key: only those are API keys"));
    let PrivateKeyDer::Pkcs8(key) = key else { return Err(unsuitable()) };
    let der = key.secret_pkcs8_der();
    let start = der.windows(OID_AND_SEED.len()).position(|window| window == OID_AND_SEED).ok_or_else(unsuitable)?;
    let seed = der.get(start + OID_AND_SEED.len()..).and_then(|rest| rest.first_chunk::<SEED>());
    ApiKey::from_seed(Zeroizing::new(*seed.ok_or_else(unsuitable)?)).map_err(CliError::plain)
}

/// Whether a file holds the certificate of a CA.
pub(super) fn is_authority(file: &str) -> bool {
    let content = session::read(Path::new(file)).unwrap_or_default();
    let certificate = CertificateDer::from_pem_slice(&content).ok();
    certificate.and_then(|certificate| Identity::of_certificate(&certificate).ok()).is_some_and(|(_, is_ca)| is_ca)
}
