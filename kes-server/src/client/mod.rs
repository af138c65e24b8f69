//! A client of the KES HTTP API (docs/kes-protocol.md §1) over mutual TLS, with one connection kept alive per endpoint.
//!
//! It sends what the Go SDK sends: POST for operations on keys, HTTP/2 if the server has it, the client
//! certificate whatever the server asks for. Several endpoints are replicas: a call goes to the next one when
//! one cannot be reached or fails with 5xx. Nothing is repeated beyond that; waiting is the caller's business.

mod error;
mod reply;
mod stream;
mod tls;
mod transport;

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub use self::{
    error::{Call, ClientError},
    reply::{
        AuditEvent, AuditRequest, AuditResponse, DataKey, ErrorEvent, IdentityInfo, KeyInfo, PolicyInfo, Route, Status,
        Version,
    },
    stream::LogStream,
    tls::{Credentials, Trust, any_certificate},
};
pub use crate::outbound::Proxies;

use self::{
    reply::{Decrypted, Encrypted, Mac, Page},
    transport::{Answer, Request, Transport},
};

/// A listing with more pages than this does not end.
const MAX_PAGES: usize = 10_000;

/// Longest listing: all its pages together, in bytes. It has room for 400,000 of the longest names.
const MAX_LISTING: usize = 32 << 20;

/// How long a call may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// TCP connect and TLS handshake.
    pub connect: Duration,
    /// A complete call, connecting included. Log streams have no such bound.
    pub request: Duration,
}

impl Default for Timeouts {
    /// 5 s to connect, 20 s per call: more than the 15 s a server gives itself (docs/kes-protocol.md §1.8).
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(20) }
    }
}

/// A KES server, or several replicas of one.
pub struct Client {
    transport: Transport,
}

impl Client {
    /// `endpoints` are `host:port` or `https://host:port`, and are called directly. Nothing is connected yet.
    ///
    /// # Errors
    /// If an endpoint, the credentials or the trusted certificates cannot be used.
    pub fn new(
        endpoints: &[impl AsRef<str>],
        credentials: Credentials,
        trust: &Trust,
        timeouts: Timeouts,
    ) -> Result<Self, ClientError> {
        Self::by_way_of(Proxies::none(), endpoints, credentials, trust, timeouts)
    }

    /// As [`Self::new`], through proxies to all hosts but this machine.
    ///
    /// # Errors
    /// Those of [`Self::new`]. A variable that names no proxy is an error of the calls that need it.
    pub fn by_way_of(
        proxies: Proxies,
        endpoints: &[impl AsRef<str>],
        credentials: Credentials,
        trust: &Trust,
        timeouts: Timeouts,
    ) -> Result<Self, ClientError> {
        Ok(Self { transport: Transport::new(endpoints, credentials, trust, timeouts, proxies)? })
    }

    /// `host:port` of every endpoint.
    pub fn endpoints(&self) -> Vec<String> {
        self.transport.endpoints().iter().map(host_and_port).collect()
    }

    /// `host:port` of the endpoint that answered last.
    pub fn endpoint(&self) -> String {
        self.transport.current().map(host_and_port).unwrap_or_default()
    }

    /// A client of each endpoint alone.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        self.transport.each().map(|transport| Self { transport })
    }

    /// Which release the server is.
    pub async fn version(&self) -> Result<Version, ClientError> {
        read(&self.get("version", None).await?)
    }

    /// Whether the server and its keystore can serve.
    pub async fn ready(&self) -> Result<(), ClientError> {
        self.get("v1/ready", None).await.map(drop)
    }

    /// The state of the server and its keystore.
    pub async fn status(&self) -> Result<Status, ClientError> {
        read(&self.get("v1/status", None).await?)
    }

    /// Which calls the server knows, sorted by path.
    pub async fn apis(&self) -> Result<Vec<Route>, ClientError> {
        let mut routes: Vec<Route> = read(&self.get("v1/api", None).await?)?;
        routes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(routes)
    }

    /// Makes a key of random material.
    pub async fn create_key(&self, name: &str) -> Result<(), ClientError> {
        self.post("v1/key/create", name, None).await.map(drop)
    }

    /// Makes a key of the given 32 bytes for `AES256` or `ChaCha20`.
    pub async fn import_key(&self, name: &str, secret: &[u8], cipher: &str) -> Result<(), ClientError> {
        let body = json!({ "key": STANDARD.encode(secret), "cipher": cipher });
        self.post("v1/key/import", name, Some(body)).await.map(drop)
    }

    /// What is known about a key.
    pub async fn describe_key(&self, name: &str) -> Result<KeyInfo, ClientError> {
        read(&self.get("v1/key/describe", Some(name)).await?)
    }

    /// Removes a key for good: what it encrypted is lost.
    pub async fn delete_key(&self, name: &str) -> Result<(), ClientError> {
        let request = Request { method: Method::DELETE, path: "v1/key/delete", resource: Some(name), body: None };
        self.transport.call(request).await.map(drop)
    }

    /// A fresh data key, bound to `context`.
    pub async fn generate_key(&self, name: &str, context: &[u8]) -> Result<DataKey, ClientError> {
        read(&self.post("v1/key/generate", name, Some(operation(&[], context))).await?)
    }

    /// Encrypts, bound to `context`.
    pub async fn encrypt(&self, name: &str, plaintext: &[u8], context: &[u8]) -> Result<Vec<u8>, ClientError> {
        let body = operation(&[("plaintext", plaintext)], context);
        let reply: Encrypted = read(&self.post("v1/key/encrypt", name, Some(body)).await?)?;
        Ok(reply.ciphertext)
    }

    /// Decrypts what was encrypted under the same key and context.
    pub async fn decrypt(
        &self,
        name: &str,
        ciphertext: &[u8],
        context: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        let body = operation(&[("ciphertext", ciphertext)], context);
        let reply: Decrypted = read(&self.post("v1/key/decrypt", name, Some(body)).await?)?;
        Ok(reply.plaintext)
    }

    /// HMAC-SHA256 of the message under the key: 32 bytes.
    pub async fn hmac(&self, name: &str, message: &[u8]) -> Result<Zeroizing<Vec<u8>>, ClientError> {
        let body = operation(&[("message", message)], &[]);
        let reply: Mac = read(&self.post("v1/key/hmac", name, Some(body)).await?)?;
        Ok(reply.hmac)
    }

    /// Names of keys that begin with `prefix`, which may end with a star; `""` or `*` are all.
    pub async fn list_keys(&self, prefix: &str) -> Result<Vec<String>, ClientError> {
        let prefix = prefix.trim_end_matches('*');
        // MinIO KES takes a star for a part of the name, and no server takes a dash at the end, or `_` alone
        let asked = Some(prefix.trim_end_matches('-')).filter(|asked| *asked != "_");
        let mut names = self.list("v1/key/list", asked.unwrap_or_default()).await?;
        names.retain(|name| name.starts_with(prefix));
        Ok(names)
    }

    /// Creation of a policy, without its rules.
    pub async fn describe_policy(&self, name: &str) -> Result<PolicyInfo, ClientError> {
        read(&self.get("v1/policy/describe", Some(name)).await?)
    }

    /// A policy with its rules.
    pub async fn read_policy(&self, name: &str) -> Result<PolicyInfo, ClientError> {
        read(&self.get("v1/policy/read", Some(name)).await?)
    }

    /// Names of policies that begin with `prefix`; `""` or `*` are all.
    pub async fn list_policies(&self, prefix: &str) -> Result<Vec<String>, ClientError> {
        self.list("v1/policy/list", prefix).await
    }

    /// Policy and role of an identity.
    pub async fn describe_identity(&self, identity: &str) -> Result<IdentityInfo, ClientError> {
        read(&self.get("v1/identity/describe", Some(identity)).await?)
    }

    /// Policy and role of the caller; KES answers it to the admin only.
    pub async fn describe_self(&self) -> Result<IdentityInfo, ClientError> {
        read(&self.get("v1/identity/self/describe", None).await?)
    }

    /// Identities that begin with `prefix`; `""` or `*` are all.
    pub async fn list_identities(&self, prefix: &str) -> Result<Vec<String>, ClientError> {
        self.list("v1/identity/list", prefix).await
    }

    /// The metrics in Prometheus' text format (docs/kes-protocol.md §7).
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let answer = self.get("v1/metrics", None).await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Audit events from now on.
    pub async fn audit_log(&self) -> Result<LogStream<AuditEvent>, ClientError> {
        self.transport.open(get("v1/log/audit", None)).await.map(LogStream::new)
    }

    /// Error log lines from now on.
    pub async fn error_log(&self) -> Result<LogStream<ErrorEvent>, ClientError> {
        self.transport.open(get("v1/log/error", None)).await.map(LogStream::new)
    }

    async fn get(&self, path: &str, resource: Option<&str>) -> Result<Answer, ClientError> {
        self.transport.call(get(path, resource)).await
    }

    async fn post(&self, path: &str, name: &str, body: Option<Value>) -> Result<Answer, ClientError> {
        let body = body.map(|body| body.to_string().into_bytes());
        self.transport.call(Request { method: Method::POST, path, resource: Some(name), body }).await
    }

    /// Pages are continued as the SDK does: `continue_at` is the next resource.
    async fn list(&self, path: &str, prefix: &str) -> Result<Vec<String>, ClientError> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut resource = prefix.to_owned();
        for _ in 0..MAX_PAGES {
            let answer = self.get(path, Some(&resource)).await?;
            bytes += answer.body.len();
            if bytes > MAX_LISTING {
                return Err(unreadable(&answer, format!("the listing is larger than {MAX_LISTING} bytes")));
            }
            let page = if answer.content_type.starts_with("application/x-ndjson") {
                Page::from_lines(&answer.body).map_err(|cause| unreadable(&answer, cause))?
            } else {
                read::<Page>(&answer)?
            };
            let next = page.continue_at.clone();
            let found = page.entries();
            let is_last = next.is_empty() || next == resource || found.is_empty();
            entries.extend(found);
            if is_last {
                break;
            }
            resource = next;
        }
        Ok(entries)
    }
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Body of encrypt, decrypt, generate and hmac.
fn operation(fields: &[(&str, &[u8])], context: &[u8]) -> Value {
    let context = (!context.is_empty()).then_some(("context", context));
    fields
        .iter()
        .copied()
        .chain(context)
        .map(|(name, bytes)| (name.to_owned(), Value::from(STANDARD.encode(bytes))))
        .collect()
}

fn get<'a>(path: &'a str, resource: Option<&'a str>) -> Request<'a> {
    Request { method: Method::GET, path, resource, body: None }
}

fn read<T: DeserializeOwned>(answer: &Answer) -> Result<T, ClientError> {
    serde_json::from_slice(&answer.body).map_err(|error| unreadable(answer, crate::json::mistake(&error)))
}

fn unreadable(answer: &Answer, cause: String) -> ClientError {
    ClientError::Answer { call: answer.call.clone(), cause }
}
