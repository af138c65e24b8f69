//! The certificate of a keystore that speaks TLS.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

/// A certificate that is its own CA, as a file too.
#[derive(Debug)]
pub struct Certificate {
    der: CertificateDer<'static>,
    key: KeyPair,
    folder: TempDir,
}

impl Certificate {
    pub fn new() -> Self {
        let names = ["127.0.0.1", "localhost"].map(String::from);
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), cert.pem()).unwrap();
        Self { der: cert.der().clone(), key: signing_key, folder }
    }

    /// The PEM file; its folder holds nothing else.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth();
        let config = config.with_single_cert(vec![self.der.clone()], key.into()).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
