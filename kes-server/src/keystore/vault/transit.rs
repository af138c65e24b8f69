//! Encryption of entries by Vault's transit engine (docs/keystores-protocol.md §4.4, §14: 2).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::super::KeyStoreError;
use super::Vault;
use crate::config::{Secret, Transit};

impl Vault {
    /// The value as it is stored: encrypted where a transit key is configured.
    pub(super) async fn encrypt(&self, value: &str) -> Result<Secret, KeyStoreError> {
        #[derive(Deserialize)]
        struct Encrypted {
            data: Ciphertext,
        }
        #[derive(Deserialize)]
        struct Ciphertext {
            ciphertext: Secret,
        }

        let Some(Transit { engine, key }) = &self.transit else { return Ok(Secret::new(value)) };
        let path = format!("{engine}/encrypt/{key}");
        let body = json!({ "plaintext": BASE64_STANDARD.encode(value) });
        let answer = self.call(Method::POST, &path, &[], Some(&body)).await?;
        if answer.status != StatusCode::OK {
            return Err(super::refused(&answer, "update", &path));
        }
        let Encrypted { data: Ciphertext { ciphertext } } = answer.json()?;
        if is_ciphertext(ciphertext.expose()) {
            Ok(ciphertext)
        } else {
            Err(answer.unexpected("the ciphertext does not start with 'vault:v' and a version"))
        }
    }

    /// The value of a stored text. One that is not encrypted was written before transit was configured.
    pub(super) async fn decrypt(&self, stored: &Secret) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        #[derive(Deserialize)]
        struct Decrypted {
            data: Plaintext,
        }
        #[derive(Deserialize)]
        struct Plaintext {
            plaintext: Secret,
        }

        if !is_ciphertext(stored.expose()) {
            return Ok(Zeroizing::new(stored.expose().as_bytes().to_vec()));
        }
        let Some(Transit { engine, key }) = &self.transit else {
            let text = "vault: the entry is encrypted by a transit engine; configure keystore.vault.transit";
            return Err(KeyStoreError::Other(text.into()));
        };
        let path = format!("{engine}/decrypt/{key}");
        let body = json!({ "ciphertext": stored.expose() });
        let answer = self.call(Method::POST, &path, &[], Some(&body)).await?;
        if answer.status != StatusCode::OK {
            return Err(super::refused(&answer, "update", &path));
        }
        let Decrypted { data: Plaintext { plaintext } } = answer.json()?;
        let value = BASE64_STANDARD.decode(plaintext.expose());
        value.map(Zeroizing::new).map_err(|_| answer.unexpected("the plaintext is not base64"))
    }
}

/// `vault:v<N>:…`, of whichever version the key had.
fn is_ciphertext(text: &str) -> bool {
    let version = text.strip_prefix("vault:v").and_then(|rest| rest.split_once(':'));
    version.is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ciphertexts_of_any_key_version_are_known() {
        assert!(is_ciphertext("vault:v1:abc") && is_ciphertext("vault:v12:"));
        for other in ["", "vault:", "vault:v:", "vault:vx:abc", "vault:v1", "CiQKIAAB"] {
            assert!(!is_ciphertext(other), "{other}");
        }
    }
}
