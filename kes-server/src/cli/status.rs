//! `kes status`

use super::{
    CliError,
    output::{self, Color, Output},
    session::{ServerFlags, Session},
    time,
};
use crate::client::{Route, Status};

#[derive(Debug, clap::Args)]
pub(super) struct StatusArguments {
    /// Print only whether the server answers
    #[arg(short, long)]
    short: bool,
    /// Print the calls that the server knows
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
    if arguments.api {
        let routes = client.apis().await.map_err(failure)?;
        return output::print(&if arguments.json { super::json_line(&routes)? } else { table(output, &routes) });
    }
    let status = client.status().await.map_err(failure)?;
    if arguments.json {
        return output::print(&super::json_line(&status)?);
    }
    let mut lines: Vec<String> =
        client.endpoints().iter().map(|endpoint| format!("{} {endpoint}", output.green("●"))).collect();
    if !arguments.short {
        lines.extend(details(output, &status));
    }
    output::line(&lines.join("\n"))
}

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
        ("Memory", mebibytes(status.mem_heap_used + status.mem_stack_used)),
    ];
    fields.iter().map(|(label, value)| format!("  {}", output.field(label, value))).collect()
}

fn mebibytes(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    let tenths = bytes.saturating_mul(10) / MIB;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn table(output: Output, routes: &[Route]) -> String {
    let width = routes.iter().map(|route| route.path.len()).max().unwrap_or_default().max(3);
    let header = output.bold(&format!("{:<7} {:<width$} {}", "Method", "API", "Timeout"));
    let row = |route: &Route| {
        let timeout = if route.timeout == 0 { "Inf".to_owned() } else { format!("{}s", route.timeout) };
        format!("{:<7} {:<width$} {timeout}", route.method, route.path)
    };
    let lines: Vec<String> = std::iter::once(header).chain(routes.iter().map(row)).collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_tenths() {
        assert_eq!(mebibytes(0), "0.0 MiB");
        assert_eq!(mebibytes((3 << 20) + (1 << 19)), "3.5 MiB");
    }
}
