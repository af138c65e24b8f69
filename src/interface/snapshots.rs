//! `/v1/snapshots`

use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Interface;
use super::answer::{Answered, found, made};
use super::call::Patience;
use super::given::{Given, Named, named};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::host::lock::Hold;
use crate::operate::drill::refuse_reserved;
use crate::operate::session::Reached;
use crate::operate::snapshot::{Listed, Removed, Restored, Saved, Snapshot, SnapshotName};
use crate::resource::apply::Silent;

/// A snapshot to be taken.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Its name.
    #[schemars(regex(pattern = super::surface::SNAPSHOT))]
    pub(super) name: String,
}

impl Interface {
    /// The stack under its lock and over its engine, for work that changes what is known of it.
    pub(super) async fn reached(&self, patience: Patience, interrupt: &Interrupt) -> Result<Reached, Error> {
        let opened = interrupt.ends(self.open(Hold::Change, patience)).await?;
        opened.refuse_exported()?;
        interrupt.ends(opened.connect()).await
    }
}

pub(super) async fn list(State(interface): State<Interface>) -> Answered<Listed> {
    let layout = interface.0.known.options().await?.layout();
    found(Snapshot::list(&layout).map(|snapshots| Listed { snapshots }))
}

pub(super) async fn save(
    State(interface): State<Interface>,
    patience: Patience,
    Given(Wanted { name }): Given<Wanted>,
) -> Answered<Saved> {
    let (name, this): (SnapshotName, _) = (named(&name)?, interface.clone());
    let save = async move |interrupt: Interrupt| {
        refuse_reserved(&name)?;
        let reached = this.reached(patience, &interrupt).await?;
        reached.save_snapshot(&name, &interrupt, &Silent).await
    };
    let saved = interface.run(save).await;
    interface.tell_all("snapshot", "saved", saved.iter().map(|saved| &saved.snapshot.name));
    made(saved)
}

pub(super) async fn restore(
    State(interface): State<Interface>,
    Named(name): Named<SnapshotName>,
    patience: Patience,
) -> Answered<Restored> {
    let this = interface.clone();
    let restore = async move |interrupt: Interrupt| {
        let reached = this.reached(patience, &interrupt).await?;
        Snapshot::find(&reached.options.layout(), &name)?;
        reached.restore_snapshot(&name, &interrupt, &Silent).await
    };
    let restored = interface.run(restore).await;
    interface.0.known.forget().await;
    interface.tell_all("snapshot", "restored", restored.iter().map(|restored| &restored.name));
    found(restored)
}

pub(super) async fn remove(
    State(interface): State<Interface>,
    Named(name): Named<SnapshotName>,
    patience: Patience,
) -> Answered<Removed> {
    let this = interface.clone();
    let remove = async move |interrupt: Interrupt| {
        let opened = interrupt.ends(this.open(Hold::Change, patience)).await?;
        opened.remove_snapshots(&[name])
    };
    let removed = interface.run(remove).await;
    interface.tell_all("snapshot", "removed", removed.iter().flat_map(|removed| &removed.removed));
    found(removed)
}
