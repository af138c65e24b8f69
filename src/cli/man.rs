//! `kestack man`: the manual pages, made from the same descriptions as the help.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use super::{Cli, output};
use crate::error::Error;

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Folder for one page per verb [default: the page of `kestack` is printed]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Man {
    pub(super) fn run(&self) -> Result<(), Error> {
        let Some(folder) = &self.folder else {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(Error::Output)?;
            return output::raw(&page);
        };
        std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        clap_mangen::generate_to(Cli::command(), folder).map_err(Error::file("write to", folder))
    }
}
