//! `kestack completion`

use clap::{Args, CommandFactory as _};
use kes_server::completion::Shell;

use super::Cli;
use super::output::{self, Output};
use crate::error::Error;

#[derive(Debug, Args)]
pub(super) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(super) fn run(&self, _: &Output) -> Result<(), Error> {
        output::raw(&self.shell.script(&mut Cli::command()))
    }
}
