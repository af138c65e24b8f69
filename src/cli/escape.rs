//! `kestack escape`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use indicatif::BinaryBytes;

use super::Globals;
use super::output::{Output, span};
use super::session::{CHANGE, Session};
use crate::data::drive::with_version;
use crate::engine::process::own_program;
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::escape::{self, Compared, Difference, Report, Request};

/// Differences that an error shows; the report has more of them.
const SHOWN: usize = 10;

#[derive(Debug, Args)]
pub(super) struct Escape {
    /// Write the key, as the line `MINIO_KMS_SECRET_KEY=NAME:BASE64`, to a new file that only you may read, if the proof
    /// succeeds: whoever has that file can read all data
    #[arg(long, value_name = "FILE")]
    write_key_in_clear: Option<PathBuf>,
    /// Read this many versions, chosen at random, instead of all
    #[arg(long, value_name = "VERSIONS", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
    /// Folder for the clone of the drive [default: the stack's own, on whose disk most of it is shared]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

impl Escape {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        if let Some(file) = &self.write_key_in_clear {
            escape::check_place(file)?;
        }
        let session = interrupt.ends(Session::running(globals, CHANGE)).await?;
        let request = Request {
            write: self.write_key_in_clear.clone(),
            sample: self.sample,
            work: self.work_dir.clone(),
            program: own_program().map_err(Error::file("find", "/proc/self/exe"))?,
        };
        let report = Box::pin(escape::escape(&session, &request, interrupt)).await?;
        output.result(&report, human)?;
        if report.proven { Ok(()) } else { Err(Error::Verification(differences(&report.compared))) }
    }
}

fn human(report: &Report) -> String {
    let Compared { same, bytes, changed_meanwhile, client_keys, .. } = &report.compared;
    let of = if report.sample.is_some() { ", chosen at random" } else { "" };
    let mut text = format!(
        "key '{}': {same} versions of {}{of} are the same without KES, and {} files of MinIO open; {}",
        report.key,
        BinaryBytes(*bytes),
        report.minio_files,
        span(report.milliseconds)
    );
    let _ = write!(
        text,
        "\n  read by {} on a clone ({}); MinIO was paused for {}",
        report.minio,
        report.clone,
        span(report.pause_milliseconds)
    );
    if *changed_meanwhile > 0 {
        let _ = write!(text, "\n  changed by clients meanwhile, not compared: {changed_meanwhile}");
    }
    if *client_keys > 0 {
        let _ = write!(text, "\n  under keys of clients (SSE-C), which need no KES: {client_keys}");
    }
    text.push_str(match (report.proven, report.sample) {
        (false, _) => "\nNOT proven",
        (true, None) => "\nproven: MinIO reads this data with the key in its environment and without KES",
        (true, Some(_)) => "\nproven for these: MinIO reads them with the key in its environment and without KES",
    });
    match &report.written {
        Some(file) => {
            let _ = write!(text, "\nthe key is in '{}', in clear: whoever has it can read all data", file.display());
        }
        None if report.proven => text.push_str("\nthe key was not written; --write-key-in-clear FILE does that"),
        None => {}
    }
    text
}

fn differences(compared: &Compared) -> String {
    let count = compared.different.len() as u64 + compared.more_different;
    if count == 0 {
        return "nothing under the key could be compared: clients changed it meanwhile\n  run the same command again; no key was written".into();
    }
    let mut text = format!("{count} versions are not the same without KES");
    for Difference { bucket, object, version, reason } in compared.different.iter().take(SHOWN) {
        let name = with_version(&format!("'{bucket}/{object}'"), version.as_deref());
        let _ = write!(text, "\n  {name}: {reason}");
    }
    text.push_str("\n  no key was written; go on with KES");
    text
}
