//! A client of a MinIO that this process started, on the loopback.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::{REGION, S3Client, S3Error, signer};

impl S3Client {
    /// A client of `endpoint`, which must be on the loopback: its certificate, if it has one, is for the names that clients
    /// of the network use, so it is not checked. `region` is the one that MinIO is configured with.
    ///
    /// # Errors
    /// [`S3Error::Invalid`] if the endpoint is not a URL.
    pub fn on_loopback(endpoint: &str, user: &str, password: &str, region: Option<&str>) -> Result<Self, S3Error> {
        let tls = any_certificate()
            .map_err(|error| S3Error::Invalid { call: endpoint.to_owned(), cause: error.to_string() })?;
        let client = Self::over(tls, endpoint, user, password)?;
        Ok(Self { signer: Arc::new(signer(user, password, region.unwrap_or(REGION))), ..client })
    }
}

/// What takes every certificate. Only for a server that this process started itself, or whose user said so.
pub(in crate::servers) fn any_certificate() -> Result<ClientConfig, Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let any = Arc::new(AnyCertificate(provider));
    Ok(tls.dangerous().with_custom_certificate_verifier(any).with_no_client_auth())
}

/// Takes every certificate. Only for a server that this process started itself.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
