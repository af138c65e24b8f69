//! The certificate of a keystore that speaks TLS.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
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
    /// For `127.0.0.1` and `localhost`.
    pub fn new() -> Self {
        Self::of(&["127.0.0.1", "localhost"], IsCa::NoCa)
    }

    /// As `openssl req -x509` makes it: marked as that of a CA.
    pub fn authority(names: &[&str]) -> Self {
        Self::of(names, IsCa::Ca(BasicConstraints::Unconstrained))
    }

    fn of(names: &[&str], is_ca: IsCa) -> Self {
        let mut params = CertificateParams::new(names.iter().copied().map(String::from).collect::<Vec<_>>()).unwrap();
        params.is_ca = is_ca;
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { der: certificate.der().clone(), key, folder }
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
