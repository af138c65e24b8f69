//! Every keystore against the same suite: real ones where they are available, else fakes written from the
//! specification. The golden traces say which requests are sent, in which order.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::doc_markdown,
    unreachable_pub,
    reason = "test"
)]

mod conformance;
mod everyone;
mod fake;
mod floods;
mod judge;
mod lies;
mod passing;
mod remote;
mod trust;

mod aws;
mod aws_chain;
mod aws_judge;
mod azure;
mod azure_judge;
mod azure_login;
mod entrust;
mod fortanix;
mod gcp;
mod gcp_judge;
mod gcp_login;
mod keysecure;
mod local;
mod migrate;
mod vault;
