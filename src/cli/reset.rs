//! `kestack reset`

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::Globals;
use super::output::Output;
use super::session::{Session, Wish};
use super::up::Up;
use crate::error::Error;
use crate::{reset, snapshot, teardown};

#[derive(Debug, Args)]
pub(super) struct Reset {
    /// Remove everything, keys too, and bring the stack up anew
    #[arg(long)]
    hard: bool,
    /// In a remote keystore, also remove the keys that this stack made and the manifest does not declare
    #[arg(long, conflicts_with = "hard")]
    keys: bool,
}

#[derive(Serialize)]
struct Report {
    name: String,
    milliseconds: u128,
}

impl Reset {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let start = Instant::now();
        if self.hard {
            hard(globals).await?;
            return Up::default().run(globals, output).await;
        }
        let wish = Wish::load(globals)?;
        let _lock = wish.lock().await?;
        if snapshot::is_pending(&wish.layout()) {
            return Err(Error::NotRunning(wish.manifest.name.to_string()));
        }
        let session = Session::running(globals).await?;
        let progress = output.progress();
        reset::in_place(&session.stack, &session.context, self.keys, progress.as_ref()).await?;
        let name = session.stack.manifest.name.to_string();
        output.result(&Report { name, milliseconds: start.elapsed().as_millis() }, |report| {
            format!("stack '{}' is fresh again after {} ms", report.name, report.milliseconds)
        });
        Ok(())
    }
}

async fn hard(globals: &Globals) -> Result<(), Error> {
    let wish = Wish::load(globals)?;
    let connection = wish.connect().await?;
    let _lock = wish.lock().await?;
    teardown::pod(connection.engine.as_ref(), wish.manifest.name.as_str()).await?;
    teardown::files(&wish.layout(), &mut teardown::Removed::default())
}
