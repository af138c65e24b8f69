//! `kestack drill`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use indicatif::BinaryBytes;

use super::Globals;
use super::evidence::{Evidence, after};
use super::output::{Output, span};
use super::session::{Intent, Opened};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::drill::{self, Held, Request};
use crate::operate::evidence::{Document, Loss};
use crate::operate::snapshot::SnapshotName;

/// Names of missing versions that are shown.
const SHOWN: usize = 10;

#[derive(Debug, Args)]
pub(super) struct Drill {
    /// Recover from this snapshot [default: a new one, which is removed afterwards]
    #[arg(long, value_name = "NAME")]
    snapshot: Option<SnapshotName>,
    /// Folder for the copy, which is removed afterwards [default: next to the stack's]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    files: Evidence,
}

impl Drill {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let targets = self.files.targets()?;
        let opened = interrupt.ends(Opened::of(globals, Intent::Read)).await?;
        opened.refuse_exported()?;
        let reached = interrupt.ends(opened.connect()).await?;
        let progress = output.progress(reached.engine().info());
        let request = Request { folder: self.folder.clone(), snapshot: self.snapshot.clone() };
        let write = |document: &Document| targets.write(document);
        let held = Box::pin(drill::drill(reached, &request, interrupt, progress.as_ref(), write)).await;
        drop(progress);
        let Held { document, interrupted, written, removed } = held?;
        output.result(&document, human)?;
        let proven = if document.proven() { Ok(()) } else { Err(Error::Verification(failures(&document))) };
        match interrupted.map_or(proven, Err) {
            Err(error) => Err(after(written, after(removed, error))),
            Ok(()) => match written {
                Err(error) => Err(after(removed, error)),
                Ok(()) => removed,
            },
        }
    }
}

fn human(document: &Document) -> String {
    let mut text = String::new();
    for loss in &document.losses {
        let _ = writeln!(text, "{}", recovered(loss));
        for missing in loss.missing.iter().take(SHOWN) {
            let _ = writeln!(text, "  ✗ {missing}");
        }
    }
    for claim in &document.claims {
        let mark = if claim.proven { "✓" } else { "✗" };
        let _ = writeln!(text, "{mark} {}: {}\n    {}", claim.about, claim.claim, claim.seen);
    }
    for limit in &document.not_covered {
        let _ = writeln!(text, "not covered: {limit}");
    }
    let end = if document.proven() { "proven: this stack can be recovered from its snapshot" } else { "NOT proven" };
    text.push_str(end);
    text
}

fn recovered(loss: &Loss) -> String {
    let age = span(loss.recovery_point_age_milliseconds.into());
    match loss.recovery_milliseconds {
        None => format!("{} lost: NOT recovered", loss.lost),
        Some(time) => format!(
            "{} lost: recovered in {}, as of {age} before the loss; {} versions, {}",
            loss.lost,
            span(time.into()),
            loss.versions,
            BinaryBytes(loss.bytes)
        ),
    }
}

fn failures(document: &Document) -> String {
    let claims = document.claims.iter().filter(|claim| !claim.proven);
    let claims = claims.map(|claim| format!("{}: not true: {}: {}", claim.about, claim.claim, claim.seen));
    claims.chain(document.error.clone()).collect::<Vec<_>>().join("\n  ")
}
