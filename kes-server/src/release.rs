//! Which release this is, of `kes` and of kestack, which is built with it.

/// Its version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that it was built from, if the build knew it.
pub const COMMIT: Option<&str> = option_env!("KES_COMMIT");

/// The target that it was built for, such as `x86_64-unknown-linux-gnu`.
pub const TARGET: &str = env!("KES_TARGET");
