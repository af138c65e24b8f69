//! The running servers and their state: asked of the engine and the servers, never remembered.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::Serialize;

use crate::engine::PodState;
use crate::error::Error;
use crate::operate::chaos::{self, Fault};
use crate::operate::coverage::Coverage;
use crate::operate::locked;
use crate::operate::open_files;
use crate::resource::Context;
use crate::resource::interface::Record;
use crate::stack::certificates::{self, CertificateState};
use crate::stack::{Layout, Stack};

/// Longest time to look whether one server of KES answers: it asks its keystore, which may be far away.
const GLANCE: Duration = Duration::from_secs(20);

/// The state of one stack.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Status {
    /// Name of the stack.
    pub name: String,
    /// `running`, `degraded` (a part does not answer) or `stopped`.
    pub state: State,
    /// The active fault of `kestack chaos`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<InForce>,
    /// Engine and version.
    pub engine: String,
    /// Folder of the stack.
    pub folder: String,
    /// Containers with the engine's word for their state.
    pub containers: BTreeMap<String, String>,
    /// The HTTP interface, if one was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<Listening>,
    /// Endpoints by server.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// KiB of KES's memory that cannot be swapped out; absent where that cannot be seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kes_locked_kib: Option<u64>,
    /// Names of the keys in the keystore.
    pub keys: Vec<String>,
    /// Buckets and their default encryption.
    pub buckets: BTreeMap<String, String>,
    /// Buckets that store objects in clear, although kestack.yaml does not allow that.
    pub exposed_buckets: Vec<String>,
    /// Whether MinIO encrypts new objects in buckets without an encryption of their own.
    pub auto_encryption: bool,
    /// Days until each certificate expires.
    pub certificate_days_left: BTreeMap<&'static str, i64>,
    /// The state of each certificate, and when it is renewed.
    pub certificates: Vec<CertificateState>,
}

/// A fault in force.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct InForce {
    /// Which one.
    pub fault: Fault,
    /// When it is to be over, if that is known.
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Both, and how to end it, for people.
    pub advice: String,
}

impl InForce {
    /// The fault on record; none if all is well.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub fn of(layout: &Layout) -> Result<Option<Self>, Error> {
        let record = chaos::FaultRecord::read(layout)?;
        Ok(record.map(|record| Self {
            advice: format!("{record}; `kestack chaos heal` ends it now"),
            fault: record.fault,
            until: record.until,
        }))
    }
}

/// The HTTP interface of a stack.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[schemars(rename = "Interface")]
pub struct Listening {
    /// Its URL.
    pub url: String,
    /// File with URL and token, which only its owner may read.
    pub token_file: String,
    /// True if it runs: one that was killed is started again by `up`.
    pub listens: bool,
}

impl Listening {
    /// The one on record.
    ///
    /// # Errors
    /// If the record cannot be read.
    pub(crate) fn of(layout: &Layout) -> Result<Option<Self>, Error> {
        let (file, token_file) = (layout.interface(), layout.interface().display().to_string());
        let record = Record::read(&file)?.filter(|record| record.is_background() || record.listens());
        Ok(record.map(|record| Self { url: record.url.clone(), token_file, listens: record.listens() }))
    }
}

/// Overall state of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Everything answers.
    Running,
    /// Something runs, but not all of it answers.
    Degraded,
    /// Nothing runs.
    Stopped,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// Where a server is, and whether it answers.
#[derive(Debug, Serialize, schemars::JsonSchema)]
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
    // MinIO and KES are asked side by side
    let ((mut endpoints, keys), (s3, buckets)) =
        tokio::try_join!(kes_side(stack, context), s3_side(stack, context, pod))?;
    let all_serve = endpoints.values().all(|kes| kes.ready);
    let runs =
        stack.layout.is_served() || pod.is_some_and(|pod| pod.containers.iter().any(|container| container.running));
    let overall = match (runs, all_serve && s3.ready) {
        (false, _) => State::Stopped,
        (true, true) => State::Running,
        (true, false) => State::Degraded,
    };
    let certificates = certificates::on_disk(&stack.layout, Timestamp::now())?;
    let console = Endpoint { url: stack.console_endpoint(), ready: s3.ready, problem: None };
    endpoints.extend([("s3".to_owned(), s3), ("console".to_owned(), console)]);
    // in the foreground MinIO may choose its port
    endpoints.retain(|_, endpoint| !endpoint.url.is_empty());
    Ok(Status {
        name: stack.manifest.name.to_string(),
        state: overall,
        fault: InForce::of(&stack.layout)?,
        engine: format!("{} {}{}", info.kind, info.version, if info.rootless { ", rootless" } else { "" }),
        folder: if stack.layout.is_served() { stack.layout.drive() } else { stack.layout.root().to_owned() }
            .display()
            .to_string(),
        containers,
        interface: Listening::of(&stack.layout)?,
        kes_locked_kib: pod.and_then(locked::of_kes),
        endpoints,
        keys,
        exposed_buckets: buckets.iter().filter(|found| found.is_exposed()).map(|found| found.bucket.clone()).collect(),
        buckets: buckets.into_iter().map(|found| (found.bucket.clone(), found.to_string())).collect(),
        auto_encryption: stack.material.auto_encryption,
        certificate_days_left: days_left(&certificates),
        certificates,
    })
}

/// Every server of KES by its name, and the keys, if one of them answers.
async fn kes_side(stack: &Stack, context: &Context) -> Result<(BTreeMap<String, Endpoint>, Vec<String>), Error> {
    let endpoints = try_join_all(stack.replicas().into_iter().map(async |replica| {
        // one that has stalled answers nobody: the others must be shown soon
        let ready = tokio::time::timeout(GLANCE, context.replicas.at(&replica.endpoint)?.ready()).await;
        let health = match ready {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", GLANCE.as_secs())),
        };
        Ok::<_, Error>((replica.name, Endpoint::new(replica.endpoint, health)))
    }));
    let endpoints: BTreeMap<_, _> = endpoints.await?.into_iter().collect();
    let serves = endpoints.values().any(|kes| kes.ready);
    let keys = if serves { context.kes.list_keys("").await? } else { vec![] };
    Ok((endpoints, keys))
}

/// MinIO, and the buckets, if it answers.
async fn s3_side(stack: &Stack, context: &Context, pod: Option<&PodState>) -> Result<(Endpoint, Vec<Coverage>), Error> {
    let too_few = pod.map(open_files::too_few).unwrap_or_default();
    let too_few = too_few.into_iter().find(|found| found.container == stack.minio_container());
    // its requests hang: it must not be asked for more than its health
    let enough = too_few.map_or(Ok(()), |found| Err(found.to_string()));
    let health = s3_health(context).await.map_err(|error| error.to_string());
    let s3 = Endpoint::new(stack.s3_endpoint(), enough.and(health));
    let buckets = if s3.ready { Coverage::of(stack, &context.s3).await? } else { vec![] };
    Ok((s3, buckets))
}

async fn s3_health(context: &Context) -> Result<(), Error> {
    tokio::try_join!(context.s3.health("cluster"), context.s3.health("ready"))?;
    Ok(())
}

fn days_left(certificates: &[CertificateState]) -> BTreeMap<&'static str, i64> {
    certificates.iter().filter_map(|certificate| Some((certificate.name, certificate.days_left?))).collect()
}

impl Endpoint {
    fn new(url: String, health: Result<(), String>) -> Self {
        Self { url, ready: health.is_ok(), problem: health.err() }
    }
}
