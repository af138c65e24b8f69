//! kestack: one command that brings up a MinIO with real server-side encryption, and proves it.
//!
//! Four nouns carry the crate. A [`manifest::Manifest`] is what the user asks for. A [`stack::Stack`] is what that
//! means on this host: folder, ports, certificates and credentials, in memory. A [`resource::Resource`] is one
//! thing that must exist, which can be observed, created and removed. An [`engine::Engine`] makes pods and
//! containers. `up` reads in that order: manifest → stack → stages of resources →
//! [`resource::apply::up`], which asks [`resource::plan::decide`] for each of them.
//!
//! Test suites in Rust use [`testing`]: the same stack without the command line.

pub mod cli;
pub mod data;
#[cfg(test)]
mod direction;
pub mod engine;
pub mod error;
pub mod host;
mod keystore;
pub mod manifest;
pub mod operate;
pub mod pki;
pub mod resource;
pub mod servers;
pub mod stack;
pub mod supply;
pub mod template;
pub mod testing;
pub mod transfer;

pub use error::Error;
