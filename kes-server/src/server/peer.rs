//! The client of a connection, by the certificates that it presented (docs/kes-protocol.md §3.1).

use rustls_pki_types::CertificateDer;

use crate::{api::CertificateError, auth::Identity};

/// The identity of a client. Certificates that are marked as CA are not counted; exactly one must be left.
///
/// It must be the first of the chain: only that one's key has signed the handshake. MinIO KES would take any, and
/// with it the word of a client that shows somebody else's certificate behind a CA certificate of its own.
pub(crate) fn identify(chain: &[CertificateDer<'_>]) -> Result<Identity, CertificateError> {
    let mut client = None;
    for (position, certificate) in chain.iter().enumerate() {
        let (identity, is_ca) = Identity::of_certificate(certificate).map_err(|_| CertificateError::Missing)?;
        match (is_ca, position, &client) {
            (true, ..) => {}
            (false, 0, _) => client = Some(identity),
            (false, _, Some(_)) => return Err(CertificateError::Several),
            (false, _, None) => return Err(CertificateError::Authority),
        }
    }
    client.ok_or(if chain.is_empty() { CertificateError::Missing } else { CertificateError::Authority })
}
