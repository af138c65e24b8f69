//! `kestack status`

use std::fmt::Write as _;

use clap::Args;

use super::Globals;
use super::output::Output;
use super::session::{Intent, Session};
use crate::error::Error;
use crate::manifest::EngineKind;
use crate::operate::locked;
use crate::operate::status::{self as health, State};

/// Said of a bucket that is not encrypted, although kestack.yaml does not declare it so.
const EXPOSED: &str = "  WARN: it is not encrypted, and kestack.yaml does not allow that (`kestack doctor`)";

#[derive(Debug, Args)]
pub(super) struct Status {}

impl Status {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let session = Session::of(globals, Intent::Read).await?;
        let status = health::status(&session.stack, &session.context, session.pod.as_ref()).await?;
        output.result(&status, human)?;
        match (status.state, status.fault) {
            (State::Running, _) => Ok(()),
            (State::Stopped, _) => Err(Error::NotRunning(status.name)),
            (State::Degraded, Some(fault)) => Err(Error::Faulty { stack: status.name, fault: fault.advice }),
            (State::Degraded, None) => Err(Error::Unhealthy(status.name)),
        }
    }
}

fn human(status: &health::Status) -> String {
    let mut text = format!("stack '{}' {} on {}\n", status.name, status.state, status.engine);
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<12} {value}");
    };
    if let Some(fault) = &status.fault {
        row("fault", fault.advice.clone());
    }
    row("folder", status.folder.clone());
    let server = if status.engine.starts_with(EngineKind::Process.word()) { "process" } else { "container" };
    for (name, state) in &status.containers {
        row(server, format!("{name}  {state}"));
    }
    for (name, endpoint) in &status.endpoints {
        let state = match (&endpoint.problem, endpoint.ready) {
            (Some(problem), _) => format!("not ready: {problem}"),
            (None, true) => "ready".into(),
            (None, false) => "not ready".into(),
        };
        row(name, format!("{}  {state}", endpoint.url));
    }
    if let Some(interface) = &status.interface {
        let state = if interface.listens { "listens" } else { "does not listen: `kestack up` starts it again" };
        row("interface", format!("{}  {state}", interface.url));
    }
    if let Some(kib) = status.kes_locked_kib {
        row("memory", locked::text(kib));
    }
    row("keys", status.keys.join(", "));
    for (bucket, encryption) in &status.buckets {
        let exposed = if status.exposed_buckets.contains(bucket) { EXPOSED } else { "" };
        row("bucket", format!("{bucket}  {encryption}{exposed}"));
    }
    for certificate in &status.certificates {
        row("certificate", certificate.to_string());
    }
    text
}
