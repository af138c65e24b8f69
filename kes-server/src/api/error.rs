//! The errors of the API (docs/kes-protocol.md §1.7). The only file with status
//! codes.

use std::{borrow::Cow, fmt, fmt::Write as _};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::reply::{self, JSON, Reply, ReplyBody};
use crate::{config::Level, crypto::CryptoError, json, keystore::KeyStoreError};

/// Bytes of what a client sent that an answer or the log may repeat: a client must not decide how much memory its
/// refusals take. Valid names are much shorter.
const REPEATED: usize = 1 << 10;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Clients learn that they showed none, as by MinIO KES.
const AUTHORITY: &str = "access denied: the client's certificate is that of a CA (basicConstraints CA:TRUE), which \
                         identifies nobody: it needs one without";

/// A refusal: the message for the client, and separately the one for the error log.
#[derive(Debug)]
pub(super) enum ApiError {
    /// No client certificate, or more than one.
    Certificate(CertificateError),
    /// The identity may not do this.
    Denied,
    /// The route takes another method.
    Method { received: String, expected: &'static str },
    /// A name or pattern that breaks the rule for names.
    Invalid { what: What, value: String },
    /// The body is not what the route takes.
    Body { what: &'static str, cause: String },
    /// The key of an import cannot be used.
    Import(ImportError),
    /// Nothing has this name.
    NotFound(What),
    /// The keystore did not do its part.
    KeyStore { operation: &'static str, cause: KeyStoreError },
    /// A key refused an operation.
    Crypto { operation: &'static str, cause: CryptoError },
    /// Readiness: the keystore is not there.
    NotReady(KeyStoreError),
    /// Too many requests of this kind at a time.
    Busy(String),
    /// The route's timeout is over.
    TimedOut,
    /// A defect of the server.
    Internal { operation: &'static str, cause: String },
}

/// What is wrong with the client certificates of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateError {
    /// None that identifies a client.
    Missing,
    /// The first is that of a CA, which is not a client's.
    Authority,
    /// More than one.
    Several,
}

/// What names and patterns are names and patterns of.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    Key,
    Policy,
    Identity,
    Pattern,
}

/// Why a key cannot be imported.
#[derive(Debug)]
pub(super) enum ImportError {
    Algorithm(String),
    Length(String),
}

impl ApiError {
    pub(super) fn internal(operation: &'static str, cause: impl fmt::Display) -> Self {
        Self::Internal { operation, cause: cause.to_string() }
    }

    /// Status of the response.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Certificate(_) | Self::Invalid { .. } | Self::Body { .. } => StatusCode::BAD_REQUEST,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Import(_) => StatusCode::NOT_ACCEPTABLE,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::KeyStore { cause, .. } => match cause {
                KeyStoreError::Exists | KeyStoreError::Name(_) => StatusCode::BAD_REQUEST,
                KeyStoreError::NotFound => StatusCode::NOT_FOUND,
                _ => StatusCode::BAD_GATEWAY,
            },
            Self::Crypto { cause, .. } => match cause {
                CryptoError::NotAuthentic => StatusCode::BAD_REQUEST,
                CryptoError::NoHmacKey => StatusCode::CONFLICT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Self::NotReady(KeyStoreError::Unreachable(_)) | Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::NotReady(_) => StatusCode::BAD_GATEWAY,
            Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The client's text. Clients compare some of these byte for byte.
    fn message(&self) -> Cow<'static, str> {
        match self {
            Self::Certificate(CertificateError::Missing | CertificateError::Authority) => {
                "tls: client certificate is required".into()
            }
            Self::Certificate(CertificateError::Several) => "tls: received more than one client certificate".into(),
            Self::Denied => "not authorized: insufficient permissions".into(),
            Self::Method { received, expected } => {
                format!("received method '{}' expected '{expected}'", cut(received)).into()
            }
            Self::Invalid { what: What::Pattern, value } => {
                format!("listing pattern '{}' is empty, too long or is invalid", cut(value)).into()
            }
            Self::Invalid { what, value } => {
                format!("{} '{}' is empty, too long or contains invalid characters", what.name(), cut(value)).into()
            }
            Self::Body { what, .. } => (*what).into(),
            Self::Import(ImportError::Algorithm(name)) => format!("algorithm '{}' is not supported", cut(name)).into(),
            Self::Import(ImportError::Length(name)) => format!("invalid key size for '{}'", cut(name)).into(),
            Self::NotFound(what) => format!("{} does not exist", what.noun()).into(),
            Self::KeyStore { cause: KeyStoreError::Exists, .. } => "key already exists".into(),
            Self::KeyStore { cause: KeyStoreError::NotFound, .. } => "key does not exist".into(),
            Self::KeyStore { cause: KeyStoreError::Unsynced(_), operation } => {
                format!("{operation} safely: it is done, but a crash of the machine may undo it").into()
            }
            Self::KeyStore { cause: KeyStoreError::Name(why), .. } | Self::Busy(why) => why.clone().into(),
            Self::Crypto { cause: CryptoError::NotAuthentic, .. } => {
                "decryption failed: ciphertext is not authentic".into()
            }
            Self::Crypto { cause: CryptoError::NoHmacKey, .. } => "key does not support HMAC".into(),
            Self::KeyStore { operation, .. } | Self::Crypto { operation, .. } | Self::Internal { operation, .. } => {
                (*operation).into()
            }
            Self::NotReady(KeyStoreError::Unreachable(_)) => "key store is not reachable".into(),
            Self::NotReady(_) => "key store is unavailable".into(),
            Self::TimedOut => "request timed out".into(),
        }
    }

    /// What the error log says and at which level; `None` for what is the client's business alone.
    pub(super) fn log_entry(&self) -> Option<(Level, String)> {
        let entry = match self {
            Self::KeyStore {
                cause: KeyStoreError::Exists | KeyStoreError::NotFound | KeyStoreError::Name(_), ..
            }
            | Self::Crypto { cause: CryptoError::NotAuthentic | CryptoError::NoHmacKey, .. } => return None,
            Self::Body { cause, .. } | Self::Internal { cause, .. } => (Level::ERROR, cut(cause).to_owned()),
            Self::Busy(why) => (Level::WARN, why.clone()),
            Self::KeyStore { cause, .. } => (Level::ERROR, cause.to_string()),
            Self::Crypto { cause, .. } => (Level::ERROR, cause.to_string()),
            Self::NotReady(cause) => (Level::WARN, cause.to_string()),
            Self::TimedOut => (Level::ERROR, "request timed out: the keystore did not answer in time".into()),
            Self::Certificate(CertificateError::Authority) => (Level::INFO, AUTHORITY.into()),
            Self::Certificate(_) => (Level::DEBUG, self.message().into_owned()),
            _ => return None,
        };
        Some(entry)
    }

    /// The response. There is a newline inside the object and none behind it, as in MinIO KES.
    pub(super) fn into_reply(self) -> Reply {
        let message = json::quoted(&self.message());
        let mut reply = reply::typed(JSON, Bytes::from([b"{\"message\":", message.as_slice(), b"\n}"].concat()));
        *reply.status_mut() = self.status();
        if let Self::Method { expected, .. } = self {
            let expected = HeaderValue::from_static(expected);
            reply.headers_mut().insert(header::ACCEPT, expected.clone());
            reply.headers_mut().insert(header::ALLOW, expected);
        }
        reply
    }
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Key => "key name",
            Self::Policy => "policy name",
            Self::Identity => "identity",
            Self::Pattern => "listing pattern",
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Policy => "policy",
            Self::Identity => "identity",
            Self::Pattern => "pattern",
        }
    }
}

/// For a path that no route has; no authentication is needed to learn that.
pub(super) fn no_route() -> Reply {
    let mut reply = reply::typed(
        HeaderValue::from_static("text/plain; charset=utf-8"),
        Bytes::from_static(b"404 page not found\n"),
    );
    *reply.status_mut() = StatusCode::NOT_FOUND;
    reply.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// For a request that is not even about a path.
pub(super) fn no_path() -> Reply {
    let mut reply = reply::empty();
    *reply.status_mut() = StatusCode::BAD_REQUEST;
    reply
}

/// For a request that cannot be understood: the rest of the connection cannot be trusted, and it is closed. `why` is
/// empty, or follows the status after `: `.
pub(super) fn bad_request(why: &str) -> Reply {
    let colon = if why.is_empty() { "" } else { ": " };
    let mut reply = reply::typed(
        HeaderValue::from_static("text/plain; charset=utf-8"),
        Bytes::from(format!("400 Bad Request{colon}{why}")),
    );
    *reply.status_mut() = StatusCode::BAD_REQUEST;
    reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// To another path. Keeps the method, as Go from 1.26 on does. Only GET gets a page, and the length of the page that
/// HEAD does not get is not known. A query that is too long to be repeated is left out: none has a meaning here.
pub(super) fn redirect(location: &str, method: &Method) -> Reply {
    let path = location.split_once('?').map_or(location, |(path, _)| path);
    let location = if location.len() > REPEATED { path } else { location };
    if location.len() > REPEATED {
        let mut reply = reply::empty();
        *reply.status_mut() = StatusCode::URI_TOO_LONG;
        return reply;
    }
    let Ok(value) = HeaderValue::from_str(&ascii(location)) else { return no_path() };
    let mut reply = match *method {
        Method::GET => {
            let page = format!("<a href=\"{}\">Temporary Redirect</a>.\n\n", escape_html(location));
            reply::typed(HTML, Bytes::from(page))
        }
        Method::HEAD => {
            let mut reply = reply::typed(HTML, Bytes::new());
            reply.headers_mut().remove(header::CONTENT_LENGTH);
            reply
        }
        _ => reply::empty(),
    };
    *reply.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    reply.headers_mut().insert(header::LOCATION, value);
    reply
}

/// The beginning of a text, if it is too long to be repeated.
fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(REPEATED)).unwrap_or(text)
}

/// With escapes of what a header cannot say.
fn ascii(location: &str) -> String {
    let mut ascii = String::with_capacity(location.len());
    for byte in location.bytes() {
        if byte.is_ascii() {
            ascii.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _: fmt::Result = write!(ascii, "%{byte:02x}");
        }
    }
    ascii
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;").replace('\'', "&#39;")
}

/// Without the body, which a response to HEAD must not have; the header still tells its length.
pub(super) fn without_body(reply: Reply) -> Reply {
    let (head, _) = reply.into_parts();
    Response::from_parts(head, ReplyBody::Full(Bytes::new()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_cut() {
        let long = "é".repeat(50_000);
        for error in [
            ApiError::Method { received: long.clone(), expected: "PUT" },
            ApiError::Invalid { what: What::Key, value: long.clone() },
            ApiError::Invalid { what: What::Pattern, value: long.clone() },
            ApiError::Import(ImportError::Algorithm(long.clone())),
            ApiError::Import(ImportError::Length(long.clone())),
        ] {
            assert!(error.message().len() < 2 * REPEATED, "{} bytes", error.message().len());
        }
        let body = ApiError::Body { what: "invalid request body", cause: long.clone() };
        assert!(body.log_entry().is_some_and(|(_, text)| text.len() <= REPEATED));
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn long_redirects_lose_their_query_or_are_refused() {
        let location = |location: &str| {
            let reply = redirect(location, &Method::GET);
            let to = reply.headers().get(header::LOCATION).map(|to| to.to_str().unwrap_or_default().to_owned());
            (reply.status().as_u16(), to)
        };
        let long = "a".repeat(2 * REPEATED);
        assert_eq!(location("/v1/status?a=b"), (307, Some("/v1/status?a=b".into())));
        assert_eq!(location(&format!("/v1/status?{long}")), (307, Some("/v1/status".into())));
        assert_eq!(location(&format!("/{long}")), (414, None));
    }

    #[test]
    fn a_name_that_the_keystore_cannot_have_is_the_callers_business() {
        let cause = KeyStoreError::Name("Azure Key Vault has names of letters, digits and '-' only, no '_'".into());
        let error = ApiError::KeyStore { operation: "failed to create key", cause };
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        assert_eq!(error.message(), "Azure Key Vault has names of letters, digits and '-' only, no '_'");
        assert_eq!(error.log_entry(), None);
    }
}
