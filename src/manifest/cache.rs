//! Times of KES's cache.

use serde::Serialize;

/// How long KES keeps keys that it has read.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CacheTimes {
    /// All of them, as KES writes durations. KES asks the keystore five times within this time whether they changed.
    pub any: &'static str,
    /// Those that nobody asked for.
    pub unused: &'static str,
}

impl CacheTimes {
    /// KES's own, for a configuration that MinIO KES must read as well: it takes 30 s for `any` if `unused` is
    /// missing.
    pub const DOCUMENTED: Self = Self { any: "5m0s", unused: "20s" };
    /// For replicas over a folder, which costs nothing to read: what was done through one is soon seen by the others.
    pub const SHARED_FOLDER: Self = Self { any: "10s", unused: "5s" };
}
