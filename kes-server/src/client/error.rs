//! The errors of a call to a KES server.

use std::{error::Error as _, fmt, io, time::Duration};

use reqwest::{Method, Url};

use crate::outbound::{TLS_ALERT, tls_error};

/// What helps against a certificate that nobody vouches for.
const REMEDY: &str = "set SSL_CERT_FILE to the certificate of the server's CA, or skip the check with -k";

/// The request that failed, as something the user can repeat.
#[derive(Debug, Clone)]
pub struct Call {
    pub(super) method: Method,
    pub(super) url: Box<Url>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

/// Why a call to a KES server failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with an error status. `message` is exactly what clients compare (docs/kes-protocol.md §1.7).
    #[error("{message} ({call} answered {status})")]
    Refused {
        /// The request.
        call: Call,
        /// HTTP status.
        status: u16,
        /// The server's message, unchanged.
        message: String,
    },
    /// No connection, or it broke.
    #[error("kes: connection error: {}: {cause}", quoted(call))]
    Connection {
        /// The request.
        call: Call,
        /// What went wrong.
        cause: String,
    },
    /// The caller's deadline passed.
    #[error("kes: connection error: {}: no answer within {after:?}", quoted(call))]
    TimedOut {
        /// The request.
        call: Call,
        /// The deadline.
        after: Duration,
    },
    /// The answer is not one of a KES server.
    #[error("{call}: cannot read the answer: {cause}")]
    Answer {
        /// The request.
        call: Call,
        /// What is wrong with it.
        cause: String,
    },
    /// An endpoint is not a URL, or there is none.
    #[error("invalid server address '{0}': use host:port or https://host:port")]
    Endpoint(String),
    /// The client certificate or its key cannot be used.
    #[error("cannot use the client certificate: {0}")]
    Credentials(String),
    /// There is nothing to verify the server's certificate with.
    #[error("{0}; set SSL_CERT_FILE to the certificate of the server's CA")]
    Trust(String),
}

impl ClientError {
    /// The HTTP status, if the server answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The text the KES SDK would show: the bare message of the server, or the description of what else failed.
    pub fn message(&self) -> String {
        match self {
            Self::Refused { message, .. } => message.clone(),
            other => other.to_string(),
        }
    }

    /// Whether a key could not be made because its name is taken.
    pub fn is_key_exists(&self) -> bool {
        self.is(400, "key already exists") || self.is(400, "key does already exist")
    }

    /// Whether the named key does not exist.
    pub fn is_key_not_found(&self) -> bool {
        self.is(404, "key does not exist")
    }

    /// Whether the policy of the caller's identity does not allow the call.
    pub fn is_not_allowed(&self) -> bool {
        self.is(403, "not authorized: insufficient permissions") || self.is(403, "prohibited by policy")
    }

    /// Whether the ciphertext belongs to another key or context, or is damaged.
    pub fn is_not_authentic(&self) -> bool {
        self.is(400, "decryption failed: ciphertext is not authentic")
    }

    /// Whether no answer came at all.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::TimedOut { .. })
    }

    /// Whether the server ended the TLS handshake: it runs, but not for this client.
    pub fn is_tls_alert(&self) -> bool {
        matches!(self, Self::Connection { cause, .. } if cause.starts_with(TLS_ALERT))
    }

    fn is(&self, wanted: u16, text: &str) -> bool {
        matches!(self, Self::Refused { status, message, .. } if *status == wanted && message == text)
    }

    pub(super) fn transport(call: Call, error: &reqwest::Error, deadline: Option<Duration>) -> Self {
        match deadline {
            Some(after) if error.is_timeout() => Self::TimedOut { call, after },
            _ if error.is_decode() => Self::Answer { call, cause: innermost(error) },
            _ => {
                let cause = cause(&call.url, error);
                Self::Connection { call, cause }
            }
        }
    }

    /// The same, naming the proxy that the call went through, if any: it may be the one that is not there.
    pub(super) fn by_way_of(self, proxy: Option<&Url>) -> Self {
        match (self, proxy) {
            (Self::Connection { call, cause }, Some(proxy)) => {
                let proxy = proxy.origin().ascii_serialization();
                Self::Connection { call, cause: format!("{cause}, through the proxy {proxy}") }
            }
            (other, _) => other,
        }
    }

    /// Whether another endpoint of the same service may still answer.
    pub(super) fn tries_next_endpoint(&self) -> bool {
        match self {
            Self::Refused { status, .. } => *status >= 500 && *status != 501,
            _ => self.is_connection(),
        }
    }
}

/// The form of Go's HTTP errors, which scripts know: `Get "https://..."`.
fn quoted(call: &Call) -> String {
    let method = call.method.as_str();
    let (first, rest) = method.split_at_checked(1).unwrap_or((method, ""));
    format!("{first}{} \"{}\"", rest.to_ascii_lowercase(), call.url)
}

fn cause(url: &Url, error: &reqwest::Error) -> String {
    let causes = || std::iter::successors(error.source(), |error| beneath(*error));
    if let Some(tls) = causes().find_map(|error| error.downcast_ref::<rustls::Error>()) {
        return tls_error(tls, url.host_str().unwrap_or_default(), REMEDY);
    }
    let mut io = causes().filter_map(|error| error.downcast_ref::<io::Error>());
    if io.any(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        return format!("dial tcp {}: connect: connection refused", authority(url));
    }
    if error.is_dns() {
        return format!("dial tcp: lookup {}: {}", url.host_str().unwrap_or_default(), innermost(error));
    }
    innermost(error)
}

/// An I/O error does not name what it wraps as its source, but that error's source.
fn beneath<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    format!("{host}:{}", url.port_or_known_default().unwrap_or_default())
}

fn innermost(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(next) = last.source() {
        last = next;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {

    use super::*;

    fn refused(status: u16, message: &str) -> ClientError {
        let url = Url::parse("https://127.0.0.1:7373/v1/key/create/a").unwrap();
        ClientError::Refused {
            call: Call { method: Method::POST, url: Box::new(url) },
            status,
            message: message.into(),
        }
    }

    #[test]
    fn a_refusal_is_told_by_status_and_message() {
        assert!(refused(400, "key already exists").is_key_exists());
        assert!(!refused(409, "key already exists").is_key_exists());
        assert!(!refused(400, "key already exists.").is_key_exists());
        assert!(refused(403, "prohibited by policy").is_not_allowed());
    }

    #[test]
    fn the_text_names_the_call_and_the_message_does_not() {
        let error = refused(400, "key already exists");
        assert_eq!(error.message(), "key already exists");
        assert_eq!(error.to_string(), "key already exists (POST https://127.0.0.1:7373/v1/key/create/a answered 400)");
    }

    #[test]
    fn another_endpoint_is_tried_for_server_failures_only() {
        assert!(refused(503, "").tries_next_endpoint());
        assert!(!refused(501, "").tries_next_endpoint());
        assert!(!refused(404, "key does not exist").tries_next_endpoint());
    }
}
