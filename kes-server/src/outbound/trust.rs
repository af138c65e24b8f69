//! Whose certificate a server may show, and what is wrong with the one that it shows.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, DigitallySignedStruct, Error, InvalidMessage, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// How the text of an alert from the other side begins, as in Go.
pub(crate) const TLS_ALERT: &str = "remote error: tls: ";

/// The usual verification, and Go's addition to it: a server certificate that is itself among the roots is trusted
/// without a chain. `openssl req -x509` makes such certificates and marks them as those of a CA.
#[derive(Debug)]
pub(crate) struct Roots {
    /// SHA-256 of each root.
    trusted: Vec<[u8; 32]>,
    chains: Chains,
    provider: Arc<CryptoProvider>,
}

/// Which chains are trusted.
#[derive(Debug)]
enum Chains {
    /// Those that lead to a root.
    Verified(Arc<WebPkiServerVerifier>),
    /// None: there are no roots.
    Refused,
    /// All, also without a root.
    Unchecked,
}

impl Roots {
    /// Trusts these certificates. One that is not a certificate counts for nothing.
    ///
    /// # Errors
    /// If the verification cannot be set up.
    pub(crate) fn new(certificates: &[CertificateDer<'_>], provider: &Arc<CryptoProvider>) -> Result<Self, String> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.iter().map(|root| root.clone().into_owned()));
        let chains = if store.is_empty() {
            Chains::Refused
        } else {
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
            Chains::Verified(builder.build().map_err(|error| error.to_string())?)
        };
        let trusted = certificates.iter().filter_map(|root| fingerprint(root)).collect();
        Ok(Self { trusted, chains, provider: provider.clone() })
    }

    /// Trusts any certificate, of anybody; the server must only hold its key.
    pub(crate) fn unchecked(provider: &Arc<CryptoProvider>) -> Self {
        Self { trusted: Vec::new(), chains: Chains::Unchecked, provider: provider.clone() }
    }

    /// True if no certificate is trusted.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.chains, Chains::Refused)
    }
}

fn fingerprint(certificate: &[u8]) -> Option<[u8; 32]> {
    digest(&SHA256, certificate).as_ref().try_into().ok()
}

impl ServerCertVerifier for Roots {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if fingerprint(leaf).is_some_and(|leaf| self.trusted.contains(&leaf)) {
            return verify_root(leaf, name, now);
        }
        match &self.chains {
            Chains::Verified(chains) => chains.verify_server_cert(leaf, intermediates, name, ocsp, now),
            Chains::Refused => Err(CertificateError::UnknownIssuer.into()),
            Chains::Unchecked => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, leaf, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, leaf, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Time and name of a certificate that is trusted as it is.
fn verify_root(leaf: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<ServerCertVerified, Error> {
    use CertificateError::{BadEncoding, Expired, NotValidYet};

    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).map_err(|_| Error::from(BadEncoding))?;
    let validity = parsed.validity();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < validity.not_before.timestamp() {
        return Err(NotValidYet.into());
    }
    if now > validity.not_after.timestamp() {
        return Err(Expired.into());
    }
    rustls::client::verify_server_name(&rustls::server::ParsedCertificate::try_from(leaf)?, name)?;
    Ok(ServerCertVerified::assertion())
}

/// Why there is no TLS with `host`, in words. `remedy` follows where the certificate is not trusted.
pub(crate) fn tls_error(error: &Error, host: &str, remedy: &str) -> String {
    use CertificateError as Reason;

    let reason = match error {
        Error::InvalidCertificate(reason) => reason,
        Error::AlertReceived(alert) => return format!("{TLS_ALERT}{alert:?}"),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            return format!("tls: {host} does not speak TLS: check scheme and port");
        }
        other => return format!("tls: {other}"),
    };
    let text = match reason {
        Reason::Expired | Reason::ExpiredContext { .. } => "certificate has expired: renew it".to_owned(),
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
            "certificate is not yet valid: compare the clocks".to_owned()
        }
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
            format!("certificate is not valid for {host}: use a name or address that it lists")
        }
        Reason::BadEncoding => "certificate cannot be read".to_owned(),
        // whatever else is wrong with a chain, it does not lead to a certificate that is trusted
        _ => format!("certificate signed by unknown authority: {remedy}"),
    };
    format!("tls: failed to verify certificate: x509: {text}")
}
