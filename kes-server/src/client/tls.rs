//! The client's identity, and the servers that it trusts.

use std::sync::Arc;

use rustls::{
    ClientConfig,
    client::danger::ServerCertVerifier,
    crypto::{CryptoProvider, aws_lc_rs},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::error::ClientError;
use crate::{crypto::private_key, outbound::Roots};

/// What the client proves its identity with.
pub struct Credentials {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Credentials {
    /// A certificate chain, leaf first, and the key of the leaf (PKCS#8, PKCS#1 or SEC1), both as PEM text.
    ///
    /// # Errors
    /// If one of the texts holds no such thing.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, ClientError> {
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ClientError::Credentials(error.to_string()))?;
        if chain.is_empty() {
            return Err(ClientError::Credentials("the file holds no PEM certificate".into()));
        }
        let unusable = || ClientError::Credentials("its private key: the file holds none, or an encrypted one".into());
        let key = private_key::from_pem(key).ok_or_else(unusable)?;
        Ok(Self { chain, key })
    }

    /// A certificate chain, leaf first, and the key of the leaf.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self { chain, key }
    }
}

/// How the server's certificate is checked.
#[derive(Debug, Clone)]
pub enum Trust {
    /// By the system's roots, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    System,
    /// By these certificates (PEM) alone: CAs, or the server's own certificate.
    Pem(Vec<u8>),
    /// By these certificates (PEM), and as [`Self::System`].
    Also(Vec<u8>),
    /// Not at all.
    Insecure,
}

pub(super) fn client_config(credentials: Credentials, trust: &Trust) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = match trust {
        Trust::System => roots(&system_roots()?, &provider)?,
        Trust::Pem(text) => roots(&pem_roots(text)?, &provider)?,
        // without those of the system there are these
        Trust::Also(text) => {
            let system = rustls_native_certs::load_native_certs().certs;
            roots(&[pem_roots(text)?, system].concat(), &provider)?
        }
        Trust::Insecure => Roots::unchecked(&provider),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Trust(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(roots))
        .with_client_auth_cert(credentials.chain, credentials.key)
        .map_err(|error| ClientError::Credentials(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What takes every certificate, of anybody whose key belongs to it.
pub fn any_certificate() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Roots::unchecked(&Arc::new(aws_lc_rs::default_provider())))
}

fn roots(certificates: &[CertificateDer<'static>], provider: &Arc<CryptoProvider>) -> Result<Roots, ClientError> {
    match Roots::new(certificates, provider) {
        Ok(roots) if !roots.is_empty() => Ok(roots),
        Ok(_) => Err(ClientError::Trust("no usable CA certificates".into())),
        Err(error) => Err(ClientError::Trust(format!("no usable CA certificates: {error}"))),
    }
}

fn system_roots() -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let found = rustls_native_certs::load_native_certs();
    match (found.certs.is_empty(), found.errors.first()) {
        (false, _) => Ok(found.certs),
        (true, Some(error)) => Err(ClientError::Trust(format!("no trusted certificates: {error}"))),
        (true, None) => Err(ClientError::Trust("this system has no trusted certificates".into())),
    }
}

fn pem_roots(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ClientError::Trust(format!("cannot read the CA certificates: {error}")))
}
