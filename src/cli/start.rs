//! `kestack start`

use clap::Args;

use super::Globals;
use super::output::Output;
use super::session::{CHANGE, Opened};
use super::up::Up;
use crate::error::Error;

#[derive(Debug, Args)]
pub(super) struct Start {}

impl Start {
    /// Takes the steps of `up`, so that keys are checked and nothing is started that is not as the manifest says; only a
    /// stack that was never brought up is refused.
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let opened = Opened::of(globals, CHANGE).await?;
        if !opened.options.layout().admin_key().exists() {
            return Err(Error::NotRunning(opened.options.manifest.name.to_string()));
        }
        let reached = opened.connect().await?;
        reached.recover().await?;
        Up::default().bring_up(&reached, output).await
    }
}
