//! `kestack completion`

use clap::{Args, Command, CommandFactory as _, ValueEnum};
use clap_complete::{generate, shells};
use clap_complete_nushell::Nushell;

use super::Cli;
use super::output::{self, Output};
use crate::error::Error;

#[derive(Debug, Args)]
pub(super) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The shells that there are scripts for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Nushell,
    Powershell,
    Zsh,
}

impl Shell {
    fn script(self, command: &mut Command) -> Vec<u8> {
        let (mut script, name) = (Vec::new(), command.get_name().to_owned());
        match self {
            Self::Bash => generate(shells::Bash, command, name, &mut script),
            Self::Elvish => generate(shells::Elvish, command, name, &mut script),
            Self::Fish => generate(shells::Fish, command, name, &mut script),
            Self::Nushell => generate(Nushell, command, name, &mut script),
            Self::Powershell => generate(shells::PowerShell, command, name, &mut script),
            Self::Zsh => generate(shells::Zsh, command, name, &mut script),
        }
        script
    }
}

impl Completion {
    pub(super) fn run(&self, _: &Output) -> Result<(), Error> {
        output::raw(&self.shell.script(&mut Cli::command()))
    }
}
