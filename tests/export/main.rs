//! Everything that `kestack export` writes: compared with goldens, linked part to part, read by KES's own parser, and run by
//! the orchestrator that it is for, if there is one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "test"
)]

mod cluster;
mod exported;
mod golden;
mod keystores;
mod kinds;
mod machine;
mod monitoring;
mod names;
mod refused;
mod run;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod units;
