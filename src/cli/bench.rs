//! `kestack bench`

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::Globals;
use super::output::{Output, table};
use super::session::{self, FAULT, Session};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::bench::{self, Figure, Figures, Plan, Report};

/// Most bytes that all clients may have in memory.
const LARGEST: usize = 256 << 20;
/// The shortest time: turns that are shorter say nothing.
const SHORTEST: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Sizes of objects, such as 4KiB,1MiB
    #[arg(long = "size", value_name = "SIZE", value_delimiter = ',', default_value = "4KiB,1MiB", value_parser = size)]
    sizes: Vec<usize>,
    /// How many clients work at a time
    #[arg(long, value_name = "NUMBER", default_value = "16", value_parser = clap::value_parser!(u16).range(1..=512))]
    clients: u16,
    /// How long each size is measured, after a warm-up; Ctrl-C ends it earlier
    #[arg(long = "for", value_name = "DURATION", default_value = "20s", value_parser = time)]
    time: Duration,
}

impl Bench {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let plan = self.plan()?;
        let session = interrupt.ends(Session::running(globals, FAULT)).await?;
        let report = bench::bench(&session.stack, &session.context, session.pod.as_ref(), &plan, interrupt).await?;
        output.result(&report, human)
    }

    fn plan(&self) -> Result<Plan, Error> {
        let (sizes, clients) = (self.sizes.clone(), usize::from(self.clients));
        let largest = sizes.iter().copied().max().unwrap_or_default();
        if largest.saturating_mul(clients) > LARGEST {
            return Err(Error::Usage {
                what: format!("{clients} clients with objects of {} need too much memory", bench::bytes(largest)),
                hint: format!(
                    "together they may have {}: take smaller objects or fewer clients",
                    bench::bytes(LARGEST)
                ),
            });
        }
        Ok(Plan { sizes, clients, time: self.time })
    }
}

/// A size on the command line: `512`, `4KiB`, `1MiB`.
fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|sign: char| !sign.is_ascii_digit());
    let factor = match text.get(digits.len()..).map(str::to_ascii_lowercase).as_deref() {
        Some("" | "b") => Some(1),
        Some("k" | "kib") => Some(1 << 10),
        Some("m" | "mib") => Some(1 << 20),
        _ => None,
    };
    let size = digits.parse::<usize>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    size.filter(|size| (1..=LARGEST).contains(size))
        .ok_or_else(|| format!("'{text}' is not a size from 1 to {}: write 512, 4KiB or 1MiB", bench::bytes(LARGEST)))
}

fn time(text: &str) -> Result<Duration, String> {
    let time = session::duration(text)?;
    if (SHORTEST..=Duration::from_secs(24 * 60 * 60)).contains(&time) { Ok(time) } else { Err("from 3s to 24h".into()) }
}

fn human(report: &Report) -> String {
    let rows: Vec<_> = report.figures.iter().map(row).collect();
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

fn row(figures: &Figures) -> Vec<String> {
    let cpu = |figure: Option<Figure>| figure.map_or("-".into(), |figure| format!("{:.0} µs", figure.median));
    let rate = figures.objects_per_second;
    vec![
        bench::bytes(figures.size),
        figures.work.to_string(),
        figures.encryption.to_string(),
        format!("{:.0}", rate.median),
        format!("{:.0}-{:.0}", rate.lowest, rate.highest),
        format!("{:.1}", figures.megabytes_per_second.median),
        format!("{:.2}", figures.p50_milliseconds.median),
        format!("{:.2}", figures.p99_milliseconds.median),
        cpu(figures.minio_microseconds),
        cpu(figures.kes_microseconds),
        figures.percent.map_or("-".into(), |percent| format!("{percent:.0} %")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_units() {
        for (text, bytes) in [("1", 1), ("512b", 512), ("4KiB", 4096), ("4k", 4096), ("1MiB", 1 << 20), ("2m", 2 << 20)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "0", "-1", "KiB", "1GiB", "4 KiB", "99999999999999999999", "18446744073709551615k", "1é"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn clients_and_sizes_fit_into_memory() {
        let bench = |sizes: &[usize], clients| Bench { sizes: sizes.to_vec(), clients, time: SHORTEST };
        assert!(bench(&[4096, 16 << 20], 16).plan().is_ok());
        let refused = bench(&[4096, 16 << 20], 17).plan().unwrap_err().to_string();
        assert!(refused.starts_with("17 clients with objects of 16MiB"), "{refused}");
        assert!(time("2s").is_err() && time("25h").is_err() && time("3s").is_ok());
    }
}
