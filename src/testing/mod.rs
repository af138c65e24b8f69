//! Stacks for test suites in Rust: what `kestack up`, `sandbox`, `chaos`, `verify`, `snapshot`, `reset` and `down` do, as
//! calls.
//!
//! Most suites need one stack for all tests, and a sandbox for each: a bucket, its key and a user.
//!
//! ```no_run
//! # async fn test() -> Result<(), kestack::Error> {
//! use kestack::testing::Stack;
//!
//! let stack = Stack::shared().await?;
//! let sandbox = stack.sandbox().await?;
//! let client = (stack.s3_endpoint(), sandbox.credentials(), sandbox.bucket());
//! sandbox.remove().await?;
//! # Ok(()) }
//! ```
//!
//! A test that breaks something or needs settings of its own has its own stack:
//!
//! ```no_run
//! # async fn test() -> Result<(), kestack::Error> {
//! use std::time::Duration;
//!
//! use kestack::testing::{Fault, Stack};
//!
//! let stack = Stack::builder().bucket("invoices").up().await?;
//! stack.chaos(Fault::KesDown, Duration::from_secs(2)).await?;
//! stack.verify().await?;
//! stack.reset().await?;
//! stack.down().await?;
//! # Ok(()) }
//! ```
//!
//! A [`Stack`] that is dropped, as by a test that panics, is removed with its data, unless it was there before or
//! [`Stack::keep`] was called. A [`StackBuilder::up`] that fails or is dropped removes what it made. A program that is killed
//! cannot do that: the next [`StackBuilder::up`] on that engine, or `kestack gc`, removes its stacks when their lease is over.
//!
//! Calls that stop or change a server, such as [`Stack::verify`], give that back also when they are dropped before their end,
//! and the drop waits for it.
//!
//! [`blocking`] has the same calls for tests without an async runtime.

pub mod blocking;
mod builder;
mod error;
mod removal;
mod sandbox;
mod shared;
mod stack;
mod work;

use std::fmt;

use zeroize::Zeroizing;

pub use crate::error::ErrorKind;
pub use crate::manifest::EngineKind;
pub use crate::operate::chaos::Fault;
pub use builder::StackBuilder;
pub use error::Error;
pub use sandbox::Sandbox;
pub use stack::Stack;

/// The credentials of a user of a stack or a sandbox.
#[derive(Clone)]
#[non_exhaustive]
pub struct Credentials {
    /// Access key.
    pub access_key: String,
    /// Secret key.
    pub secret_key: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_for_test_suites_names_this_version() {
        let page = include_str!("../../docs/test-suites.md");
        let (major, minor) = (env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"));
        let wanted = format!("kestack = {{ version = \"{major}.{minor}\", default-features = false }}");
        assert!(page.contains(&wanted), "docs/test-suites.md does not name {wanted}");
    }
}
