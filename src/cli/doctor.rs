//! `kestack doctor`

use std::fmt::Write as _;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::Output;
use super::session::{Intent, Reached, environment, keystore_environment};
use crate::error::Error;
use crate::operate::doctor::{self, Finding, State};

#[derive(Debug, Args)]
pub(super) struct Doctor {}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// Name of the stack.
    name: String,
    /// False if the stack cannot run as it is.
    healthy: bool,
    /// Findings in the order in which they were made.
    findings: Vec<Finding>,
}

impl Doctor {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let reached = Reached::of(globals, Intent::Read).await?;
        let (manifest, base) = (&reached.options.manifest, &reached.options.base);
        let keystores = keystore_environment(manifest);
        let findings = doctor::examine(manifest, base, reached.engine().as_ref(), &environment, keystores).await?;
        let healthy = !findings.iter().any(Finding::is_bad);
        output.result(&Report { name: manifest.name.to_string(), healthy, findings }, human)?;
        if healthy {
            return Ok(());
        }
        Err(Error::Environment {
            what: format!("stack '{}' cannot run as it is", manifest.name),
            hint: "follow the advice above, then run `kestack doctor` again".into(),
        })
    }
}

fn human(report: &Report) -> String {
    let mut text = format!("stack '{}'\n", report.name);
    for Finding { what, state, seen, advice } in &report.findings {
        let mark = match state {
            State::Good => "ok  ",
            State::Warning => "WARN",
            State::Bad => "BAD ",
        };
        let _ = writeln!(text, "  {mark} {what:<12} {seen}");
        if let Some(advice) = advice {
            let _ = writeln!(text, "       {:<12} → {}", "", advice.replace('\n', "\n                      "));
        }
    }
    text
}
