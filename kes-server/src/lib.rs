//! A drop-in KES: the server and the command line, and the library that both and kestack share.
//!
//! [`crypto`] makes and opens keys and ciphertexts. [`auth`] says who calls and what they may do. `json` is the JSON of
//! clients and of older keys; like `crypto` it uses no other module. `memory` holds secrets. [`keystore`] keeps keys.
//! [`config`] is the configuration file, valid by construction. [`server`] listens and hands requests to the API.
//! [`client`] speaks to a running server. [`yaml`] is a file as a tree that knows its lines. [`child`], [`listen`] and
//! [`process`] are what servers and their supervisors need of the system. [`release`] says which build this is. [`cli`]
//! is the command line, [`completion`] has scripts for shells. `outbound` has names, proxies and trust, by which
//! keystores and client reach other hosts.

#![cfg_attr(
    not(feature = "cli"),
    allow(dead_code, unreachable_pub, unused_imports, reason = "the command line uses it")
)]

mod api;
pub mod auth;
pub mod child;
#[cfg(feature = "cli")]
pub mod cli;
pub mod client;
#[cfg(feature = "completion")]
pub mod completion;
pub mod config;
pub mod crypto;
#[cfg(test)]
mod direction;
#[doc(hidden)]
pub mod fuzzing;
mod json;
pub mod keystore;
pub mod listen;
mod log;
mod memory;
mod metrics;
mod outbound;
pub mod process;
pub mod release;
pub mod server;
pub mod yaml;
