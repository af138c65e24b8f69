//! The server's side of TLS (docs/kes-protocol.md §2).

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, VerifierBuilderError, danger::ClientCertVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{
    key_pair::{self, KeyPairError},
    trust::{Issuers, Terms},
    verify,
};
use crate::config::{Config, TlsConfig};

/// What a configuration says of TLS: all that is needed to read its files again.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) files: TlsConfig,
    /// Whether clients must show a certificate.
    is_mandatory: bool,
}

impl Settings {
    pub(super) fn of(config: &Config) -> Self {
        // A route that needs no authentication makes certificates optional for all of them: TLS does not know routes.
        let is_mandatory = !config.api.values().any(|api| api.skip_auth);
        Self { files: config.tls.clone(), is_mandatory }
    }
}

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

/// The terms of these settings, from the files that they name.
pub(super) fn terms(settings: Settings) -> Result<Terms, TlsError> {
    let (files, is_mandatory) = (&settings.files, settings.is_mandatory);
    let provider = Arc::new(aws_lc_rs::default_provider());
    let (chain, key) = key_pair(files)?;
    let end = chain.first().and_then(key_pair::last_second);
    let authorities = match &files.ca {
        Some(path) => key_pair::authorities(path).map_err(TlsError::Authority)?,
        None => Vec::new(),
    };
    if !files.verify_clients {
        let verifier = verify::any_certificate(&provider, is_mandatory);
        let handshake = Arc::new(handshake(provider, verifier, chain, key)?);
        return Ok(Terms { handshake, issuers: None, end, settings: Some(settings) });
    }
    let issuers = issuers(&provider, authorities, files.ca.is_some(), is_mandatory)?;
    let mut tls = handshake(provider, Arc::clone(&issuers.verifier), chain, key)?;
    // who resumes is taken without a look at the certificate, which may have ended
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    Ok(Terms { handshake: Arc::new(tls), issuers: Some(issuers), end, settings: Some(settings) })
}

/// What handshakes need.
pub(super) fn handshake(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(TlsError::Pair)?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // as MinIO KES's library: who resumes at all needs one
    tls.send_tls13_tickets = 1;
    Ok(tls)
}

fn key_pair(tls: &TlsConfig) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = key_pair::certificates(&tls.cert).map_err(TlsError::KeyPair)?;
    let password = tls.password.as_deref().map(String::as_str);
    let key = key_pair::private_key(&tls.key, password).map_err(TlsError::KeyPair)?;
    if chain.first().is_some_and(key_pair::names_a_host) { Ok((chain, key)) } else { Err(TlsError::NoHost) }
}

/// The system's CAs and those of the configuration.
fn issuers(
    provider: &Arc<CryptoProvider>,
    authorities: Vec<CertificateDer<'static>>,
    names_issuers: bool,
    is_mandatory: bool,
) -> Result<Issuers, VerifierBuilderError> {
    let end = key_pair::last_seconds(&authorities).min();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(authorities);
    let roots = Arc::new(roots);
    let verifier = verify::issued_certificate(Arc::clone(provider), Arc::clone(&roots), names_issuers, is_mandatory)?;
    Ok(Issuers { roots, verifier, end })
}

/// In MinIO KES's words where it has some.
fn pair_reason(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "tls: private key does not match public key".into(),
        rustls::Error::General(_) => "tls: failed to parse private key".into(),
        error => error.to_string(),
    }
}
