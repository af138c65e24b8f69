//! The transit engine. Its ciphertext is the plaintext with the name and version of the key around it.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::super::Reply;
use super::{data, nothing, refused};

/// Keys and their latest versions.
#[derive(Debug, Default)]
pub struct Transit(BTreeMap<String, u32>);

impl Transit {
    pub fn with(key: &str) -> Self {
        Self(BTreeMap::from([(key.to_owned(), 1)]))
    }

    pub fn rotate(&mut self, key: &str) {
        *self.0.get_mut(key).unwrap() += 1;
    }

    pub fn answer(&mut self, path: &str, body: &Value) -> Reply {
        let segments: Vec<_> = path.split('/').collect();
        match segments.as_slice() {
            ["keys", key] => {
                let version = *self.0.entry((*key).to_owned()).or_insert(1);
                data(&json!({ "name": key, "latest_version": version, "type": "aes256-gcm96" }))
            }
            ["keys", key, "rotate"] if self.0.contains_key(*key) => {
                self.rotate(key);
                Reply::status(204)
            }
            ["encrypt", key] => self.encrypt(key, body),
            ["decrypt", key] => self.decrypt(key, body),
            _ => nothing(),
        }
    }

    fn encrypt(&self, key: &str, body: &Value) -> Reply {
        let plaintext = body["plaintext"].as_str().unwrap_or_default();
        match (self.0.get(key), BASE64_STANDARD.decode(plaintext)) {
            (None, _) => refused(400, "encryption key not found"),
            (_, Err(_)) => refused(400, "failed to base64-decode plaintext"),
            (Some(version), Ok(_)) => {
                let sealed = BASE64_STANDARD.encode(json!([key, version, plaintext]).to_string());
                data(&json!({ "ciphertext": format!("vault:v{version}:{sealed}"), "key_version": version }))
            }
        }
    }

    fn decrypt(&self, key: &str, body: &Value) -> Reply {
        let parts = body["ciphertext"].as_str().and_then(|text| text.strip_prefix("vault:v")?.split_once(':'));
        let opened = parts.and_then(|(version, sealed)| {
            let opened: Value = serde_json::from_slice(&BASE64_STANDARD.decode(sealed).ok()?).ok()?;
            let known = u64::from(*self.0.get(key)?);
            let version: u64 = version.parse().ok()?;
            (opened[0] == key && opened[1] == version && version <= known).then_some(opened)
        });
        match opened {
            Some(opened) => data(&json!({ "plaintext": opened[2] })),
            None => refused(400, "cipher: message authentication failed"),
        }
    }
}
