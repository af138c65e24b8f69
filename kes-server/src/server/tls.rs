//! The server's side of TLS (kes-api §2).

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{VerifierBuilderError, danger::ClientCertVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{
    key_pair::{self, KeyPairError},
    verify,
};
use crate::config::{Config, TlsConfig};

/// Why the server cannot speak TLS with what the configuration names.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Certificate or private key.
    #[error("failed to read TLS certificate: {0}")]
    KeyPair(KeyPairError),
    /// They do not go together, or TLS takes neither.
    #[error("failed to read TLS certificate: {}", pair_reason(.0))]
    Pair(rustls::Error),
    /// No client would accept the certificate.
    #[error("invalid TLS certificate: certificate does not contain any DNS or IP address as SAN")]
    NoHost,
    /// CA certificates.
    #[error("failed to read TLS CA certificates: {0}")]
    Authority(KeyPairError),
    /// Client certificates cannot be verified.
    #[error("failed to read TLS CA certificates: {0}")]
    Verifier(#[from] VerifierBuilderError),
    /// The library does not do what it is asked.
    #[error("cannot set up TLS: {0}")]
    Library(#[from] rustls::Error),
}

/// What handshakes need, from the files that a configuration names.
pub(super) fn server_config(config: &Config) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (chain, key) = key_pair(&config.tls)?;
    let verifier = client_verifier(config, &provider)?;
    with_key_pair(provider, verifier, chain, key)
}

/// What handshakes need, from a certificate and a key that are at hand.
pub(super) fn with_key_pair(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(TlsError::Pair)?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // as the original's library: who resumes at all needs one
    tls.send_tls13_tickets = 1;
    Ok(Arc::new(tls))
}

fn key_pair(tls: &TlsConfig) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = key_pair::certificates(&tls.cert).map_err(TlsError::KeyPair)?;
    let password = tls.password.as_deref().map(String::as_str);
    let key = key_pair::private_key(&tls.key, password).map_err(TlsError::KeyPair)?;
    if chain.first().is_some_and(key_pair::names_a_host) { Ok((chain, key)) } else { Err(TlsError::NoHost) }
}

/// A route that needs no authentication makes certificates optional for all of them: TLS does not know routes.
fn client_verifier(config: &Config, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let is_mandatory = !config.api.values().any(|api| api.skip_auth);
    let authorities = match &config.tls.ca {
        Some(path) => key_pair::authorities(path).map_err(TlsError::Authority)?,
        None => Vec::new(),
    };
    if !config.tls.verify_clients {
        return Ok(verify::any_certificate(provider, is_mandatory));
    }
    let names_issuers = config.tls.ca.is_some();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(authorities);
    Ok(verify::issued_certificate(Arc::clone(provider), roots, names_issuers, is_mandatory)?)
}

/// In the original's words where it has some.
fn pair_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "tls: private key does not match public key".into(),
        rustls::Error::General(_) => "tls: failed to parse private key".into(),
        error => error.to_string(),
    }
}
