//! What is done with a stack: one module for each verb or group of verbs.

pub(crate) mod access;
pub(crate) mod buckets;
pub(crate) mod canary;
pub mod chaos;
pub(crate) mod content;
pub mod coverage;
pub mod doctor;
pub mod drill;
pub(crate) mod encrypt;
pub(crate) mod guard;
pub(crate) mod inventory;
pub(crate) mod keys;
pub mod locked;
pub(crate) mod minio_change;
pub mod open_files;
pub mod reset;
pub(crate) mod rotate;
pub mod sandbox;
pub mod serve;
pub(crate) mod session;
pub mod snapshot;
pub mod stacks;
pub mod status;
pub mod teardown;
pub mod verify;
pub(crate) mod versioned;
