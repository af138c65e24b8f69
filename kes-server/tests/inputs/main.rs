//! Any input: the corpora that fuzzing found, and inputs made by rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test")]

#[allow(unreachable_pub, reason = "public for the fuzz targets")]
#[path = "../../fuzz/src/lib.rs"]
mod checks;

mod access;
mod corpora;
mod keys;
mod scalars;
