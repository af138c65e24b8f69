//! `kes log`: what happens on a server from now on, until interrupted.

use super::{
    CliError, output,
    session::{ServerFlags, Session},
    time,
};
use crate::client::{AuditEvent, Client};

#[derive(Debug, clap::Args)]
pub(super) struct LogArguments {
    /// Print audit events (the default)
    #[arg(long, conflicts_with = "error")]
    audit: bool,
    /// Print error events
    #[arg(long)]
    error: bool,
    /// Print events as JSON, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) async fn run(arguments: LogArguments, session: &Session<'_>) -> Result<(), CliError> {
    let client = session.client(&arguments.server)?;
    let is_raw = arguments.json || !session.output.is_terminal;
    let printed = async {
        if arguments.error { errors(&client, arguments.json).await } else { audit(&client, session, is_raw).await }
    };
    tokio::select! {
        result = printed => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn audit(client: &Client, session: &Session<'_>, is_raw: bool) -> Result<(), CliError> {
    let mut events = client.audit_log().await.map_err(|error| CliError::message(error.message()))?;
    if !is_raw {
        output::line(&session.output.bold(&row("Time", "Status", "Identity", "IP", "API", "Latency")))?;
    }
    while let Some(line) = events.next_line().await? {
        match serde_json::from_str::<AuditEvent>(&line) {
            Ok(event) if !is_raw => output::line(&audit_row(&event))?,
            _ => output::line(&line)?,
        }
    }
    Ok(())
}

async fn errors(client: &Client, is_json: bool) -> Result<(), CliError> {
    let mut events = client.error_log().await.map_err(|error| CliError::message(error.message()))?;
    if is_json {
        while let Some(line) = events.next_line().await? {
            output::line(&line)?;
        }
    }
    while let Some(event) = events.next().await? {
        output::line(event.message.trim_end())?;
    }
    Ok(())
}

fn audit_row(event: &AuditEvent) -> String {
    let identity: String = event.request.identity.chars().take(12).collect();
    let latency = format!("{:.1?}", event.response.duration());
    let (time, status) = (time::clock(&event.time), event.response.code.to_string());
    row(&time, &status, &identity, &event.request.ip, &shown(&event.request.path), &latency)
}

/// A path may be anything that a client sent, also what a terminal would obey.
fn shown(path: &str) -> String {
    path.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}

fn row(time: &str, status: &str, identity: &str, ip: &str, api: &str, latency: &str) -> String {
    format!("{time:<8}  {status:<6}  {identity:<12}  {ip:<15}  {api:<40}  {latency:>9}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gives_no_orders_to_a_terminal() {
        assert_eq!(shown("/v1/key/create/\u{1b}[2Jä\n\u{9b}"), "/v1/key/create/\u{fffd}[2Jä\u{fffd}\u{fffd}");
    }
}
