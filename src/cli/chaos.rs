//! `kestack chaos`

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::Globals;
use super::output::{self, Output, span as shown};
use super::session::{self, FAULT, Intent, Opened, Session};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::chaos::{self, Fault, Report};

#[derive(Debug, Subcommand)]
pub(super) enum Chaos {
    /// Stop KES
    KesDown(Span),
    /// Pause KES most of the time, at moments that the seed decides
    KesSlow(Span),
    /// Let KES refuse all requests of MinIO
    KesDeny(Span),
    /// Stop and start KES, at moments that the seed decides
    KesFlap(Span),
    /// Let KES read keys, but not create or remove them (fs keystore)
    KeystoreReadonly(Span),
    /// Let KES write nothing of a key, as on a full disk (fs keystore)
    KeystoreFull(Span),
    /// Let KES present a certificate that expired yesterday
    CertExpired(Span),
    /// End the active fault now, also one that an interrupted chaos left
    Heal,
}

#[derive(Debug, Clone, Args)]
pub(super) struct Span {
    /// How long it lasts, such as 10s or 2m; Ctrl-C ends it earlier
    #[arg(long = "for", value_name = "DURATION", default_value = "10s", value_parser = session::duration)]
    time: Duration,
    /// Seed for the moments, to repeat an earlier run [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
}

impl Chaos {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let Some((fault, span)) = self.asked() else { return interrupt.ends(heal(globals, output)).await };
        let session = interrupt.ends(Session::running(globals, FAULT)).await?;
        let (stack, context) = (&session.stack, &session.context);
        let seed = span.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
        if !output.json() && !output.is_quiet() {
            output::note(&format!("{fault} for {}, seed {seed}; Ctrl-C ends it", shown(span.time.as_millis())));
        }
        let start = Instant::now();
        let played = interrupt.ends(chaos::play(stack, context, fault, seed, span.time)).await;
        let (lasted, healing) = (start.elapsed(), Instant::now());
        chaos::heal(stack, context).await?;
        played?;
        let report = Report {
            fault: Some(fault),
            seed: Some(seed),
            milliseconds: lasted.as_millis(),
            healed_after_milliseconds: healing.elapsed().as_millis(),
        };
        output.done(&report, human)?;
        Ok(())
    }

    fn asked(&self) -> Option<(Fault, &Span)> {
        Some(match self {
            Self::KesDown(span) => (Fault::KesDown, span),
            Self::KesSlow(span) => (Fault::KesSlow, span),
            Self::KesDeny(span) => (Fault::KesDeny, span),
            Self::KesFlap(span) => (Fault::KesFlap, span),
            Self::KeystoreReadonly(span) => (Fault::KeystoreReadonly, span),
            Self::KeystoreFull(span) => (Fault::KeystoreFull, span),
            Self::CertExpired(span) => (Fault::CertExpired, span),
            Self::Heal => return None,
        })
    }
}

async fn heal(globals: &Globals, output: &Output) -> Result<(), Error> {
    let options = Opened::of(globals, Intent::Share).await?.options;
    output.done(&chaos::end_any(options, None).await?, human)
}

fn human(report: &Report) -> String {
    let Some(fault) = report.fault else { return "nothing to heal".to_owned() };
    let lasted = if report.seed.is_some() { format!(" lasted {},", shown(report.milliseconds)) } else { String::new() };
    format!("{fault}{lasted} healed after {}", shown(report.healed_after_milliseconds))
}
