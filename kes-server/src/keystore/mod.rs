//! Keystores. A backend implements [`KeyStore`]; the server asks the [`Cache`].
//!
//! Adding a backend is one file with an implementation of [`KeyStore`], one variant of [`Backend`], and its section
//! in [`crate::config`].

use std::fmt;
use std::future::Future;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::KeyStoreConfig;
use crate::outbound::Proxies;

mod aws;
mod azure;
mod cache;
mod connection;
mod entrust;
mod flight;
mod fortanix;
pub mod fs;
mod gcp;
mod http;
mod keysecure;
mod memory;
mod renewals;
mod session;
mod tally;
mod vault;

pub use aws::Aws;
pub use azure::Azure;
pub use cache::{Cache, Notice};
pub use connection::{Connection, Patience};
pub use entrust::Entrust;
pub use fortanix::Fortanix;
pub use fs::{Fs, MasterKeys};
pub use gcp::Gcp;
pub use keysecure::KeySecure;
pub use memory::Memory;
pub use tally::Tally;
pub use vault::Vault;

/// The environment of a backend: the variables where clouds look for credentials, read only on demand and never by a
/// backend itself, and the receiver of its warnings.
#[derive(Clone)]
pub struct Environment {
    read: Arc<Read>,
    warn: Arc<Warn>,
    tally: Option<Arc<Tally>>,
    access: Access,
}

/// What a backend may do in the place of its keys before somebody asks it to change one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing.
    Look,
    /// Tidy up what a crash left, and note how the place is sealed.
    Use,
    /// Also make the place.
    Make,
}

type Read = dyn Fn(&str) -> Option<String> + Send + Sync;
type Warn = dyn Fn(&str) + Send + Sync;

impl Environment {
    /// What `read` returns for a name. Warnings go to standard error, unless [`Self::with_warnings_to`] says otherwise.
    pub fn new(read: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), warn: Arc::new(warn_on_standard_error), tally: None, access: Access::Use }
    }

    /// The same variables; `warn` gets what backends warn of.
    #[must_use]
    pub fn with_warnings_to(self, warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { warn: Arc::new(warn), ..self }
    }

    /// The same; calls, renewals and the cache count there.
    #[must_use]
    pub(crate) fn with_tally(self, tally: Tally) -> Self {
        Self { tally: Some(Arc::new(tally)), ..self }
    }

    /// The same, for backends that may do this.
    #[must_use]
    pub(crate) fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Where to count.
    fn tally(&self) -> Option<&Arc<Tally>> {
        self.tally.as_ref()
    }

    /// Passes a warning on to whoever runs the program.
    pub(crate) fn warn(&self, text: &str) {
        (self.warn)(text);
    }

    /// No variables at all.
    pub fn empty() -> Self {
        Self::new(|_| None)
    }

    /// The value of a variable, `None` if it is not set.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.read)(name)
    }

    /// The proxies that the variables name.
    pub(crate) fn proxies(&self) -> Proxies {
        Proxies::of(|name| self.get(name))
    }
}

fn warn_on_standard_error(text: &str) {
    // There is nowhere else to say it.
    let _: io::Result<()> = writeln!(io::stderr(), "WARNING: {text}");
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

/// How long a request waits for an unreachable keystore before it fails: a request that would succeed a moment later
/// should not fail, and a client of MinIO KES that turns to another server loses the request's body (docs/kubernetes.md
/// §5.1).
pub(crate) const HOLD: Duration = Duration::from_secs(10);

/// Why a keystore did not do what it was asked (docs/keystores-protocol.md §1.5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyStoreError {
    /// An entry of that name exists already.
    #[error("key already exists")]
    Exists,
    /// There is no entry of that name.
    #[error("key does not exist")]
    NotFound,
    /// The keystore cannot be reached, or answers that it cannot serve now: later the same may work.
    #[error("kes: keystore unreachable: {0}")]
    Unreachable(String),
    /// The change was made, but a crash of the machine may undo it; the text says why.
    #[error("{0}")]
    Unsynced(String),
    /// The keystore cannot have an entry of that name; the text says why, for whoever asked.
    #[error("{0}")]
    Name(String),
    /// Anything else; the text is for the log.
    #[error("{0}")]
    Other(String),
}

impl KeyStoreError {
    /// The same kind of error with another text, where it has one.
    fn map_text(self, map: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Unreachable(text) => Self::Unreachable(map(text)),
            Self::Unsynced(text) => Self::Unsynced(map(text)),
            Self::Name(text) => Self::Name(map(text)),
            Self::Other(text) => Self::Other(map(text)),
            told @ (Self::Exists | Self::NotFound) => told,
        }
    }

    /// The same, where an answer of any kind means that the keystore was reached.
    fn of_answer(self) -> Self {
        if let Self::Unreachable(text) = self { Self::Other(text) } else { self }
    }
}

/// A place that keeps values under names. Its [`fmt::Display`] form names it in the banner.
pub trait KeyStore: fmt::Display + Send + Sync {
    /// Asks whether it works, and how long the answer takes.
    fn status(&self) -> impl Future<Output = Result<Duration, KeyStoreError>> + Send;

    /// Stores a value under a name that is free. Never overwrites; when it returns, the value is safe.
    fn create(&self, name: &str, value: &[u8]) -> impl Future<Output = Result<(), KeyStoreError>> + Send;

    /// The value of a name.
    fn get(&self, name: &str) -> impl Future<Output = Result<Zeroizing<Vec<u8>>, KeyStoreError>> + Send;

    /// Removes a name and its value.
    fn delete(&self, name: &str) -> impl Future<Output = Result<(), KeyStoreError>> + Send;

    /// All names that start with `prefix`, sorted by bytes.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, KeyStoreError>> + Send;

    /// Where the cache in front of it counts.
    fn tally(&self) -> Option<&Tally> {
        None
    }
}

/// The backends there are.
#[derive(Debug)]
pub enum Backend {
    /// AWS Secrets Manager.
    Aws(Box<Aws>),
    /// Azure Key Vault.
    Azure(Box<Azure>),
    /// Entrust `KeyControl`.
    Entrust(Entrust),
    /// Fortanix DSM.
    Fortanix(Fortanix),
    /// A folder.
    Fs(Fs),
    /// GCP Secret Manager.
    Gcp(Gcp),
    /// Thales `CipherTrust` Manager, formerly Gemalto `KeySecure`.
    KeySecure(KeySecure),
    /// Nothing but memory, for `kes server --dev`.
    Memory(Memory),
    /// Hashicorp Vault or `OpenBao`.
    Vault(Vault),
}

impl Backend {
    /// Connects to the configured keystore. Must be called within a runtime, which renews tokens.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn connect(config: &KeyStoreConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        match config {
            KeyStoreConfig::Aws(config) => Aws::connect(config, environment).await.map(Box::new).map(Self::Aws),
            KeyStoreConfig::Azure(config) => Azure::connect(config, environment).map(Box::new).map(Self::Azure),
            KeyStoreConfig::Entrust(config) => Entrust::connect(config, environment).await.map(Self::Entrust),
            KeyStoreConfig::Fortanix(config) => Fortanix::connect(config, environment).await.map(Self::Fortanix),
            KeyStoreConfig::Fs(config) => Box::pin(Fs::connect(config, environment)).await.map(Self::Fs),
            KeyStoreConfig::Gcp(config) => Gcp::connect(config, environment).await.map(Self::Gcp),
            KeyStoreConfig::KeySecure(config) => KeySecure::connect(config, environment).await.map(Self::KeySecure),
            KeyStoreConfig::Vault(config) => Vault::connect(config, environment).await.map(Self::Vault),
        }
    }
}

impl Backend {
    /// Whether names that differ only in upper and lower case are one name to it.
    pub(crate) fn ignores_case(&self) -> bool {
        matches!(self, Self::Azure(_))
    }
}

/// Calls the same method of whichever backend it is.
macro_rules! delegate {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Backend::Aws($store) => $call,
            Backend::Azure($store) => $call,
            Backend::Entrust($store) => $call,
            Backend::Fortanix($store) => $call,
            Backend::Fs($store) => $call,
            Backend::Gcp($store) => $call,
            Backend::KeySecure($store) => $call,
            Backend::Memory($store) => $call,
            Backend::Vault($store) => $call,
        }
    };
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        delegate!(self, store => store.fmt(f))
    }
}

/// Calls are boxed: a request is as large as the largest call that it may make, and most make none.
impl KeyStore for Backend {
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        delegate!(self, store => Box::pin(store.status()).await)
    }

    async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
        delegate!(self, store => Box::pin(store.create(name, value)).await)
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        delegate!(self, store => Box::pin(store.get(name)).await)
    }

    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        delegate!(self, store => Box::pin(store.delete(name)).await)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        delegate!(self, store => Box::pin(store.list(prefix)).await)
    }
}

/// A value as the text that it is in every stored form (docs/keystores-protocol.md §1.2).
///
/// # Errors
/// If it is not text.
fn text(value: &[u8]) -> Result<&str, KeyStoreError> {
    std::str::from_utf8(value).map_err(|_| KeyStoreError::Other("the value to store is not text".into()))
}

/// For a create whose answer says that the name is taken. If the call was repeated, the name may be taken because the
/// attempt before was carried out and only its answer was lost: then the entry has our value, which nobody else has.
///
/// # Errors
/// [`KeyStoreError::Exists`], or those of reading the entry.
async fn stored_before(
    store: &impl KeyStore,
    answer: &http::Answer,
    name: &str,
    value: &[u8],
) -> Result<(), KeyStoreError> {
    if answer.repeated && store.get(name).await?.as_slice() == value { Ok(()) } else { Err(KeyStoreError::Exists) }
}

/// For a create that is answered with success in a form that does not name the entry: it was carried out if the entry
/// has our value.
///
/// # Errors
/// If it has not, or those of reading the entry.
async fn stored_now(
    store: &impl KeyStore,
    answer: &http::Answer,
    name: &str,
    value: &[u8],
) -> Result<(), KeyStoreError> {
    match store.get(name).await {
        Ok(stored) if stored.as_slice() == value => Ok(()),
        Ok(_) | Err(KeyStoreError::NotFound) => Err(answer.foreign()),
        Err(error) => Err(error),
    }
}
