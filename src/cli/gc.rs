//! `kestack gc`

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::Globals;
use super::output::Output;
use super::session::{self, Intent, Known, Reached};
use crate::error::Error;
use crate::sandbox::{Dropped, Sandboxes, Stale};
use crate::teardown::{self, Expired};

#[derive(Debug, Args)]
pub(super) struct Gc {}

#[derive(Serialize)]
struct Report {
    sandboxes: Vec<Dropped>,
    stacks: Vec<Expired>,
}

impl Gc {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let report = Report { sandboxes: sandboxes(globals).await?, stacks: stacks(globals).await? };
        output.result(&report, human);
        Ok(())
    }
}

/// A stack that does not run has no sandbox in anybody's way.
async fn sandboxes(globals: &Globals) -> Result<Vec<Dropped>, Error> {
    let swept = match session::known(globals).await {
        Ok(Known { stack, clients }) => Sandboxes::of(&stack, clients).sweep(Timestamp::now()).await,
        Err(error) => Err(error),
    };
    match swept {
        Err(Error::NotRunning(_)) => Ok(vec![]),
        swept => swept,
    }
}

/// Of all stacks that the engine runs, whatever their folder: nobody comes back to those of a killed test run.
async fn stacks(globals: &Globals) -> Result<Vec<Expired>, Error> {
    let reached = Reached::of(globals, Intent::Read).await?;
    teardown::remove_all_expired(reached.engine().as_ref(), Timestamp::now()).await
}

fn human(report: &Report) -> String {
    let lines: Vec<_> = report
        .sandboxes
        .iter()
        .map(|dropped| match dropped.why {
            Stale::Expired => format!("dropped sandbox '{}': its lease is over", dropped.name),
            Stale::Unfinished => format!("dropped sandbox '{}': it was never finished", dropped.name),
        })
        .chain(report.stacks.iter().map(|stack| {
            format!("removed stack '{}' with its data in {}: its lease is over", stack.name, stack.folder.display())
        }))
        .collect();
    if lines.is_empty() { "nothing to drop".to_owned() } else { lines.join("\n") }
}
