//! `kes status`

use futures_util::future::join_all;

use super::{
    CliError,
    output::{self, Color, Output, printable},
    session::{ServerFlags, Session},
    time,
};
use crate::client::{Client, Route, Status};

#[derive(Debug, clap::Args)]
pub(super) struct StatusArguments {
    /// Print only which servers answer
    #[arg(short, long)]
    short: bool,
    /// Also print the calls that the server knows
    #[arg(long)]
    api: bool,
    /// Print the status as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    color: Color,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) async fn run(arguments: StatusArguments, session: &Session<'_>) -> Result<(), CliError> {
    let client = session.client(&arguments.server)?;
    let output = session.output.with_color(arguments.color);
    let failure = |error: crate::client::ClientError| CliError::message(error.message());
    if arguments.json {
        return output::print(&if arguments.api {
            super::json_line(&client.apis().await.map_err(failure)?)?
        } else {
            super::json_line(&client.status().await.map_err(failure)?)?
        });
    }
    let servers: Vec<Client> = client.each().collect();
    let answers = join_all(servers.iter().map(Client::status)).await;
    if let [Err(error)] = answers.as_slice() {
        // as MinIO KES says it
        return Err(CliError::message(error.message()));
    }
    let mut lines = Vec::new();
    for (server, answer) in servers.iter().zip(&answers) {
        let name = server.endpoint();
        match answer {
            Ok(_) => lines.push(format!("{} {name}", output.green("●"))),
            Err(error) => lines.push(format!("{} {name}: {}", output.red("○"), printable(&error.message()))),
        }
        if let (Ok(status), false) = (answer, arguments.short) {
            lines.extend(details(output, status));
        }
    }
    let missing = answers.iter().filter(|answer| answer.is_err()).count();
    if arguments.api && missing < answers.len() {
        lines.push(String::new());
        lines.extend(table(output, &client.apis().await.map_err(failure)?));
    }
    output::line(&lines.join("\n"))?;
    match missing {
        0 => Ok(()),
        missing => Err(CliError::message(format!("no status from {missing} of {} servers", servers.len()))),
    }
}

/// Line by line as MinIO KES shows them.
fn details(output: Output, status: &Status) -> Vec<String> {
    let latency = match (status.keystore_unreachable, status.keystore_latency) {
        (false, Some(latency)) => format!("{latency}ms"),
        _ => "keystore is not reachable".to_owned(),
    };
    let fields = [
        ("Version", status.version.clone()),
        ("Uptime", time::rough(status.uptime)),
        ("Latency", latency),
        ("OS", status.os.clone()),
        ("CPUs", format!("{} {}", status.num_cpu_used, status.arch)),
        ("Memory", String::new()),
        ("· Heap", size(status.mem_heap_used)),
        ("· Stack", size(status.mem_stack_used)),
    ];
    let line = |(label, value): &(&str, String)| {
        let line = format!("  {} {}", output.bold(&format!("{label:<8}")), printable(value));
        line.trim_end().to_owned()
    };
    fields.iter().map(line).collect()
}

/// `640 KiB` or `3.5 MiB`.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes < MIB {
        return format!("{} KiB", bytes / 1024);
    }
    let tenths = bytes.saturating_mul(10) / MIB;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn table(output: Output, routes: &[Route]) -> Vec<String> {
    let width = routes.iter().map(|route| route.path.len()).max().unwrap_or_default().max(27);
    let header = output.bold(&format!("{:<6}  {:<width$}  {}", "Method", "API", "Timeout"));
    let row = |route: &Route| {
        let timeout = if route.timeout == 0 { "Inf".to_owned() } else { format!("{}s", route.timeout) };
        let (method, path) = (printable(&route.method), printable(&route.path));
        format!("  {method:<6}  {path:<width$}  {timeout}")
    };
    std::iter::once(format!("  {header}")).chain(routes.iter().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shown_in_tenths_of_a_mebibyte() {
        assert_eq!(size(0), "0 KiB");
        assert_eq!(size(640 << 10), "640 KiB");
        assert_eq!(size((3 << 20) + (1 << 19)), "3.5 MiB");
    }
}
