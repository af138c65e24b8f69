//! A real `kes` and clients that mean no good: only the TLS of docs/kes-protocol.md §2 is spoken, the key behind a
//! certificate is what counts, memory stays bounded, and other clients are served meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "test"
)]

#[path = "../support/mod.rs"]
mod support;

mod bodies;
mod certificates;
mod dial;
mod ends;
mod flood;
mod frames;
mod http1;
mod http2;
mod idle;
mod keys;
mod memory;
mod revocation;
mod strangers;
mod tls;
mod untaken;
mod witness;
