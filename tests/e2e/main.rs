//! The real tool on a real engine with a real MinIO. Runs when `KESTACK_E2E=1`; `tests/run` sets it.
//!
//! These tests share one engine: run them with `--test-threads=1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test")]
#![allow(clippy::print_stderr, clippy::disallowed_methods, reason = "test")]

mod answers;
mod bounded;
mod bundle;
mod certificates;
mod chaos;
mod docker;
mod elsewhere;
mod engine;
mod errors;
mod faults;
mod guard;
mod homes;
mod images;
mod import;
mod keystores;
mod leftovers;
mod library;
mod lifecycle;
mod model;
mod owners;
mod places;
mod processes;
mod proof;
mod replicas;
mod rootless;
mod sandbox;
mod sandbox_keys;
mod sandboxes;
mod secrets;
mod seed;
mod snapshot;
mod tls;
mod verbs;
