//! `kestack verify`

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::Globals;
use super::output::Output;
use super::session::{Session, Wish};
use crate::error::Error;
use crate::verify::{self, Verdict};

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Bucket to write the canary to [default: each bucket of the manifest that encrypts]
    #[arg(short, long)]
    bucket: Option<String>,
}

#[derive(Serialize)]
struct Report {
    name: String,
    proven: bool,
    verdicts: Vec<Verdict>,
}

impl Verify {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let _lock = Wish::load(globals)?.lock().await?;
        let session = Session::running(globals).await?;
        let mut verdicts = Vec::new();
        for bucket in self.buckets(&session)? {
            verdicts.push(verify::verify(&session.stack, &session.context, &bucket).await?);
        }
        let proven = verdicts.iter().all(Verdict::proven);
        let report = Report { name: session.stack.manifest.name.to_string(), proven, verdicts };
        output.result(&report, human);
        if proven { Ok(()) } else { Err(Error::Verification(failures(&report))) }
    }

    fn buckets(&self, session: &Session) -> Result<Vec<String>, Error> {
        if let Some(bucket) = &self.bucket {
            return Ok(vec![bucket.clone()]);
        }
        let declared = &session.stack.manifest.buckets;
        let buckets: Vec<_> =
            declared.iter().filter(|bucket| bucket.encrypts()).map(|bucket| bucket.name.to_string()).collect();
        if buckets.is_empty() {
            return Err(Error::Usage {
                what: "the manifest declares no bucket that encrypts".into(),
                hint: "name one with --bucket".into(),
            });
        }
        Ok(buckets)
    }
}

fn failures(report: &Report) -> String {
    let failed = report.verdicts.iter().flat_map(|verdict| {
        let failed = verdict.evidence.iter().filter(|evidence| !evidence.proven);
        failed.map(|evidence| format!("bucket '{}': not shown: {}", verdict.bucket, evidence.claim))
    });
    failed.collect::<Vec<_>>().join("; ")
}

fn human(report: &Report) -> String {
    let mut text = String::new();
    for verdict in &report.verdicts {
        let _ = writeln!(text, "bucket '{}'", verdict.bucket);
        for evidence in &verdict.evidence {
            let mark = if evidence.proven { "✓" } else { "✗" };
            let _ = writeln!(text, "  {mark} {}\n      {}", evidence.claim, evidence.seen);
        }
    }
    let end = if report.proven { "proven: this stack encrypts" } else { "NOT proven" };
    text + end
}
