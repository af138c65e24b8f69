//! `kes metric`: the metrics of a server, again and again until interrupted.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{
    CliError,
    output::{self, Output},
    session::{self, ServerFlags, Session},
    time,
};

#[derive(Debug, clap::Args)]
pub(super) struct MetricArguments {
    /// How often to ask
    #[arg(long, value_name = "interval", default_value = "5s", value_parser = time::positive)]
    rate: Duration,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) async fn run(arguments: MetricArguments, session: &Session<'_>) -> Result<(), CliError> {
    let client = session.client(&arguments.server)?;
    let mut ticks = tokio::time::interval(arguments.rate);
    let mut named = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        let text = client.metrics().await;
        let metrics = parse(&text.map_err(|error| CliError::message(error.message()))?);
        session::name_server(&client, &mut named);
        let text =
            if session.output.is_terminal { screen(session.output, &metrics) } else { super::json_line(&metrics)? };
        output::print(&text)?;
    }
}

/// A metric that a server leaves out while it is zero. Scripts expect it.
const COUNTERS: [&str; 3] = ["kes_http_request_error", "kes_http_request_failure", "kes_http_request_success"];

/// One value per metric: counters by status code are summed, the histogram becomes a map of nanoseconds to
/// requests that took no longer, the up time becomes nanoseconds.
fn parse(text: &str) -> Map<String, Value> {
    let mut metrics: Map<String, Value> = COUNTERS.iter().map(|name| ((*name).to_owned(), 0.into())).collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let (name, label) = series.split_once('{').unwrap_or((series, ""));
        if !label.is_empty() && !label.starts_with("code=") && !label.starts_with("le=") {
            // members of their own, such as the certificates of clients, which have no sum
            continue;
        }
        if let Some(histogram) = name.strip_suffix("_bucket") {
            bucket(&mut metrics, histogram, label, value);
        } else if !name.ends_with("_sum") && !name.ends_with("_count") {
            let value = if name == "kes_system_up_time" { value * NANOSECONDS } else { value };
            let sum = metrics.get(name).and_then(Value::as_u64).unwrap_or_default();
            metrics.insert(name.to_owned(), sum.saturating_add(whole(value)).into());
        }
    }
    metrics
}

const NANOSECONDS: f64 = 1e9;

fn bucket(metrics: &mut Map<String, Value>, name: &str, label: &str, count: f64) {
    let bound = label.trim_start_matches("le=\"").trim_end_matches("\"}").parse::<f64>();
    let Ok(bound) = bound else { return };
    if let Value::Object(buckets) = metrics.entry(name).or_insert_with(|| Map::new().into())
        && bound.is_finite()
    {
        buckets.insert(whole(bound * NANOSECONDS).to_string(), whole(count).into());
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts and sizes; the cast saturates")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

/// All metrics on a cleared screen.
fn screen(output: Output, metrics: &Map<String, Value>) -> String {
    let row = |(name, value): (&String, &Value)| {
        let value = match (name.as_str(), value) {
            ("kes_system_up_time", value) => time::rough(value.as_u64().unwrap_or_default() / 1_000_000_000),
            (_, Value::Object(buckets)) => fastest(buckets),
            (_, value) => value.to_string(),
        };
        format!("{} {value}", output.bold(&format!("{:<30}", output::printable(name))))
    };
    let rows: Vec<String> = metrics.iter().map(row).collect();
    format!("\u{1b}[H\u{1b}[2J{}\n", rows.join("\n"))
}

/// `417 of 419 within 10 ms`
fn fastest(buckets: &Map<String, Value>) -> String {
    let counts: Vec<u64> = buckets.values().filter_map(Value::as_u64).collect();
    let all = counts.iter().max().copied().unwrap_or_default();
    let within = buckets.get("10000000").and_then(Value::as_u64).unwrap_or_default();
    format!("{within} of {all} within 10 ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "# TYPE kes_http_request_error counter\n\
        kes_http_request_error{code=\"400\"} 123\n\
        kes_http_request_error{code=\"404\"} 27\n\
        kes_http_response_time_bucket{le=\"0.01\"} 417\n\
        kes_http_response_time_bucket{le=\"+Inf\"} 419\n\
        kes_http_response_time_sum 0.07\n\
        kes_http_response_time_count 419\n\
        kes_system_mem_heap_used 9.598544e+06\n\
        kes_tls_client_certificate_end{identity=\"a\"} 1.8e+09\n\
        kes_tls_client_certificate_end{identity=\"b\"} 1.8e+09\n\
        kes_system_up_time 3.56\n";

    #[test]
    fn every_metric_becomes_one_value() {
        let expected = serde_json::json!({
            "kes_http_request_error": 150,
            "kes_http_request_failure": 0,
            "kes_http_request_success": 0,
            "kes_http_response_time": { "10000000": 417 },
            "kes_system_mem_heap_used": 9_598_544,
            "kes_system_up_time": 3_560_000_000_u64,
        });
        assert_eq!(Value::Object(parse(SAMPLE)), expected);
    }
}
