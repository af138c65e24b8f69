//! What this host gives: files, locks, digests, signals, programs.

pub(crate) mod blocking;
pub mod digest;
pub(crate) mod disk;
pub mod ending;
pub mod error;
pub(crate) mod freeze;
pub(crate) mod home;
pub mod interrupt;
pub mod lock;
pub(crate) mod machine;
pub(crate) mod ownership;
pub(crate) mod quote;
pub(crate) mod random;
pub(crate) mod scratch;
pub(crate) mod volatile;
