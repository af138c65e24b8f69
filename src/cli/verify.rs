//! `kestack verify`

use std::fmt::Write as _;

use clap::Args;

use super::Globals;
use super::evidence::{Evidence as Files, after};
use super::output::Output;
use super::session::{FAULT, Session};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::evidence::{self, Versions};
use crate::operate::trials::{self, Trials};
use crate::operate::verify::{self, Evidence, Findings, Report};

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Bucket to write the test object to [default: each bucket of the manifest that encrypts]
    #[arg(short, long)]
    bucket: Option<String>,
    /// Also cause all faults of `kestack chaos` under reads and writes, and check the data; takes half a minute
    #[arg(long, alias = "drill")]
    faults: bool,
    /// Seed for the moments of the faults, to repeat an earlier one [default: a random one]
    #[arg(long, requires = "faults")]
    seed: Option<u64>,
    #[command(flatten)]
    files: Files,
}

impl Verify {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let targets = self.files.targets()?;
        let session = interrupt.ends(Session::running(globals, FAULT)).await?;
        let (stack, started) = (&session.stack, evidence::now());
        let versions = if targets.are_wanted() { Some(Versions::of(stack, &session.context).await) } else { None };
        let found = self.prove(&session, interrupt).await;
        let written = versions.map_or(Ok(()), |versions| {
            let (only, found) = (self.bucket.as_deref(), found.as_ref().map(|(report, _)| report));
            targets.write(&evidence::of_proof(stack, only, versions, started, found))
        });
        let (report, failures) = match found {
            Ok(found) => found,
            Err(error) => return Err(after(written, error)),
        };
        let in_clear = stack.manifest.buckets.iter().filter(|bucket| !bucket.encrypts());
        let in_clear: Vec<_> = in_clear.map(|bucket| bucket.name.to_string()).collect();
        output.result(&report, |report| self.human(report, &in_clear))?;
        if report.proven { written } else { Err(after(written, Error::Verification(failures))) }
    }

    /// What was found, and what was not proven.
    async fn prove(&self, session: &Session, interrupt: &Interrupt) -> Result<(Report, String), Error> {
        let (stack, context) = (&session.stack, &session.context);
        let findings = verify::stack(stack, context, self.bucket.as_deref(), interrupt).await?;
        let faults = match findings.proofs.first().filter(|_| self.faults) {
            Some(first) => Some(self.trials(session, &first.bucket, interrupt).await?),
            None => None,
        };
        let failures = failures(&findings, faults.as_ref());
        Ok((Report::new(stack.manifest.name.to_string(), findings, faults), failures))
    }

    async fn trials(&self, session: &Session, bucket: &str, interrupt: &Interrupt) -> Result<Trials, Error> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
        let trials = trials::all(&session.stack, &session.context, bucket, seed, interrupt).await?;
        Ok(Trials { seed, trials })
    }

    fn human(&self, report: &Report, in_clear: &[String]) -> String {
        let mut text = listed(report);
        let end = match &self.bucket {
            _ if !report.proven => "NOT proven".into(),
            None if in_clear.is_empty() => "proven: this stack encrypts".into(),
            None => format!(
                "proven: this stack encrypts, except for buckets that are declared to store in clear: {}",
                in_clear.join(", ")
            ),
            Some(bucket) => format!("proven: bucket '{bucket}' encrypts"),
        };
        text.push_str(&end);
        text
    }
}

fn failures(findings: &Findings, faults: Option<&Trials>) -> String {
    let trials = faults.iter().flat_map(|faults| &faults.trials).flat_map(|trial| {
        let failed = trial.evidence.iter().filter(|evidence| !evidence.proven);
        failed.map(|evidence| format!("{}: not true: {}", trial.fault, evidence.claim))
    });
    findings.failures().chain(trials).collect::<Vec<_>>().join("; ")
}

fn listed(report: &Report) -> String {
    let mut text = String::new();
    for proof in &report.verdicts {
        let _ = writeln!(text, "bucket '{}'", proof.bucket);
        list(&mut text, &proof.evidence);
    }
    if let Some(faults) = &report.faults {
        let _ = writeln!(text, "faults, seed {}", faults.seed);
        for trial in &faults.trials {
            let _ = match &trial.not_here {
                Some(why) => writeln!(text, "{}: not possible here: {why}", trial.fault),
                None => writeln!(text, "{}", trial.fault),
            };
            list(&mut text, &trial.evidence);
        }
    }
    for bucket in &report.exposed_buckets {
        let _ = writeln!(text, "bucket '{bucket}'\n  ✗ new objects are encrypted\n      the bucket has no encryption");
    }
    text
}

fn list(text: &mut String, evidence: &[Evidence]) {
    for evidence in evidence {
        let mark = if evidence.proven { "✓" } else { "✗" };
        let _ = writeln!(text, "  {mark} {}\n      {}", evidence.claim, evidence.seen);
    }
}
