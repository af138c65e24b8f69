//! `kestack version`

use std::sync::LazyLock;

use clap::Args;
use kes_server::release::{COMMIT, TARGET, VERSION};
use schemars::JsonSchema;
use serde::Serialize;

use super::output::Output;
use crate::error::Error;

#[derive(Debug, Args)]
pub(super) struct Version {}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// Name of the program.
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// The commit that it was built from; null if the build did not know it.
    commit: Option<&'static str>,
    /// The target that it was built for, such as `x86_64-unknown-linux-gnu`.
    target: &'static str,
}

/// What `kestack --version` says behind the name.
pub(super) static TEXT: LazyLock<String> =
    LazyLock::new(|| format!("{VERSION} (commit {}, {TARGET})", COMMIT.unwrap_or("unknown")));

impl Version {
    pub(super) fn run(output: &Output) -> Result<(), Error> {
        let report = Report { name: env!("CARGO_PKG_NAME"), version: VERSION, commit: COMMIT, target: TARGET };
        output.result(&report, |report| format!("{} {}", report.name, *TEXT))
    }
}
