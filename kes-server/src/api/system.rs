//! The server itself: `/version`, `/v1/ready`, `/v1/status`, `/v1/metrics`, `/v1/api`.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use serde::Serialize;

use super::{
    authorize::Authorized,
    error::ApiError,
    reply::{self, Reply},
};
use crate::{metrics, process};

pub(super) fn version(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    let service = call.service();
    reply::json(&Version { version: service.version, commit: service.commit }, 128)
}

pub(super) async fn ready(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    call.keys().status().await.map_err(ApiError::NotReady)?;
    Ok(reply::empty())
}

/// Does not fail when the keystore does: it says so.
pub(super) async fn status(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    let latency = call.keys().status().await.ok();
    let service = call.service();
    let usage = process::usage();
    let status = Status {
        version: service.version,
        os: std::env::consts::OS,
        arch: go_arch(),
        uptime: rounded(service.started.elapsed()),
        num_cpu: usage.cpus,
        num_cpu_used: usage.usable_cpus,
        mem_heap_used: usage.heap,
        mem_stack_used: usage.stack,
        keystore_latency: latency.map(|latency| latency.as_millis().max(1)),
        keystore_unreachable: latency.is_none(),
    };
    reply::json(&status, 512)
}

pub(super) fn metrics(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    let service = call.service();
    let mut text = service
        .metrics
        .render(service.started, kept_objects(call))
        .map_err(|error| ApiError::internal("failed to read the metrics", error))?;
    if call.reads_labels() {
        service.seen.append(&mut text, |identity| call.state().knows(identity));
    }
    // without the room that was left for more: it may wait for its client
    Ok(reply::typed(HeaderValue::from_static(metrics::CONTENT_TYPE), text.into_boxed_slice().into()))
}

/// Go counts the objects of its heap, which no allocator here does: cached keys, identities, and connections, workers and
/// log streams, each of which holds on to the service.
fn kept_objects(call: &Authorized<'_>) -> usize {
    call.keys().cached_keys() + call.access().assigned().len() + Arc::strong_count(call.service())
}

pub(super) fn routes(call: &Authorized<'_>) -> Result<Reply, ApiError> {
    let rows: Vec<_> = call
        .state()
        .routes
        .iter()
        .map(|(route, effective)| Row {
            method: route.method.as_str(),
            path: route.path,
            max_body: route.max_body,
            timeout: effective.timeout.unwrap_or_default().as_secs(),
        })
        .collect();
    reply::json(&rows, 2048)
}

fn rounded(time: Duration) -> u64 {
    time.saturating_add(Duration::from_millis(500)).as_secs()
}

/// The processor by the name that clients know.
pub(crate) fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
    commit: &'static str,
}

#[derive(Serialize)]
struct Status {
    version: &'static str,
    os: &'static str,
    arch: &'static str,
    /// Seconds.
    uptime: u64,
    num_cpu: u64,
    num_cpu_used: u64,
    /// Bytes.
    mem_heap_used: u64,
    /// Bytes.
    mem_stack_used: u64,
    /// Milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    keystore_latency: Option<u128>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keystore_unreachable: bool,
}

#[derive(Serialize)]
struct Row {
    method: &'static str,
    path: &'static str,
    max_body: usize,
    /// Full seconds, 0 for none.
    timeout: u64,
}
