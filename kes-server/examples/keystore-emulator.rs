//! The keystores of the tests as a program, for examples and tests of what uses kes. **For tests only**: it keeps
//! everything in memory, encrypts nothing and knows only well-known credentials.
//!
//! `cargo run -p kes-server --example keystore-emulator -- vault --listen 127.0.0.1:8200`
#![allow(clippy::print_stdout, clippy::indexing_slicing, clippy::doc_markdown, reason = "test")]

use std::error::Error;
use std::net::SocketAddr;

use clap::{Parser, ValueEnum};
use fake::Fake;
use tokio::net::TcpListener;

#[path = "../tests/keystores/fake/mod.rs"]
mod fake;

/// Keystores for tests: everything is in memory, nothing is encrypted, credentials are well known.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which keystore.
    kind: Kind,
    /// Where it listens. Port 0 is a free port.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// AWS Secrets Manager in `eu-central-1`: access key `static`, any secret key; signatures are not verified. Tokens
    /// of the instance with `AWS_EC2_METADATA_SERVICE_ENDPOINT` set to it.
    Aws,
    /// GCP Secret Manager, project `my-project`: tokens of the metadata server with `GCE_METADATA_HOST` set to it.
    Gcp,
    /// Application `client` of tenant `tenant` with secret `s3cret~+&= %`; needs `KES_AZURE_SKIP_DOMAIN_CHECK=on` and
    /// `AZURE_AUTHORITY_HOST` with the same URL.
    Azure,
    /// Vault `vault` with box `box`; user `user` with password `password`.
    Entrust,
    /// API key `YXBwOmtleQ==`.
    Fortanix,
    /// Refresh token `refresh`.
    Keysecure,
    /// K/V v1 at `kv`, v2 at `kv2`, transit key `kes`; AppRole `kes-role` with secret `kes-secret`, root token `root`.
    Vault,
}

/// Says where it listens when it does, and serves until it is ended.
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { kind, listen } = Arguments::parse();
    let listener = TcpListener::bind(listen).await.map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    let fake = match kind {
        Kind::Aws => Fake::listen(listener, fake::aws::Aws::default(), None, None),
        Kind::Gcp => Fake::listen(listener, fake::gcp::Gcp::default(), None, None),
        Kind::Azure => Fake::listen(listener, fake::azure::Azure::default(), None, None),
        Kind::Entrust => Fake::listen(listener, fake::entrust::Entrust::default(), None, None),
        Kind::Fortanix => Fake::listen(listener, fake::fortanix::Fortanix::default(), None, None),
        Kind::Keysecure => Fake::listen(listener, fake::keysecure::KeySecure::default(), None, None),
        Kind::Vault => Fake::listen(listener, fake::vault::Vault::default(), None, None),
    };
    println!("{}", fake.url());
    fake.serve().await;
    Ok(())
}
