//! Everything that `kestack export` writes: compared with goldens, linked part to part, read by KES's own parser, and
//! (when `KESTACK_E2E=1`) run by the orchestrator it is for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
#![allow(clippy::print_stderr, clippy::disallowed_methods, reason = "test")]

mod cluster;
mod exported;
mod golden;
mod keystores;
mod machine;
mod refused;
mod run;
mod tls;
mod units;
