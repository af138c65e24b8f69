//! A call that got no answer.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;

use super::KeyStoreError;
use crate::outbound::tls_error;

/// What helps against a certificate that nobody vouches for.
const REMEDY: &str = "set tls.ca of the keystore, or SSL_CERT_FILE for one without that setting, to the certificate of \
                      the CA that issued it";

/// Why a call got no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::keystore) struct Failure {
    kind: Kind,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No connection: refused, no route, no such host, TLS.
    Connect,
    /// It took too long.
    Timeout,
    /// The connection was closed before the answer was complete.
    Closed,
    /// Nothing to do with the network.
    Other,
}

impl Failure {
    pub(super) fn of(call: &str, error: &reqwest::Error) -> Self {
        let kind = match error {
            error if error.is_timeout() => Kind::Timeout,
            error if error.is_connect() => Kind::Connect,
            error if error.is_builder() || error.is_redirect() => Kind::Other,
            _ => Kind::Closed,
        };
        Self { kind, text: format!("{call}: {}", cause(error)) }
    }

    pub(super) fn timeout(call: &str, after: Duration) -> Self {
        Self { kind: Kind::Timeout, text: format!("{call}: no answer within {} s", after.as_secs()) }
    }

    /// Something that no repetition repairs.
    pub(in crate::keystore) fn other(call: &str, text: impl fmt::Display) -> Self {
        Self { kind: Kind::Other, text: format!("{call}: {text}") }
    }

    /// True if it took too long or was cut off: whether the call was carried out is not known.
    pub(in crate::keystore) fn is_interrupted(&self) -> bool {
        matches!(self.kind, Kind::Timeout | Kind::Closed)
    }

    /// True if it took too long.
    pub(in crate::keystore) fn is_timeout(&self) -> bool {
        self.kind == Kind::Timeout
    }

    /// True if the network is to blame.
    pub(in crate::keystore) fn is_network(&self) -> bool {
        self.kind != Kind::Other
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Failure> for KeyStoreError {
    fn from(failure: Failure) -> Self {
        if failure.is_network() { Self::Unreachable(failure.text) } else { Self::Other(failure.text) }
    }
}

impl From<KeyStoreError> for Failure {
    /// For what goes wrong while a request is made: credentials that are not available, a token that is refused.
    fn from(error: KeyStoreError) -> Self {
        match error {
            KeyStoreError::Unreachable(text) => Self { kind: Kind::Connect, text },
            other => Self { kind: Kind::Other, text: other.to_string() },
        }
    }
}

/// The innermost reason; the layers around it say only that something failed. In words where it is TLS or a name.
fn cause(error: &reqwest::Error) -> String {
    let host = error.url().and_then(reqwest::Url::host_str).unwrap_or_default();
    let mut last: &dyn std::error::Error = error;
    while let Some(next) = last
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
        .map_or_else(|| last.source(), |wrapped| Some(wrapped as &(dyn std::error::Error + 'static)))
    {
        last = next;
    }
    match last.downcast_ref::<rustls::Error>() {
        Some(tls) => tls_error(tls, host, REMEDY),
        None if error.source().is_none() => "connection failed".into(),
        None if error.is_dns() => format!("lookup {host}: {last}"),
        None => last.to_string(),
    }
}
