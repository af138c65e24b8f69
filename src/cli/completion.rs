//! `kestack completion`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

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
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "kestack", &mut script);
        output::raw(&script)
    }
}
