//! `kes config`: whether a server would accept a configuration file, and today's spelling of an older one.

use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{CliError, output, session::Session, successor::Successor};
use crate::config::{self, Config};

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Read a configuration file as the server does, and report its mistakes
    Check {
        #[arg(value_name = "file")]
        file: PathBuf,
        /// Accept deny rules that can match nothing, like a server that is started with this flag
        #[arg(long)]
        allow_dead_rules: bool,
    },
    /// Print a configuration file in today's spelling; comments and layout stay
    Upgrade {
        #[arg(value_name = "file")]
        file: PathBuf,
        /// Change the file instead of printing it; the old one is kept next to it as `.old`
        #[arg(short, long)]
        write: bool,
    },
}

pub(super) fn run(command: ConfigCommand, session: &Session<'_>) -> Result<(), CliError> {
    match command {
        ConfigCommand::Check { file, allow_dead_rules } => check(&file, allow_dead_rules, session),
        ConfigCommand::Upgrade { file, write } => upgrade(&file, write, session),
    }
}

fn check(file: &Path, allow_dead_rules: bool, session: &Session<'_>) -> Result<(), CliError> {
    let config = Config::load(file, &|name| session.environment.get(name)).map_err(|error| failure(file, &error))?;
    for warning in &config.warnings {
        session.output.warning(warning);
    }
    if !allow_dead_rules {
        config.refuse_dead_denials().map_err(|error| failure(file, &error))?;
    }
    output::line(&format!("{}: configuration is valid", file.display()))
}

fn upgrade(file: &Path, write: bool, session: &Session<'_>) -> Result<(), CliError> {
    let text = config::read(file).map_err(CliError::plain)?;
    let upgraded =
        Config::upgrade(&text, &|name| session.environment.get(name)).map_err(|error| failure(file, &error))?;
    for change in &upgraded.changes {
        output::note(change);
    }
    if !write {
        return output::print(&upgraded.text);
    }
    if upgraded.changes.is_empty() {
        return output::line(&format!("{}: is up to date", file.display()));
    }
    let old = replace(file, &text, &upgraded.text).map_err(|error| CliError::file("write", file, &error))?;
    output::line(&format!("{}: upgraded; the old file is {}", file.display(), old.display()))
}

/// Keeps the old file next to the new one, under a name that no other old one has.
fn replace(file: &Path, old: &str, new: &str) -> io::Result<PathBuf> {
    let new = Successor::of(file, new.as_bytes(), 0o600, 0)?;
    let names = std::iter::once(".old".to_owned()).chain((2..100).map(|number| format!(".old.{number}")));
    let old = Successor::of(file, old.as_bytes(), 0o600, 0)?.put_aside(names)?;
    new.put().map(|()| old)
}

fn failure(file: &Path, error: &dyn std::fmt::Display) -> CliError {
    CliError::message(format!("{}: {error}", file.display()))
}
