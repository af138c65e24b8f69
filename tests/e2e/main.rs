//! The real tool on a real engine with a real MinIO. `tests/run` runs these tests once for each engine, one after the other,
//! and `.config/nextest.toml` says which tests are about which engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::wildcard_imports,
    reason = "test"
)]

mod answers;
mod bench;
mod bounded;
mod bundle;
mod by_hand;
mod certificates;
mod chaos;
mod docker;
mod drill;
mod elsewhere;
mod engine;
mod errors;
mod escape;
mod faults;
mod guard;
mod homes;
mod images;
mod import;
mod interface;
mod keystores;
mod leftovers;
mod library;
mod lifecycle;
mod model;
mod names;
mod offered;
mod owners;
mod page;
mod places;
mod processes;
mod proof;
mod rehearse;
mod replicas;
mod rescue;
mod rootless;
mod rotate;
mod sandbox;
mod sandbox_keys;
mod sandboxes;
mod sealed;
mod secrets;
mod seed;
mod signed;
mod snapshot;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod verbs;
mod versions;
