//! `kestack logs`

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc;

use super::Globals;
use super::output::Output;
use super::session::{Intent, Session};
use crate::engine::LogLine;
use crate::error::Error;

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Only the log of this server
    #[arg(value_enum)]
    server: Option<Server>,
    /// Wait for new lines and show them too
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines of each server
    #[arg(short, long, value_name = "LINES")]
    tail: Option<u32>,
}

/// One line of a log. Each is a document of its own, on one line.
#[derive(Serialize, JsonSchema)]
pub(super) struct Entry<'a> {
    /// The server: `minio`, `kes`; replicas of KES are `kes-1` and so on.
    server: &'a str,
    /// `stdout` or `stderr`.
    stream: &'static str,
    /// The line.
    line: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    Kes,
    Minio,
}

impl Logs {
    /// True if only a signal ends it.
    pub(super) fn follows(&self) -> bool {
        self.follow
    }

    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let session = Session::of(globals, Intent::Read).await?;
        let pod = session.pod.as_ref().ok_or_else(|| Error::NotRunning(session.stack.manifest.name.to_string()))?;
        let (sender, mut lines) = mpsc::channel(64);
        let replicas = session.stack.replicas().into_iter();
        let kes = replicas.map(|replica| (Server::Kes, replica.name, replica.container));
        let minio = (Server::Minio, "minio".to_owned(), session.stack.minio_container());
        for (server, name, container) in kes.chain([minio]) {
            let there = pod.containers.iter().any(|found| found.name == container);
            if there && self.server.is_none_or(|wanted| wanted == server) {
                let log = session.context.engine.logs(&container, self.tail, self.follow).await?;
                tokio::spawn(forward(name, log, sender.clone()));
            }
        }
        drop(sender);
        while let Some((name, line)) = lines.recv().await {
            if !show(output, &name, &line)? {
                break;
            }
        }
        Ok(())
    }
}

async fn forward(name: String, mut log: mpsc::Receiver<LogLine>, sender: mpsc::Sender<(String, LogLine)>) {
    while let Some(line) = log.recv().await {
        if sender.send((name.clone(), line)).await.is_err() {
            return;
        }
    }
}

/// Returns false if nobody reads any more.
fn show(output: &Output, server: &str, line: &LogLine) -> Result<bool, Error> {
    let stream = if line.stderr { "stderr" } else { "stdout" };
    output.entry(&Entry { server, stream, line: &line.text }, |entry| format!("{server:<5} | {}", entry.line))
}
