//! Certificates and the identity they give (docs/kes-protocol.md §3.1).

use std::slice;

use kes_server::auth::Identity;
use kes_server::fuzzing::{client_identity, names_a_host};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use webpki::EndEntityCert;

/// A certificate of the test data.
const OTHER: &[u8] = include_bytes!("../other.pem");

/// The identity is that of the key with which the handshake is verified; a chain has one only if its first certificate
/// is the only one that is not a CA.
pub fn check(input: &[u8]) {
    let certificate = CertificateDer::from(input);
    let other = CertificateDer::from_pem_slice(OTHER).unwrap();
    let (other_identity, _) = Identity::of_certificate(&other).unwrap();
    names_a_host(&certificate);
    let Ok((identity, is_ca)) = Identity::of_certificate(input) else {
        assert_eq!(client_identity(slice::from_ref(&certificate)), None);
        assert_eq!(client_identity(&[other, certificate]), None);
        return;
    };
    assert!(identity.as_str().len() == 64 && identity.as_str().bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')));
    if let Ok(verified) = EndEntityCert::try_from(&certificate) {
        assert_eq!(Identity::of_public_key(&verified.subject_public_key_info()), identity);
    }
    let known = (!is_ca).then_some(&identity);
    assert_eq!(client_identity(slice::from_ref(&certificate)).as_ref(), known);
    assert_eq!(client_identity(&[certificate.clone(), certificate.clone()]), None);
    assert_eq!(client_identity(&[certificate.clone(), other.clone()]), None);
    assert_eq!(client_identity(&[other, certificate]), is_ca.then_some(other_identity));
}
