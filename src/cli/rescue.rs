//! `kestack rescue`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use indicatif::BinaryBytes;

use super::Globals;
use super::output::{Output, span};
use super::session::{CHANGE, Opened};
use crate::data::drive::with_version;
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::rescue::{self, Report, Request};
use crate::operate::snapshot::SnapshotName;

/// Versions that an error shows; the report has more of them.
const SHOWN: usize = 10;

#[derive(Debug, Args)]
pub(super) struct Rescue {
    /// An empty folder, or one that does not exist: objects in clear go there, readable only by you
    #[arg(value_name = "DEST")]
    destination: PathBuf,
    /// Also write earlier versions
    #[arg(long)]
    versions: bool,
    /// Read a snapshot of the stack instead of its drive
    #[arg(long, value_name = "NAME")]
    snapshot: Option<SnapshotName>,
    /// Folder for the clone of the drive [default: the stack's own, on whose disk most of it is shared]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// MinIO does not run: read its drive also if the engine that the stack is up on does not answer
    #[arg(long, conflicts_with = "snapshot")]
    stopped: bool,
}

impl Rescue {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let opened = interrupt.ends(Opened::of(globals, CHANGE)).await?;
        let request = Request {
            destination: std::path::absolute(&self.destination).map_err(Error::file("find", &self.destination))?,
            snapshot: self.snapshot.clone(),
            versions: self.versions,
            work: self.work_dir.clone(),
            stopped: self.stopped,
        };
        let report = Box::pin(rescue::rescue(opened, &request, interrupt)).await?;
        output.done(&report, human)?;
        match (report.unreadable, report.missing_keys.is_empty()) {
            (0, _) => Ok(()),
            (_, false) => Err(Error::Guard(unreadable(&report))),
            (_, true) => Err(Error::Verification(unreadable(&report))),
        }
    }
}

fn human(report: &Report) -> String {
    let Report { objects, versions, bytes, destination, .. } = report;
    let mut text = format!(
        "{objects} objects and {versions} earlier versions, {} in all, are in '{}'; {}",
        BinaryBytes(*bytes),
        destination.display(),
        span(report.milliseconds)
    );
    if report.odd_names > 0 {
        let _ = write!(text, "\n  {} have names that no file can have: odd-names.jsonl says which", report.odd_names);
    }
    let _ = write!(text, "\n  {} could not be read", report.unreadable);
    text
}

fn unreadable(report: &Report) -> String {
    let mut text = format!("{} versions could not be read", report.unreadable);
    for one in report.first_unreadable.iter().take(SHOWN) {
        let name = with_version(&format!("'{}/{}'", one.bucket, one.object), one.version.as_deref());
        let _ = write!(text, "\n  {name}: {}", one.reason);
    }
    let _ = write!(text, "\n  '{}' has all of them", report.destination.join("unreadable.jsonl").display());
    text
}
