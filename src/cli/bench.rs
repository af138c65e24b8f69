//! `kestack bench`

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::Globals;
use super::output::{Output, table};
use super::session::{self, FAULT, Session};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::bench::{self, Plan, Report};

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Sizes of objects, such as 4KiB,1MiB
    #[arg(long = "size", value_name = "SIZE", value_delimiter = ',', default_value = "4KiB,1MiB", value_parser = bench::size)]
    sizes: Vec<usize>,
    /// How many clients work at a time
    #[arg(long, value_name = "NUMBER", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=i64::from(bench::CLIENTS)))]
    clients: u16,
    /// How long each size is measured, after a warm-up; Ctrl-C ends it earlier
    #[arg(long = "for", value_name = "DURATION", default_value = "20s", value_parser = time)]
    time: Duration,
}

impl Bench {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let plan = Plan::new(self.sizes.clone(), self.clients, self.time)?;
        let session = interrupt.ends(Session::running(globals, FAULT)).await?;
        let report = bench::bench(&session.stack, &session.context, session.pod.as_ref(), &plan, interrupt).await?;
        output.result(&report, human)
    }
}

fn time(text: &str) -> Result<Duration, String> {
    bench::time(session::duration(text)?)
}

fn human(report: &Report) -> String {
    let rows: Vec<_> = report.figures.iter().map(|figures| figures.cells().to_vec()).collect();
    let header = [
        "size",
        "work",
        "encryption",
        "objects/s",
        "spread",
        "MB/s",
        "p50 ms",
        "p99 ms",
        "MinIO cpu",
        "KES cpu",
        "of clear",
    ];
    let mut text = table(&header, &rows);
    let Report { clients, rounds, processors, .. } = report;
    let _ = write!(
        text,
        "\nmedians of {rounds} rounds, {clients} clients, {processors} processors for clients and servers; cpu: processor time \
         for an object"
    );
    if let Some(why) = &report.no_comparison {
        let _ = write!(text, "\n{why}");
    }
    match &report.noise {
        Some(why) => drop(write!(text, "\nno verdict: {why}")),
        None => drop(write!(text, "\nthe machine was quiet enough for a verdict")),
    }
    text
}
