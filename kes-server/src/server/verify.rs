//! The requirements for client certificates (docs/kes-protocol.md §2): normally that there is one and that the client
//! holds its key. Who issued it, until when it is valid and what it is for does not matter: the key is the identity.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use webpki::RawPublicKeyEntity;

use super::{
    explained::{explained, refused},
    key_pair,
};

/// A verifier that takes any certificate of which the client holds the key.
pub(super) fn any_certificate(provider: &CryptoProvider, mandatory: bool) -> Arc<dyn ClientCertVerifier> {
    Arc::new(AnyCertificate { algorithms: provider.signature_verification_algorithms, mandatory })
}

/// A verifier that takes certificates that one of `roots` vouches for.
pub(super) fn issued_certificate(
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    names_issuers: bool,
    mandatory: bool,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
    if !names_issuers {
        verifier = verifier.clear_root_hint_subjects();
    }
    if !mandatory {
        verifier = verifier.allow_unauthenticated();
    }
    verifier.build().map(explained)
}

/// Most certificates that a client may show behind its own, and most bytes of all of them: they are kept as long as its
/// connection.
const CHAIN: (usize, usize) = (10, 16 << 10);

/// Refuses a chain that takes too much memory.
pub(super) fn bounded(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Result<(), Error> {
    let bytes = intermediates.iter().fold(end_entity.len(), |sum, certificate| sum + certificate.len());
    if intermediates.len() <= CHAIN.0 && bytes <= CHAIN.1 {
        return Ok(());
    }
    let (most, kib) = (CHAIN.0, CHAIN.1 >> 10);
    Err(refused(format!(
        "the client shows more than {most} certificates of CAs, or more than {kib} KiB of certificates"
    )))
}

#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
    mandatory: bool,
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        bounded(end_entity, intermediates).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = public_key(certificate)?;
        let key = RawPublicKeyEntity::try_from(&spki).map_err(|_| bad_encoding())?;
        let mut algorithms = self.algorithms.mapping.iter().filter(|(scheme, _)| *scheme == signature.scheme);
        let (_, algorithms) = algorithms.next().ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // The scheme of TLS 1.2 does not say the curve: one of the algorithms fits the key.
        let is_valid =
            algorithms.iter().any(|algorithm| key.verify_signature(*algorithm, message, signature.signature()).is_ok());
        if is_valid { Ok(HandshakeSignatureValid::assertion()) } else { Err(bad_signature()) }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &public_key(certificate)?, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn public_key(certificate: &CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'static>, Error> {
    key_pair::public_key(certificate).ok_or_else(bad_encoding)
}

fn bad_encoding() -> Error {
    Error::InvalidCertificate(rustls::CertificateError::BadEncoding)
}

fn bad_signature() -> Error {
    Error::InvalidCertificate(rustls::CertificateError::BadSignature)
}
