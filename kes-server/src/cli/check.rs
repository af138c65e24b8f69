//! `kes config check`: whether a server would accept a configuration file.

use std::path::PathBuf;

use clap::Subcommand;

use super::{CliError, output, session::Session};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Read a configuration file as the server does, and say what is wrong with it
    Check {
        #[arg(value_name = "file")]
        file: PathBuf,
    },
}

pub(super) fn run(command: ConfigCommand, session: &Session<'_>) -> Result<(), CliError> {
    let ConfigCommand::Check { file } = command;
    Config::load(&file, &|name| session.environment.get(name))
        .map_err(|error| CliError::message(format!("{}: {error}", file.display())))?;
    output::line(&format!("{}: configuration is valid", file.display()))
}
