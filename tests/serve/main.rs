//! `kestack serve` with the real MinIO (`MINIO_BINARY`): its starts, its ends, its names, and that nothing is ever stored in
//! clear. It needs no engine; `tests/run process` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "test"
)]

mod again;
mod drives;
mod ends;
mod full;
mod leaks;
mod names;
mod page;
mod served;
mod starts;
#[path = "../support/mod.rs"]
mod support;
