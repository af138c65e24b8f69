//! `kestack config`

use std::path::PathBuf;

use clap::Subcommand;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::{self, Output};
use super::session::{Intent, Options};
use crate::error::Error;
use crate::manifest;
use crate::stack::seed;

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Check the manifest and report all mistakes at once
    Check,
    /// Print the JSON schema of kestack.yaml, for editors
    Schema,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Checked {
    /// Name of the stack.
    name: String,
    /// The file that was checked.
    file: PathBuf,
    /// True: a file with mistakes is an error.
    valid: bool,
}

impl Config {
    pub(super) fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        match self {
            Self::Check => {
                let options = Options::load(globals, Intent::Read)?;
                let file = options.path.ok_or_else(|| Error::Usage {
                    what: "there is no kestack.yaml in this folder or in those above it".into(),
                    hint: "name one with `--file`, or write one with `kestack init`; without it the defaults apply"
                        .into(),
                })?;
                seed::check(&options.manifest.seed)?;
                let checked = Checked { name: options.manifest.name.to_string(), file, valid: true };
                output.result(&checked, |checked| {
                    format!("'{}' is valid; it describes stack '{}'", checked.file.display(), checked.name)
                })?;
            }
            Self::Schema => output::line(&serde_json::to_string_pretty(&manifest::schema()).unwrap_or_default())?,
        }
        Ok(())
    }
}
