//! kestack: one command that brings up a MinIO with real server-side encryption, and proves it.
//!
//! Test suites in Rust use [`testing`]: the same stacks without the command line. That module and [`Error`] are the public
//! API of the crate; with `default-features = false` nothing of the command line is compiled.
//!
//! The rest is the program `kestack`; other crates see it only with the feature `unstable`. It has four concepts: a
//! `manifest::Manifest` is what the user wants, a `stack::Stack` is its meaning on this host: folder, ports, certificates and
//! credentials, in memory. A `resource::Resource` is one thing that must exist, which can be observed, created and removed.
//! An `engine::Engine` makes pods and containers. `up` reads in that order: manifest → stack → stages of resources →
//! `resource::apply::up`, which asks `resource::plan::decide` for each of them.

// with one feature and without the other, some items are not used
#![cfg_attr(
    not(all(feature = "cli", feature = "unstable")),
    allow(
        dead_code,
        unnameable_types,
        unreachable_pub,
        unused_imports,
        reason = "used with the features `cli` and `unstable`"
    )
)]

#[cfg(feature = "cli")]
mod cli;
mod data;
#[cfg(test)]
mod direction;
mod engine;
mod error;
mod host;
#[cfg(feature = "cli")]
mod interface;
mod keystore;
mod manifest;
mod operate;
mod pki;
mod resource;
mod servers;
mod stack;
mod supply;
mod template;
pub mod testing;
#[cfg(feature = "cli")]
mod transfer;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub use cli::main;
pub use testing::Error;

/// The parts of the program, for the integration tests of this repository: they change without notice.
#[cfg(feature = "unstable")]
pub mod unstable {
    /// Files of data on disk.
    pub mod data {
        pub use crate::data::*;
    }
    /// Engines that run servers.
    pub mod engine {
        pub use crate::engine::*;
    }
    /// The error of the program.
    pub mod error {
        pub use crate::error::*;
    }
    /// What this host gives.
    pub mod host {
        pub use crate::host::*;
    }
    /// kestack.yaml.
    pub mod manifest {
        pub use crate::manifest::*;
    }
    /// What is done with a stack.
    pub mod operate {
        pub use crate::operate::*;
    }
    /// Certificates.
    pub mod pki {
        pub use crate::pki::*;
    }
    /// Things that must exist.
    pub mod resource {
        pub use crate::resource::*;
    }
    /// Clients of the servers.
    pub mod servers {
        pub use crate::servers::*;
    }
    /// A manifest's meaning on this host.
    pub mod stack {
        pub use crate::stack::*;
    }
    /// Where KES and MinIO come from.
    pub mod supply {
        pub use crate::supply::*;
    }
    /// Rendered files.
    pub mod template {
        pub use crate::template::*;
    }
    /// Exports, imports and bundles.
    #[cfg(feature = "cli")]
    pub mod transfer {
        pub use crate::transfer::*;
    }
}
