//! Snapshots: taken, removed, and restored by whoever types the name.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::form::Filled;
use super::frame::Shown;
use crate::interface::Interface;
use crate::interface::call::Patience;
use crate::interface::given::{Given, Named, invalid, named};
use crate::interface::snapshots::{self, Wanted};
use crate::operate::snapshot::{Snapshot, SnapshotName};

#[derive(Serialize)]
struct View {
    snapshots: Vec<Snapshot>,
}

#[derive(Deserialize)]
pub(super) struct Name {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Confirmed {
    name: String,
    confirmation: String,
}

pub(super) async fn list(State(interface): State<Interface>) -> Shown {
    let mut snapshots = snapshots::list(State(interface.clone())).await?.into_inner().snapshots;
    snapshots.reverse();
    interface.show("snapshots.html", ("Snapshots", "snapshots"), &View { snapshots }).await
}

pub(super) async fn save(
    State(interface): State<Interface>,
    patience: Patience,
    Filled(Name { name }): Filled<Name>,
) -> Shown {
    let wanted = Wanted { name: name.trim().to_owned() };
    let saved = snapshots::save(State(interface.clone()), patience, Given(wanted)).await?.into_inner();
    let done =
        format!("Snapshot {} is taken; MinIO was stopped for {} ms.", saved.snapshot.name, saved.stopped_milliseconds);
    Ok(interface.lead_to("/snapshots", done))
}

pub(super) async fn restore(
    State(interface): State<Interface>,
    patience: Patience,
    Filled(Confirmed { name, confirmation }): Filled<Confirmed>,
) -> Shown {
    if confirmation.trim() != name {
        return Err(invalid(format!(
            "a restore of '{name}' loses everything that was written since: type its name to confirm that"
        )));
    }
    let snapshot: SnapshotName = named(&name)?;
    let restored = snapshots::restore(State(interface.clone()), Named(snapshot), patience).await?.into_inner();
    let done = format!("Snapshot {name} is restored, in {} ms.", restored.milliseconds);
    Ok(interface.lead_to("/snapshots", done))
}

pub(super) async fn remove(
    State(interface): State<Interface>,
    patience: Patience,
    Filled(Name { name }): Filled<Name>,
) -> Shown {
    let snapshot: SnapshotName = named(&name)?;
    snapshots::remove(State(interface.clone()), Named(snapshot), patience).await?;
    Ok(interface.lead_to("/snapshots", format!("Snapshot {name} is removed.")))
}
