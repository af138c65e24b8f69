//! `kestack version`

use clap::Args;
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
}

impl Version {
    pub(super) fn run(output: &Output) -> Result<(), Error> {
        let report = Report { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
        output.result(&report, |report| format!("{} {}", report.name, report.version))
    }
}
