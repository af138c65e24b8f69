//! `kes completion <shell>`

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, CliError, output};

#[derive(Debug, clap::Args)]
pub(super) struct CompletionArguments {
    #[arg(value_name = "shell", value_enum)]
    shell: Shell,
}

pub(super) fn run(arguments: &CompletionArguments) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "kes", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
