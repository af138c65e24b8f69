//! `kestack verify`

use std::fmt::Write as _;

use clap::Args;

use super::Globals;
use super::output::Output;
use super::session::{FAULT, Session};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::drill::{self, Drill};
use crate::operate::verify::{self, Evidence, Findings, Report};

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Bucket to write the test object to [default: each bucket of the manifest that encrypts]
    #[arg(short, long)]
    bucket: Option<String>,
    /// Also play all faults of `kestack chaos` under reads and writes, and check the data; takes half a minute
    #[arg(long)]
    drill: bool,
    /// Seed for the moments of the drill, to repeat an earlier one [default: a random one]
    #[arg(long, requires = "drill")]
    seed: Option<u64>,
}

impl Verify {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let session = interrupt.ends(Session::running(globals, FAULT)).await?;
        let (stack, context) = (&session.stack, &session.context);
        let findings = verify::stack(stack, context, self.bucket.as_deref(), interrupt).await?;
        let drill = match findings.proofs.first().filter(|_| self.drill) {
            Some(first) => Some(self.drill(&session, &first.bucket, interrupt).await?),
            None => None,
        };
        let failures = failures(&findings, drill.as_ref());
        let report = Report::new(session.stack.manifest.name.to_string(), findings, drill);
        output.result(&report, |report| self.human(report))?;
        if report.proven { Ok(()) } else { Err(Error::Verification(failures)) }
    }

    async fn drill(&self, session: &Session, bucket: &str, interrupt: &Interrupt) -> Result<Drill, Error> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
        let trials = drill::drill(&session.stack, &session.context, bucket, seed, interrupt).await?;
        Ok(Drill { seed, trials })
    }

    fn human(&self, report: &Report) -> String {
        let mut text = listed(report);
        let end = match &self.bucket {
            _ if !report.proven => "NOT proven".into(),
            None => "proven: this stack encrypts".into(),
            Some(bucket) => format!("proven: bucket '{bucket}' encrypts"),
        };
        text.push_str(&end);
        text
    }
}

fn failures(findings: &Findings, drill: Option<&Drill>) -> String {
    let trials = drill.iter().flat_map(|drill| &drill.trials).flat_map(|trial| {
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
    if let Some(drill) = &report.drill {
        let _ = writeln!(text, "drill, seed {}", drill.seed);
        for trial in &drill.trials {
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
