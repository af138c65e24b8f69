//! What runs, and how it is: asked of the engine and the servers, never remembered.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::client::s3::Encryption;
use crate::engine::PodState;
use crate::error::Error;
use crate::locked;
use crate::resource::Context;
use crate::stack::Stack;
use crate::stack::certificates::{self, CertificateState};

/// The state of one stack.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Name of the stack.
    pub name: String,
    /// `running`, `degraded` (a part does not answer) or `stopped`.
    pub state: State,
    /// Engine and version.
    pub engine: String,
    /// Folder of the stack.
    pub folder: String,
    /// Containers with the engine's word for their state.
    pub containers: BTreeMap<String, String>,
    /// Endpoints by server.
    pub endpoints: BTreeMap<&'static str, Endpoint>,
    /// KiB of KES's memory that cannot be swapped out; absent where that cannot be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kes_locked_kib: Option<u64>,
    /// Names of the keys in the keystore.
    pub keys: Vec<String>,
    /// Buckets and their default encryption.
    pub buckets: BTreeMap<String, String>,
    /// Days until each certificate expires.
    pub certificate_days_left: BTreeMap<&'static str, i64>,
    /// How each certificate is, and when it is renewed.
    pub certificates: Vec<CertificateState>,
}

/// Overall state of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Everything answers.
    Running,
    /// Something runs, but not all of it answers.
    Degraded,
    /// Nothing runs.
    Stopped,
}

/// Where a server is, and whether it answers.
#[derive(Debug, Serialize)]
pub struct Endpoint {
    /// URL on this host.
    pub url: String,
    /// True if it answers that it is ready.
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Looks at everything.
pub async fn status(stack: &Stack, context: &Context, pod: Option<&PodState>) -> Result<Status, Error> {
    let info = context.engine.info();
    let containers: BTreeMap<_, _> = pod
        .iter()
        .flat_map(|pod| &pod.containers)
        .map(|container| (container.name.clone(), container.status.clone()))
        .collect();
    let kes = Endpoint::new(stack.kes_endpoint(), context.kes.ready().await.map_err(|error| error.to_string()));
    let s3 = Endpoint::new(stack.s3_endpoint(), s3_health(context).await.map_err(|error| error.to_string()));
    let keys = if kes.ready { context.kes.list_keys("").await? } else { vec![] };
    let buckets = if s3.ready { buckets(context).await? } else { BTreeMap::new() };
    let overall = match (pod, kes.ready && s3.ready) {
        (None, _) => State::Stopped,
        (Some(_), true) => State::Running,
        (Some(_), false) => State::Degraded,
    };
    let certificates = certificates::on_disk(&stack.layout, Timestamp::now())?;
    let console = Endpoint { url: stack.console_endpoint(), ready: s3.ready, problem: None };
    Ok(Status {
        name: stack.manifest.name.to_string(),
        state: overall,
        engine: format!("{} {}{}", info.kind, info.version, if info.rootless { ", rootless" } else { "" }),
        folder: stack.layout.root().display().to_string(),
        containers,
        kes_locked_kib: pod.and_then(locked::of_kes),
        endpoints: BTreeMap::from([("kes", kes), ("s3", s3), ("console", console)]),
        keys,
        buckets,
        certificate_days_left: days_left(&certificates),
        certificates,
    })
}

async fn s3_health(context: &Context) -> Result<(), Error> {
    context.s3.health("cluster").await?;
    Ok(context.s3.health("ready").await?)
}

async fn buckets(context: &Context) -> Result<BTreeMap<String, String>, Error> {
    let mut buckets = BTreeMap::new();
    for name in context.s3.list_buckets().await? {
        let encryption = match context.s3.bucket_encryption(&name).await? {
            Some(Encryption::SseKms(key)) => format!("SSE-KMS with key '{key}'"),
            Some(Encryption::SseS3) => "SSE-S3".to_owned(),
            None => "none".to_owned(),
        };
        buckets.insert(name, encryption);
    }
    Ok(buckets)
}

fn days_left(certificates: &[CertificateState]) -> BTreeMap<&'static str, i64> {
    certificates.iter().filter_map(|certificate| Some((certificate.name, certificate.days_left?))).collect()
}

impl Endpoint {
    fn new(url: String, health: Result<(), String>) -> Self {
        Self { url, ready: health.is_ok(), problem: health.err() }
    }
}
