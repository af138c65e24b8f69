//! How long keys stay in the cache.

use std::time::Duration;

/// How long entries of the cache live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// All of them.
    pub any: Duration,
    /// Those that are not used.
    pub unused: Duration,
    /// All of them while the keystore is down; zero means that a keystore that is down changes nothing.
    pub offline: Duration,
}

impl Default for Expiry {
    /// The documented defaults.
    fn default() -> Self {
        Self { any: Duration::from_secs(300), unused: Duration::from_secs(30), offline: Duration::ZERO }
    }
}
