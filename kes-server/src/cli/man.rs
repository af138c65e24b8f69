//! `kes man`: the manual pages, made from the same descriptions as the help.

use std::{io, path::PathBuf};

use clap::CommandFactory as _;

use super::{Cli, CliError, output};

#[derive(Debug, clap::Args)]
pub(super) struct ManArguments {
    /// Folder for one page per command; without it the page of `kes` is printed
    #[arg(value_name = "folder")]
    folder: Option<PathBuf>,
}

pub(super) fn run(arguments: &ManArguments) -> Result<(), CliError> {
    let command = Cli::command();
    let Some(folder) = &arguments.folder else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page).map_err(CliError::Output)?;
        return output::print(&String::from_utf8_lossy(&page));
    };
    let written = |error: &io::Error| CliError::file("write", folder, error);
    std::fs::create_dir_all(folder).map_err(|error| written(&error))?;
    clap_mangen::generate_to(command, folder).map_err(|error| written(&error))
}
