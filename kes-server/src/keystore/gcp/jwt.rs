//! Tokens that the key of a service account signs, which Google takes as they are (docs/keystores-protocol.md §6.2).
//!
//! The signature is aws-lc-rs's. No crate for the three base64 parts around it: the one there is reads PKCS#8 keys only
//! with a decoder of ASN.1, big numbers and dates, which would weigh more than this file.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::json;

use super::source::ServiceAccount;
use crate::config::Secret;
use crate::keystore::KeyStoreError;

/// How long a token is valid: Google takes no longer ones.
pub(super) const LIFE: Duration = Duration::from_secs(3600);

/// A token for these scopes, valid from now on.
///
/// # Errors
/// If the key is not an RSA key.
pub(super) fn sign(account: &ServiceAccount, scopes: &str) -> Result<Secret, KeyStoreError> {
    let refused = |what: &str| {
        let email = &account.client_email;
        KeyStoreError::Other(format!("GCP credentials: {what} '{email}': it must be the PEM of an RSA key (PKCS#8)"))
    };
    let key = match PrivateKeyDer::from_pem_slice(account.private_key.expose().as_bytes()) {
        Ok(PrivateKeyDer::Pkcs8(der)) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok(),
        Ok(PrivateKeyDer::Pkcs1(der)) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok(),
        _ => None,
    };
    let key = key.ok_or_else(|| refused("cannot read the private key of"))?;
    let now = jiff::Timestamp::now().as_second();
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": account.private_key_id });
    let claims = json!({
        "iss": account.client_email, "sub": account.client_email, "scope": scopes, "aud": "",
        "iat": now, "exp": now + i64::try_from(LIFE.as_secs()).unwrap_or(i64::MAX),
    });
    let encode = |part: String| URL_SAFE_NO_PAD.encode(part);
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
        .map_err(|_| refused("cannot sign with the private key of"))?;
    Ok(Secret::new(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))))
}
