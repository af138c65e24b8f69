//! `kestack stop`

use std::time::Duration;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::Output;
use super::session::{CHANGE, Session};
use crate::error::Error;
use crate::manifest::EngineKind;
use crate::operate::session::run_by_others;
use crate::resource::interface;

/// How long a server may take to end in good order.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Stop {}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// Name of the stack.
    name: String,
    /// Names of the servers that ran and were stopped.
    stopped: Vec<String>,
}

impl Stop {
    /// MinIO first: it is not to ask a KES that is gone.
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let session = Session::of(globals, CHANGE).await?;
        refuse_others(&session)?;
        interface::end(&session.stack.layout.interface()).await?;
        let minio = session.stack.minio_container();
        let running = session.pod.iter().flat_map(|pod| &pod.containers).filter(|container| container.running);
        let mut stopped: Vec<_> = running.map(|container| container.name.clone()).collect();
        stopped.sort_by_key(|name| *name != minio);
        for name in &stopped {
            session.context.engine.stop_container(name, GRACE).await?;
        }
        let name = session.stack.manifest.name.to_string();
        output.done(&Report { name, stopped }, |report| {
            let state = if report.stopped.is_empty() { "does not run" } else { "is stopped" };
            format!("stack '{}' {state}\nnext:\n  kestack start   starts it again", report.name)
        })
    }
}

/// Refuses a stack that an orchestrator starts and stops.
fn refuse_others(session: &Session) -> Result<(), Error> {
    if session.context.engine.info().kind != EngineKind::Systemd && !session.stack.layout.is_exported() {
        return Ok(());
    }
    Err(run_by_others("stop it with the orchestrator that runs it"))
}
