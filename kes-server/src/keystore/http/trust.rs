//! Whose certificates a keystore may show, and which one is shown to it (docs/keystores-protocol.md §12).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::KeyStoreError;
use crate::crypto::private_key;
use crate::outbound::Roots;

/// Which CAs are trusted. A path is a PEM file or a folder of them.
#[derive(Debug, Clone, Default)]
pub(in crate::keystore) enum Trust {
    /// Those of the system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    #[default]
    System,
    /// These alone.
    Only(PathBuf),
    /// Those of the system and these.
    Also(PathBuf),
    /// None: for plain HTTP alone.
    Nobody,
}

impl Trust {
    /// `Only` these if there are any.
    pub(in crate::keystore) fn only(ca: Option<&PathBuf>) -> Self {
        ca.map_or(Self::System, |path| Self::Only(path.clone()))
    }

    /// The system's and these if there are any.
    pub(in crate::keystore) fn also(ca: Option<&PathBuf>) -> Self {
        ca.map_or(Self::System, |path| Self::Also(path.clone()))
    }
}

pub(super) fn client_config(trust: &Trust, client: Option<&(PathBuf, PathBuf)>) -> Result<ClientConfig, KeyStoreError> {
    let refused = |error: String| KeyStoreError::Other(format!("cannot set up TLS: {error}"));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Roots::new(&roots(trust)?, &provider).map_err(refused)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(roots));
    let Some((key, certificate)) = client else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let text = fs::read(key).map(Zeroizing::new).map_err(|error| unreadable(key, &error))?;
    let private = private_key::from_pem(&text);
    let private = private.ok_or_else(|| unreadable(key, &"the file holds no private key, or an encrypted one"))?;
    builder.with_client_auth_cert(chain, private).map_err(|error| unreadable(certificate, &error))
}

/// The trusted certificates. A machine without any can still speak plain HTTP to an emulator; TLS then fails with a
/// text of its own.
fn roots(trust: &Trust) -> Result<Vec<CertificateDer<'static>>, KeyStoreError> {
    let mut roots = match trust {
        Trust::System | Trust::Also(_) => rustls_native_certs::load_native_certs().certs,
        Trust::Only(_) | Trust::Nobody => Vec::new(),
    };
    if let Trust::Only(path) | Trust::Also(path) = trust {
        for certificate in certificates_below(path)? {
            // one that is not a certificate must not pass unnoticed
            RootCertStore::empty().add(certificate.clone()).map_err(|error| unreadable(path, &error))?;
            roots.push(certificate);
        }
    }
    Ok(roots)
}

fn certificates_below(path: &Path) -> Result<Vec<CertificateDer<'static>>, KeyStoreError> {
    if !path.is_dir() {
        return certificates(path);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let file = entry.map_err(|error| unreadable(path, &error))?.path();
        if file.is_file() {
            found.extend(certificates(&file)?);
        }
    }
    if found.is_empty() { Err(unreadable(path, &"the folder holds no certificate")) } else { Ok(found) }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, KeyStoreError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found.map_err(|error| unreadable(path, &error))? {
        found if found.is_empty() => Err(unreadable(path, &"the file holds no PEM certificate")),
        found => Ok(found),
    }
}

fn unreadable(path: &Path, why: &dyn std::fmt::Display) -> KeyStoreError {
    KeyStoreError::Other(format!("cannot use '{}' for the keystore's TLS: {why}", path.display()))
}
