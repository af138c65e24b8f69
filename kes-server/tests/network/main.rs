//! A `kes` on a network of its own: name servers that do not answer, a hosts file, a proxy that writes down what it is
//! asked. Each test runs itself once more in new namespaces of network and mounts, which only root may make.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::doc_markdown,
    unreachable_pub,
    reason = "test"
)]

#[path = "../keystores/fake/mod.rs"]
mod fake;
mod names;
mod namespace;
mod proxies;
mod servers;
#[path = "../support/mod.rs"]
mod support;
