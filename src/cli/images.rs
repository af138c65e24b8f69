//! `kestack images`

use std::fmt::Write as _;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::{Output, table};
use super::session::{Intent, Reached, environment};
use crate::error::Error;
use crate::stack::own_pod;
use crate::supply::{self, Item, Standing, Supplies};

#[derive(Debug, Args)]
pub(super) struct Images {}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// Name of the stack.
    name: String,
    /// Engine and its version.
    engine: String,
    #[serde(flatten)]
    inventory: Supplies,
}

impl Images {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let reached = Reached::of(globals, Intent::Read).await?;
        let (options, engine) = (&reached.options, reached.engine().as_ref());
        let pod = own_pod(engine, &options.layout(), options.manifest.name.as_str()).await?;
        let inventory = supply::inventory(&options.manifest, engine, pod.as_ref(), &environment).await?;
        let info = engine.info();
        let report = Report {
            name: options.manifest.name.to_string(),
            engine: format!("{} {}", info.kind, info.version),
            inventory,
        };
        output.result(&report, human)?;
        Ok(())
    }
}

fn human(report: &Report) -> String {
    let rows: Vec<_> = report.inventory.items.iter().map(row).collect();
    let mut text = table(&["for", "state", "flavour", "release", "defects", "size", "sha256", "from"], &rows);
    let mut told = Vec::new();
    for item in report.inventory.items.iter().filter(|item| item.used || item.chosen) {
        let notes = notes(item);
        if !told.contains(&notes) {
            text.push_str(&notes);
            told.push(notes);
        }
    }
    let _ = write!(text, "\nReleases and defects as known on {}.", report.inventory.as_of);
    text
}

fn row(item: &Item) -> Vec<String> {
    let state = match (item.used, item.chosen, item.here) {
        (true, true, _) => "in use",
        (true, false, _) => "in use until `up`",
        (false, true, _) => "next",
        (false, false, true) => "here",
        (false, false, false) => "available",
    };
    let dash = || "-".to_owned();
    let digest = item.digest.as_ref().map(|digest| digest.trim_start_matches("sha256:").chars().take(12).collect());
    vec![
        item.role.to_owned(),
        state.to_owned(),
        item.flavour.map_or_else(dash, |flavour| flavour.to_string()),
        item.release.clone().unwrap_or_else(dash),
        item.defects.as_ref().map_or_else(|| "unknown".to_owned(), |defects| defects.len().to_string()),
        item.size.map_or_else(dash, |size| format!("{} MB", size.div_ceil(1_000_000))),
        digest.unwrap_or_else(dash),
        item.source.clone(),
    ]
}

fn notes(item: &Item) -> String {
    let mut text = String::new();
    let defects = item.defects.as_deref();
    let is_good = defects.is_some_and(<[_]>::is_empty) && item.standing != Some(Standing::Frozen);
    let mark = if is_good { "" } else { "WARN " };
    if let Some(advice) = &item.advice {
        let _ = write!(text, "\n{mark}{}: {advice}", item.role);
    }
    for defect in defects.unwrap_or_default() {
        let _ = write!(text, "\n  {}  {} ({})", defect.id, defect.what, defect.reference);
    }
    text
}
