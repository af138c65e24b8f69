//! `/v1/sandboxes`: neither the engine nor the lock has a part in them, so they take milliseconds.

use std::time::{Duration, Instant};

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Interface;
use super::answer::{Answered, found, made};
use super::given::{Given, Named, invalid, named};
use crate::error::Error;
use crate::operate::sandbox::{Created, DropReport, Listed, Sandbox, SandboxName, SandboxOptions, Sandboxes};

/// The longest lease: ten years.
const LONGEST: u64 = 315_360_000;

/// A sandbox as it is to be.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Wanted {
    /// Its name; without one a random one.
    #[schemars(regex(pattern = super::surface::SANDBOX))]
    pub(super) name: Option<String>,
    /// How many seconds it is needed: `kestack gc` drops it afterwards. Without a value it stays until it is dropped.
    #[schemars(range(min = 1, max = LONGEST))]
    pub(super) lease_seconds: Option<u64>,
    /// Whether it keeps versions of its objects.
    pub(super) versioning: bool,
}

impl Interface {
    async fn sandboxes(&self) -> Result<Sandboxes, Error> {
        let kept = self.0.known.kept().await?;
        Ok(Sandboxes::of(kept.stack(), kept.clients()))
    }
}

pub(super) async fn list(State(interface): State<Interface>) -> Answered<Listed> {
    let sandboxes = interface.sandboxes().await?;
    found(sandboxes.list().await.map(|sandboxes| Listed { sandboxes }))
}

pub(super) async fn one(State(interface): State<Interface>, Named(name): Named<SandboxName>) -> Answered<Sandbox> {
    found(interface.sandboxes().await?.find(&name).await)
}

pub(super) async fn create(State(interface): State<Interface>, Given(wanted): Given<Wanted>) -> Answered<Created> {
    let start = Instant::now();
    let name = wanted.name.as_deref().map_or_else(|| Ok(SandboxName::random()?), named)?;
    if wanted.lease_seconds.is_some_and(|seconds| !(1..=LONGEST).contains(&seconds)) {
        return Err(invalid(format!("a lease has 1 to {LONGEST} seconds")));
    }
    let lease = wanted.lease_seconds.map(Duration::from_secs);
    let options = SandboxOptions { name, lease, versioning: wanted.versioning };
    let sandboxes = interface.sandboxes().await?;
    let created = interface.run(move |interrupt| async move {
        let (sandbox, user) = sandboxes.create(&options).await?;
        // made completely, and nobody learns of it: the caller hung up meanwhile
        if let Err(error) = interrupt.check() {
            sandboxes.drop(&options.name).await?;
            return Err(error.into());
        }
        Ok(Created::new(sandbox, &user, start.elapsed().as_millis()))
    });
    let created = created.await;
    interface.tell_all("sandbox", "created", created.iter().map(|created| &created.sandbox.name));
    made(created)
}

pub(super) async fn drop(State(interface): State<Interface>, Named(name): Named<SandboxName>) -> Answered<DropReport> {
    let start = Instant::now();
    let sandboxes = interface.sandboxes().await?;
    let dropped = interface.run(move |_| async move {
        let kept = sandboxes.drop(&name).await?;
        Ok(DropReport { dropped: vec![name.to_string()], milliseconds: start.elapsed().as_millis(), kept })
    });
    let dropped = dropped.await;
    interface.tell_all("sandbox", "dropped", dropped.iter().flat_map(|report| &report.dropped));
    found(dropped)
}
