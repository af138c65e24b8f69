//! `kestack config`

use clap::Subcommand;
use serde_json::json;

use super::Globals;
use super::output::{self, Output};
use super::session::{Intent, Wish};
use crate::error::Error;
use crate::manifest;

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Say whether the manifest is right, with all mistakes at once
    Check,
    /// Print the JSON schema of kestack.yaml, for editors
    Schema,
}

impl Config {
    pub(super) fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        match self {
            Self::Check => {
                let name = Wish::load(globals, Intent::Read)?.manifest.name.to_string();
                output.result(&json!({ "name": name, "valid": true }), |_| "the manifest is right".into())?;
            }
            Self::Schema => output::line(&serde_json::to_string_pretty(&manifest::schema()).unwrap_or_default())?,
        }
        Ok(())
    }
}
