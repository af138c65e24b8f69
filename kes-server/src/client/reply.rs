//! The answers of a KES server (docs/kes-protocol.md §1.5). Byte strings are standard base64 with padding on the wire.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, de};
use zeroize::Zeroizing;

use crate::json;

/// `GET /version`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    /// Release of the server.
    pub version: String,
    /// Commit it was built from.
    #[serde(default)]
    pub commit: String,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Release of the server.
    pub version: String,
    /// Operating system, Go's name.
    pub os: String,
    /// Processor, Go's name.
    pub arch: String,
    /// Seconds since start.
    pub uptime: u64,
    /// Logical CPUs.
    pub num_cpu: u32,
    /// Usable CPUs.
    pub num_cpu_used: u32,
    /// Bytes.
    pub mem_heap_used: u64,
    /// Bytes.
    pub mem_stack_used: u64,
    /// Milliseconds; absent when the keystore is unreachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keystore_latency: Option<u64>,
    /// Whether the keystore could not be asked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keystore_unreachable: bool,
}

/// One row of `GET /v1/api`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Route {
    /// Canonical method.
    pub method: String,
    /// Path; one ending in `/` is a prefix.
    pub path: String,
    /// Largest request body in bytes.
    #[serde(default)]
    pub max_body: u64,
    /// Seconds, 0 = none.
    #[serde(default)]
    pub timeout: u64,
}

/// `GET /v1/key/describe/<name>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Name of the key.
    pub name: String,
    /// `AES256` or `ChaCha20`; older servers know two longer spellings.
    #[serde(default)]
    pub algorithm: String,
    /// RFC 3339, as the server wrote it.
    pub created_at: String,
    /// Identity of the creator, empty if unknown.
    #[serde(default)]
    pub created_by: String,
}

/// `POST /v1/key/generate/<name>`: a fresh data encryption key.
#[derive(Deserialize)]
pub struct DataKey {
    /// The key itself.
    #[serde(deserialize_with = "secret")]
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The key, encrypted with the named key.
    #[serde(deserialize_with = "bytes")]
    pub ciphertext: Vec<u8>,
}

#[derive(Deserialize)]
pub(super) struct Encrypted {
    #[serde(deserialize_with = "bytes")]
    pub(super) ciphertext: Vec<u8>,
}

#[derive(Deserialize)]
pub(super) struct Decrypted {
    #[serde(deserialize_with = "secret")]
    pub(super) plaintext: Zeroizing<Vec<u8>>,
}

#[derive(Deserialize)]
pub(super) struct Mac {
    #[serde(deserialize_with = "secret")]
    pub(super) hmac: Zeroizing<Vec<u8>>,
}

/// `GET /v1/policy/read/<name>`; `describe` leaves `allow` and `deny` empty.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyInfo {
    /// Name, empty in the answer of old servers.
    #[serde(default)]
    pub name: String,
    /// Path patterns that are allowed.
    #[serde(default)]
    pub allow: BTreeMap<String, serde_json::Value>,
    /// Path patterns that are denied.
    #[serde(default)]
    pub deny: BTreeMap<String, serde_json::Value>,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
    /// Identity of the creator.
    #[serde(default)]
    pub created_by: String,
}

/// `GET /v1/identity/describe/<identity>` and `GET /v1/identity/self/describe`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdentityInfo {
    /// The identity; only in the answer about oneself.
    #[serde(default)]
    pub identity: String,
    /// Policy, empty for the admin.
    #[serde(default)]
    pub policy: String,
    /// Whether policies do not apply.
    #[serde(default)]
    pub admin: bool,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: String,
    /// Identity of the creator.
    #[serde(default)]
    pub created_by: String,
}

/// One event of `GET /v1/log/audit`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditEvent {
    /// RFC 3339.
    pub time: String,
    /// Who asked for what.
    pub request: AuditRequest,
    /// How it ended.
    pub response: AuditResponse,
}

/// The request of an [`AuditEvent`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AuditRequest {
    /// Address of the client.
    pub ip: String,
    /// Path with its resource.
    pub path: String,
    /// Identity of the client.
    pub identity: String,
}

/// The response of an [`AuditEvent`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AuditResponse {
    /// HTTP status.
    pub code: u16,
    /// Nanoseconds.
    #[serde(default)]
    pub time: u64,
}

impl AuditResponse {
    /// How long the request took.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.time)
    }
}

/// One event of `GET /v1/log/error`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorEvent {
    /// The log line.
    pub message: String,
}

/// One page of a listing; the last one has no `continue_at`.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Page {
    #[serde(deserialize_with = "null_as_empty")]
    names: Vec<String>,
    #[serde(deserialize_with = "null_as_empty")]
    identities: Vec<String>,
    pub(super) continue_at: String,
}

impl Page {
    pub(super) fn entries(self) -> Vec<String> {
        if self.names.is_empty() { self.identities } else { self.names }
    }

    /// The listing of releases before 2023-10-24: one object per line, shown by `application/x-ndjson`.
    pub(super) fn from_lines(body: &[u8]) -> Result<Self, String> {
        let mut names = Vec::new();
        for line in serde_json::Deserializer::from_slice(body).into_iter::<Line>() {
            let line = line.map_err(|error| json::mistake(&error))?;
            if !line.error.is_empty() {
                return Err(line.error);
            }
            names.push(if line.name.is_empty() { line.identity } else { line.name });
        }
        Ok(Self { names, ..Self::default() })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    name: String,
    identity: String,
    error: String,
}

fn null_as_empty<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

fn bytes<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<u8>, D::Error> {
    secret(input).map(|mut bytes| std::mem::take(&mut *bytes))
}

fn secret<'de, D: Deserializer<'de>>(input: D) -> Result<Zeroizing<Vec<u8>>, D::Error> {
    struct Base64;

    impl de::Visitor<'_> for Base64 {
        type Value = Zeroizing<Vec<u8>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a base64 string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            STANDARD.decode(text).map(Zeroizing::new).map_err(|_| E::custom("invalid base64"))
        }
    }

    input.deserialize_str(Base64)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_page_may_hold_null() {
        let page: Page = serde_json::from_str(r#"{"names":null}"#).unwrap();
        assert!(page.entries().is_empty());
    }

    #[test]
    fn listings_of_older_servers_are_lines() {
        let page = Page::from_lines(b"{\"name\":\"a\"}\n{\"name\":\"b\"}\n").unwrap();
        assert_eq!(page.entries(), ["a", "b"]);
        let page = Page::from_lines(b"{\"name\":\"a\"}\n{\"error\":\"no\"}\n");
        assert_eq!(page.err().as_deref(), Some("no"));
    }

    #[test]
    fn a_data_key_is_read_from_base64() {
        let key: DataKey = serde_json::from_str(r#"{"plaintext":"AAE=","ciphertext":"Ag=="}"#).unwrap();
        assert_eq!((key.plaintext.as_slice(), key.ciphertext.as_slice()), (&[0, 1][..], &[2][..]));
    }
}
