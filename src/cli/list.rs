//! `kestack list`

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::{Output, table};
use super::session::{All, Scope};
use crate::error::Error;
use crate::operate::stacks::{Listed, State};

#[derive(Debug, Args)]
pub(super) struct List {}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// All stacks, by name.
    stacks: Vec<Listed>,
    /// Places where kestack looked for an engine and none answers.
    silent: Vec<String>,
}

impl List {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let all = All::of(&Scope::of(globals)?).await?;
        let report = Report { stacks: all.stacks, silent: all.engines.silent };
        output.result(&report, human)?;
        Ok(())
    }
}

fn human(report: &Report) -> String {
    let now = Timestamp::now();
    let rows: Vec<_> = report.stacks.iter().map(|stack| row(stack, now)).collect();
    let mut text = if rows.is_empty() {
        "no stacks".to_owned()
    } else {
        table(&["name", "engine", "state", "ports", "age", "lease", "manifest"], &rows)
    };
    if report.stacks.iter().any(|stack| stack.state == State::Unreachable) {
        for silent in &report.silent {
            let _ = write!(text, "\nno engine answers at {silent}");
        }
    }
    text
}

fn row(stack: &Listed, now: Timestamp) -> Vec<String> {
    let dash = || "-".to_owned();
    let ports: Vec<_> = stack.ports.iter().map(|(server, port)| format!("{server} {port}")).collect();
    let lease =
        stack.expires.map(|end| if end <= now { "over".to_owned() } else { format!("{} left", span(now, end)) });
    vec![
        stack.name.clone(),
        stack.engine.clone().unwrap_or_else(dash),
        stack.state.to_string(),
        if ports.is_empty() { dash() } else { ports.join(", ") },
        stack.created.map_or_else(dash, |created| span(created, now)),
        lease.unwrap_or_else(dash),
        stack.manifest.as_ref().map_or_else(dash, |path| path.display().to_string()),
    ]
}

/// The time between, in its largest unit: `3d`.
fn span(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let fitting = units.into_iter().find(|(length, _)| seconds >= *length);
    fitting.map_or_else(|| format!("{seconds}s"), |(length, unit)| format!("{}{unit}", seconds / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (seconds, text) in [(-1, "0s"), (59, "59s"), (60, "1min"), (7_300, "2h"), (200_000, "2d")] {
            assert_eq!(span(at(0), at(seconds)), text);
        }
    }
}
