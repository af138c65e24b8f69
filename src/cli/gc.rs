//! `kestack gc`

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::Globals;
use super::output::Output;
use super::session::{self, FAULT, Intent, Known, Opened, Options, Reached, Session};
use crate::error::Error;
use crate::operate::bench;
use crate::operate::canary;
use crate::operate::clone;
use crate::operate::drill::{self, Swept};
use crate::operate::present::present;
use crate::operate::sandbox::{Dropped, Sandboxes, Stale};
use crate::operate::snapshot::SnapshotName;
use crate::operate::teardown::{self, Expired};
use crate::servers::s3::S3Error;

#[derive(Debug, Args)]
pub(super) struct Gc {}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// Sandboxes that were dropped.
    sandboxes: Vec<Dropped>,
    /// Stacks that were removed.
    stacks: Vec<Expired>,
    /// How many objects of interrupted proofs were removed.
    canaries: usize,
    /// How many buckets of interrupted measurements were removed.
    benches: usize,
    /// Folders with copies of interrupted drills that were removed.
    drills: Vec<PathBuf>,
    /// Snapshots of interrupted drills that were removed.
    snapshots: Vec<SnapshotName>,
}

/// How long a proof that is under way may keep us: what it wrote is not abandoned.
const GLANCE: Duration = Duration::from_secs(1);

impl Gc {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let options = Options::load(globals, Intent::Read)?;
        clone::clear_abandoned(&options.layout());
        // before stacks whose lease is over: a copy is one of them
        let Swept { copies, snapshots } = Box::pin(drill::sweep(&options)).await?;
        let (sandboxes, (canaries, benches)) = (sandboxes(globals).await?, leftovers(globals).await?);
        let stacks = stacks(globals).await?;
        let report = Report { sandboxes, stacks, canaries, benches, drills: copies, snapshots };
        output.done(&report, human)?;
        Ok(())
    }
}

/// A stack that does not run has no sandbox in anybody's way.
async fn sandboxes(globals: &Globals) -> Result<Vec<Dropped>, Error> {
    let swept = match session::known(globals, Intent::Read).await {
        Ok(Known { stack, clients }) => Sandboxes::of(&stack, clients).sweep(Timestamp::now()).await,
        Err(error) => Err(error),
    };
    match swept {
        Err(error) if is_away(&error) => Ok(vec![]),
        swept => swept,
    }
}

/// True if the stack does not run, or was stopped just now: an engine also does what a killed call asked of it.
fn is_away(error: &Error) -> bool {
    match error {
        Error::NotRunning(_) => true,
        Error::S3(error) => error.is_connection(),
        _ => false,
    }
}

/// Removes what killed proofs left in the stack's buckets, and the buckets of killed measurements. Says how many objects and
/// buckets that were.
async fn leftovers(globals: &Globals) -> Result<(usize, usize), Error> {
    let Ok(opened) = timeout(GLANCE, Opened::of(globals, FAULT)).await else { return Ok((0, 0)) };
    let session = match opened?.connect().await?.session().await {
        Ok(session) => session.require_running().await,
        Err(error) => Err(error),
    };
    let removed = match session {
        Ok(session) => removed(&session).await,
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if is_away(&error) => Ok((0, 0)),
        removed => removed,
    }
}

async fn removed(session: &Session) -> Result<(usize, usize), Error> {
    let s3 = &session.context.s3;
    let benches = bench::sweep(&session.stack.layout, s3).await?.len();
    let swept =
        present(s3.list_buckets().await?, S3Error::is_no_bucket, async |bucket| canary::sweep(s3, &bucket).await);
    Ok((swept.await?.into_iter().sum(), benches))
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
        .flat_map(|dropped| {
            let why = match dropped.why {
                Stale::Expired => "its lease is over",
                Stale::Unfinished => "its creation was interrupted",
            };
            let kept = dropped.kept.iter().map(|kept| format!("  {kept}"));
            [format!("dropped sandbox '{}': {why}", dropped.name)].into_iter().chain(kept)
        })
        .chain(report.stacks.iter().map(|stack| {
            format!("removed stack '{}' with its data in {}: its lease is over", stack.name, stack.folder.display())
        }))
        .chain(
            (report.canaries > 0)
                .then(|| format!("removed {} objects that interrupted proofs had left", report.canaries)),
        )
        .chain(
            (report.benches > 0)
                .then(|| format!("removed {} buckets of an interrupted `kestack bench`", report.benches)),
        )
        .chain(report.drills.iter().map(|folder| {
            format!("removed the copy of the stack in '{}', which an interrupted drill had left", folder.display())
        }))
        .chain(
            report
                .snapshots
                .iter()
                .map(|name| format!("removed snapshot '{name}', which an interrupted drill had left")),
        )
        .collect();
    if lines.is_empty() { "nothing to drop".to_owned() } else { lines.join("\n") }
}
