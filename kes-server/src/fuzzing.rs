//! What the fuzz targets under `fuzz/` and the tests that replay their corpora call, beyond what is public anyway:
//! the readers of what strangers send. Not an interface: it may change at any time.

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use crate::api::fuzzing::{RequestTarget, request_body, request_target, route};
pub use crate::config::fuzzing::{duration, duration_text};
pub use crate::crypto::legacy_ciphertext;

use crate::{
    auth::Identity,
    server::{key_pair, peer},
};

/// The certificates of `tls.cert` or of a CA file, or why the file is refused.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    key_pair::parse_certificates(text).map_err(|error| error.to_string())
}

/// The private key of `tls.key`, or why the file is refused.
pub fn private_key(text: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, String> {
    key_pair::parse_private_key(text, password).map_err(|error| error.to_string())
}

/// True if a server could show this certificate: it names a host.
pub fn names_a_host(certificate: &CertificateDer<'_>) -> bool {
    key_pair::names_a_host(certificate)
}

/// The identity that a client with these certificates has, leaf first; `None` if it has none.
pub fn client_identity(chain: &[CertificateDer<'_>]) -> Option<Identity> {
    peer::identify(chain).ok()
}
