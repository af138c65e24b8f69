//! kestack: one command that brings up a MinIO with real server-side encryption, and proves it.
//!
//! Four nouns carry the crate. A [`manifest::Manifest`] is what the user asks for. A [`stack::Stack`] is what that
//! means on this host: folder, ports, certificates and credentials, in memory. A [`resource::Resource`] is one
//! thing that must exist, which can be observed, created and removed. An [`engine::Engine`] makes pods and
//! containers. `up` reads in that order: manifest → stack → stages of resources → [`apply::up`], which asks
//! [`plan::decide`] for each of them.
//!
//! Test suites in Rust use [`testing`]: the same stack without the command line.

pub mod apply;
mod blocking;
pub mod bundle;
mod canary;
pub mod chaos;
pub mod cli;
pub mod client;
pub mod coverage;
pub mod digest;
mod disk;
pub mod doctor;
pub mod drill;
pub mod drive;
pub mod ending;
pub mod engine;
pub mod error;
pub mod export;
pub mod guard;
mod home;
pub mod image;
pub mod import;
pub mod interrupt;
pub mod lock;
pub mod locked;
pub mod manifest;
pub mod open_files;
mod ownership;
pub mod pki;
pub mod plan;
pub mod probe;
pub mod reset;
pub mod resource;
pub mod sandbox;
mod scratch;
pub mod seed;
mod session;
pub mod snapshot;
pub mod stack;
pub mod stacks;
pub mod status;
pub mod supply;
pub mod teardown;
pub mod template;
pub mod testing;
pub mod verify;
mod volatile;

pub use error::Error;
