//! `kes log`: what happens on a server from now on, until interrupted.

use super::{
    CliError,
    output::{self, lines, printable},
    session::{self, ServerFlags, Session},
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
    /// Print events as JSON, one per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) async fn run(arguments: LogArguments, session: &Session<'_>) -> Result<(), CliError> {
    let client = session.client(&arguments.server)?;
    let printed = async {
        if arguments.error {
            errors(&client, arguments.json).await
        } else {
            audit(&client, session, arguments.json).await
        }
    };
    tokio::select! {
        result = printed => result,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn audit(client: &Client, session: &Session<'_>, is_json: bool) -> Result<(), CliError> {
    let mut events = client.audit_log().await.map_err(|error| CliError::message(error.message()))?;
    session::name_server(client, &mut None);
    if !is_json {
        output::line(&session.output.bold(&row("Time", "Status", "Identity", "IP", "API", "Latency")))?;
    }
    while let Some(line) = events.next_line().await? {
        match serde_json::from_str::<AuditEvent>(&line) {
            Ok(event) if !is_json => output::line(&audit_row(&event))?,
            Err(_) if !is_json => output::line(&printable(&line))?,
            _ => output::line(&line)?,
        }
    }
    Ok(())
}

async fn errors(client: &Client, is_json: bool) -> Result<(), CliError> {
    let mut events = client.error_log().await.map_err(|error| CliError::message(error.message()))?;
    session::name_server(client, &mut None);
    if is_json {
        while let Some(line) = events.next_line().await? {
            output::line(&line)?;
        }
    }
    while let Some(event) = events.next().await? {
        output::line(&lines(event.message.trim_end()))?;
    }
    Ok(())
}

fn audit_row(event: &AuditEvent) -> String {
    let identity: String = event.request.identity.chars().take(IDENTITY).collect();
    let latency = format!("{:.1?}", event.response.duration());
    let (time, status) = (time::clock(&event.time), event.response.code.to_string());
    // A path may be anything that a client sent.
    let [time, identity, ip, path] =
        [&time, &identity, &event.request.ip, &event.request.path].map(|text| printable(text));
    row(&time, &status, &identity, &ip, &path, &latency)
}

/// How many characters of an identity are shown.
const IDENTITY: usize = 20;

fn row(time: &str, status: &str, identity: &str, ip: &str, api: &str, latency: &str) -> String {
    format!("{time:<8}    {status:<6}    {identity:<IDENTITY$}    {ip:<15}    {api:<30}    {latency}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_rows_below_their_header() {
        let event = r#"{"time":"0001","request":{"ip":"8.8.8.8","path":"/v1/key/decrypt/my-first-key",
            "identity":"3ecfcdf38fcbe141ae26a1030f81e96b"},"response":{"code":404,"time":142000}}"#;
        let rows = [
            row("Time", "Status", "Identity", "IP", "API", "Latency"),
            audit_row(&serde_json::from_str(event).unwrap()),
        ];
        let expected = [
            "Time        Status    Identity                IP                 API                               Latency",
            "0001        404       3ecfcdf38fcbe141ae26    8.8.8.8            /v1/key/decrypt/my-first-key      142.0µs",
        ];
        assert_eq!(rows, expected);
    }
}
