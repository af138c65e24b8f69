//! `kes completion <shell>`, and the older `kes --auto-completion`.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write as _},
    path::PathBuf,
};

use clap::CommandFactory as _;

use super::{Cli, CliError, output, session::Environment};
use crate::completion::Shell;

/// What the start file of a shell needs; nothing happens where `kes` is no longer installed.
const BASH: &str = "command -v kes >/dev/null && source <(kes completion bash)";
const ZSH: &str = "command -v kes >/dev/null && { autoload -Uz compinit && compinit; source <(kes completion zsh); }";

#[derive(Debug, clap::Args)]
pub(super) struct CompletionArguments {
    #[arg(value_name = "shell", value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionArguments) -> Result<(), CliError> {
    output::print(&String::from_utf8_lossy(&arguments.shell.script(&mut Cli::command())))
}

/// Adds the completion to the start file of the user's shell, once (docs/kes-protocol.md §9).
pub(super) fn install(environment: &Environment) -> Result<(), CliError> {
    let shell = environment.get("SHELL").unwrap_or_default();
    let (file, line) = match shell.rsplit('/').next() {
        Some("bash") => (".bashrc", BASH),
        Some("zsh") => (".zshrc", ZSH),
        _ => {
            let other = "use 'kes completion <shell>' and see the shell's manual";
            return Err(CliError::message(format!("cannot install the completion for SHELL '{shell}': {other}")));
        }
    };
    let home = environment.get("HOME").filter(|home| !home.is_empty());
    let home = home.ok_or_else(|| CliError::message("cannot install the completion: HOME is not set"))?;
    let file = PathBuf::from(home).join(file);
    let text = match fs::read(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(CliError::file("open", &file, &error)),
    };
    if text.split(|byte| *byte == b'\n').any(|known| known == line.as_bytes()) {
        return output::line(&format!("The completion is installed already in {}", file.display()));
    }
    let line = if text.is_empty() || text.ends_with(b"\n") { format!("{line}\n") } else { format!("\n{line}\n") };
    let added =
        OpenOptions::new().append(true).create(true).open(&file).and_then(|mut open| open.write_all(line.as_bytes()));
    added.map_err(|error| CliError::file("write", &file, &error))?;
    output::line(&format!("Added the completion to {}; new shells have it", file.display()))
}
