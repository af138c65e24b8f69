//! Certificates and private keys from files, with the rules and texts of docs/kes-protocol.md §2.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use pem::Pem;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};
use zeroize::Zeroizing;

use super::reason;
use crate::crypto::{
    encrypted_pem::{self, EncryptedPemError},
    private_key,
};

/// A file that cannot be read, or has the wrong things in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyPairError {
    /// The file system refused.
    #[error("{operation} {}: {}", path.display(), reason(source))]
    File {
        /// `open` or `stat`.
        operation: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No PEM, or PEM of a kind that does not belong there.
    #[error("https: {0}")]
    Pem(&'static str),
    /// An encrypted key that cannot be decrypted.
    #[error(transparent)]
    Decryption(#[from] EncryptedPemError),
    /// A block that holds something else than a private key.
    #[error("{0}")]
    Content(&'static str),
}

/// A certificate chain, leaf first. All blocks of the file must be certificates.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, KeyPairError> {
    parse_certificates(&read(path)?)
}

/// The certificates of a file with this content.
pub(crate) fn parse_certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, KeyPairError> {
    let blocks = blocks(text)?;
    if blocks.is_empty() {
        return Err(KeyPairError::Pem("no valid PEM data"));
    }
    if blocks.iter().any(|block| block.tag() != "CERTIFICATE") {
        return Err(KeyPairError::Pem("unsupported PEM data block"));
    }
    Ok(blocks.into_iter().map(|block| CertificateDer::from(block.into_contents())).collect())
}

/// The first private key of a file, which may hold certificates too.
pub(super) fn private_key(path: &Path, password: Option<&str>) -> Result<PrivateKeyDer<'static>, KeyPairError> {
    parse_private_key(&read(path)?, password)
}

/// The private key of a file with this content.
pub(crate) fn parse_private_key(text: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, KeyPairError> {
    let blocks = blocks(text)?;
    if blocks.is_empty() {
        return Err(KeyPairError::Pem("no valid PEM data"));
    }
    let key = private_key::find(&blocks).ok_or(KeyPairError::Pem("no PEM-encoded private key found"))?;
    let content = if encrypted_pem::is_encrypted(key) {
        let password = password.ok_or(KeyPairError::Pem("private key is encrypted: password required"))?;
        encrypted_pem::decrypt(key, password)?
    } else {
        Zeroizing::new(key.contents().to_vec())
    };
    private_key::from_der(content.to_vec()).ok_or(KeyPairError::Content("tls: failed to parse private key"))
}

/// Certificates of a file, or of all files of a folder.
pub(super) fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, KeyPairError> {
    let refused = |operation, path: &Path, source| KeyPairError::File { operation, path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(|source| refused("stat", path, source))?;
    if !metadata.is_dir() {
        return certificates(path);
    }
    let mut all = Vec::new();
    for entry in fs::read_dir(path).map_err(|source| refused("open", path, source))? {
        let file = entry.map_err(|source| refused("open", path, source))?.path();
        if file.is_file() {
            all.extend(certificates(&file)?);
        }
    }
    Ok(all)
}

/// Whether a certificate names a host: without that no client would accept it.
pub(crate) fn names_a_host(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let is_host = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_));
    matches!(certificate.subject_alternative_name(), Ok(Some(names)) if names.value.general_names.iter().any(is_host))
}

/// The public key of a certificate.
pub(super) fn public_key(certificate: &CertificateDer<'_>) -> Option<SubjectPublicKeyInfoDer<'static>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(SubjectPublicKeyInfoDer::from(certificate.public_key().raw.to_vec()))
}

/// The last second in which a certificate is valid, since 1970. `None` if it cannot be read, or ended before that.
pub(super) fn last_second(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok().map(Duration::from_secs)
}

/// The same of each of them that can be read.
pub(super) fn last_seconds(certificates: &[CertificateDer<'_>]) -> impl Iterator<Item = Duration> {
    certificates.iter().filter_map(last_second)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyPairError> {
    let refused = |source| KeyPairError::File { operation: "open", path: path.to_owned(), source };
    fs::read(path).map(Zeroizing::new).map_err(refused)
}

fn blocks(text: &[u8]) -> Result<Vec<Pem>, KeyPairError> {
    pem::parse_many(text).map_err(|_| KeyPairError::Pem("no valid PEM data"))
}
