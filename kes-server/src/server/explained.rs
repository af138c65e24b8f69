//! Refusals of client certificates that say which certificate is meant, and what must be another way. The verifier
//! takes neither X.509 v1 nor short RSA keys, which MinIO KES does, and its own words are only for those who know it.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::{
    prelude::{FromDer as _, X509Certificate, X509Version},
    public_key::PublicKey,
};

use super::verify;
use crate::auth::Identity;

/// Least length of an RSA key in bits.
const RSA: usize = 2048;

/// A verifier that refuses what `verifier` refuses, and says why.
pub(super) fn explained(verifier: Arc<dyn ClientCertVerifier>) -> Arc<dyn ClientCertVerifier> {
    Arc::new(Explained(verifier))
}

#[derive(Debug)]
struct Explained(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Explained {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        verify::bounded(end_entity, intermediates)?;
        self.0.verify_client_cert(end_entity, intermediates, now).map_err(|error| explain(end_entity, error))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signature).map_err(|error| explain(certificate, error))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signature).map_err(|error| explain(certificate, error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The reason, if the certificate itself is it.
fn explain(certificate: &CertificateDer<'_>, error: Error) -> Error {
    flaw(certificate).map_or(error, refused)
}

/// The refusal of a certificate, in words of ours.
pub(super) fn refused(why: String) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refusal(why)))))
}

struct Refusal(String);

/// What is wrong with which certificate.
fn flaw(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let why = match parsed.public_key().parsed() {
        _ if parsed.version() != X509Version::V3 => {
            let version = parsed.version().0 + 1;
            format!("it is X.509 v{version}, not v3: issue it with extensions ('openssl x509 -req -extfile')")
        }
        Ok(PublicKey::RSA(key)) if key.key_size() < RSA => {
            format!("its RSA key has {} bits, not {RSA} or more: issue one for another key", key.key_size())
        }
        _ => return None,
    };
    let identity = Identity::of_certificate(certificate).map(|(identity, _)| identity.to_string());
    let (subject, identity) = (parsed.subject(), identity.unwrap_or_default());
    Some(format!("the certificate of '{subject}' with identity {identity} is refused: {why}"))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As for people: the library shows the errors of others so.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Refusal {}
