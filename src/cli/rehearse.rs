//! `kestack import --rehearse`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::BinaryBytes;

use super::output::{Output, span};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::rehearse::{self, Report, Request};
use crate::operate::session::environment;
use crate::transfer::import::Found;

/// Objects of each end of a key that are read.
const SAMPLE: u16 = 3;

#[derive(Debug, Args)]
pub(super) struct Rehearsal {
    /// Write nothing: try keystore, keys, policy and a MinIO on a clone of the drive, and say whether the import can go ahead
    #[arg(long)]
    rehearse: bool,
    /// The drive, or a snapshot of it that is mounted [default: where the source says]
    #[arg(long, value_name = "DIR", requires = "rehearse")]
    drive: Option<PathBuf>,
    /// The folder of the keys [default: where the source says]
    #[arg(long, value_name = "DIR", requires = "rehearse")]
    keys: Option<PathBuf>,
    /// Read this many of the oldest and of the newest versions under each key [default: 3]
    #[arg(long, value_name = "VERSIONS", requires = "rehearse", value_parser = clap::value_parser!(u16).range(1..))]
    sample: Option<u16>,
    /// Folder for the clone of the drive [default: near the drive, on whose disk most of it is shared]
    #[arg(long, value_name = "DIR", requires = "rehearse")]
    work_dir: Option<PathBuf>,
}

impl Rehearsal {
    /// True if nothing is to be imported yet.
    pub(super) fn is_wanted(&self) -> bool {
        self.rehearse
    }

    /// Rehearses the import of a deployment that was found at `source`, into the folder `output`.
    pub(super) async fn run(
        &self,
        mut found: Found,
        (source, folder): (&Path, &Path),
        output: &Output,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        found.take_from(self.drive.as_deref(), self.keys.as_deref())?;
        let deployment = found.rehearsal((source, folder), &environment)?;
        let request = Request { sample: self.sample.unwrap_or(SAMPLE).into(), work: self.work_dir.clone() };
        let report = Box::pin(rehearse::rehearse(&deployment, &request, interrupt)).await?;
        output.result(&report, human)?;
        if report.go { Ok(()) } else { Err(Error::Verification(no_go(&report))) }
    }
}

fn human(report: &Report) -> String {
    let mut text = String::new();
    for claim in &report.claims {
        let mark = if claim.proven { "✓" } else { "✗" };
        let _ = writeln!(text, "{mark} {}: {}\n    {}", claim.about, claim.claim, claim.seen);
    }
    for note in &report.notes {
        let _ = writeln!(text, "note: {note}");
    }
    for limit in &report.not_covered {
        let _ = writeln!(text, "not covered: {limit}");
    }
    if let Some(clone) = &report.clone {
        let (method, folder, took) = (clone.method, clone.folder.display(), BinaryBytes(clone.bytes));
        let _ = writeln!(text, "cloned '{}' in '{folder}' ({method}), which took {took}", report.drive.display());
    }
    let (time, claims) = (span(report.milliseconds), report.claims.len());
    let end = match report.reasons.len() {
        0 => format!("go: '{}' can be imported", report.name),
        1 => format!("NO-GO: 1 of {claims} claims is not true"),
        count => format!("NO-GO: {count} of {claims} claims are not true"),
    };
    let _ = write!(text, "{end}; {time}; nothing was changed");
    text
}

fn no_go(report: &Report) -> String {
    let head = format!("no-go: '{}' would not serve its data", report.name);
    let next = "nothing was changed; correct this, then rehearse again".to_owned();
    [head].into_iter().chain(report.reasons.iter().cloned()).chain([next]).collect::<Vec<_>>().join("\n  ")
}
