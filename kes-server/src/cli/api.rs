//! `kes api`: the description of the HTTP API.

use clap::Subcommand;

use super::{CliError, output};

/// `OpenAPI` 3.1; `tests/openapi.rs` holds it against the server.
const OPENAPI: &str = include_str!("../../openapi.json");

#[derive(Debug, Subcommand)]
pub(super) enum ApiCommand {
    /// Print the HTTP API as an `OpenAPI` 3.1 document
    Openapi,
}

pub(super) fn run(command: &ApiCommand) -> Result<(), CliError> {
    let ApiCommand::Openapi = command;
    output::print(OPENAPI)
}
