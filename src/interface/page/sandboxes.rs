//! Sandboxes: listed, made, dropped. The password of a new one is shown once, to whoever made it.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::form::{Filled, some};
use super::frame::Shown;
use crate::interface::Interface;
use crate::interface::given::{Given, Named, invalid, named};
use crate::interface::sandboxes::{self, Wanted};
use crate::operate::sandbox::{Created, Sandbox, SandboxName};

#[derive(Serialize)]
struct View {
    sandboxes: Vec<Sandbox>,
    created: Option<Created>,
}

#[derive(Deserialize)]
pub(super) struct Made {
    #[serde(default, deserialize_with = "some")]
    name: Option<String>,
    /// Minutes until `kestack gc` drops it.
    #[serde(default, deserialize_with = "some")]
    minutes: Option<String>,
    /// A checkbox.
    versioning: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Name {
    name: String,
}

pub(super) async fn list(State(interface): State<Interface>) -> Shown {
    interface.shown_sandboxes(None).await
}

pub(super) async fn make(State(interface): State<Interface>, Filled(made): Filled<Made>) -> Shown {
    let minutes = made.minutes.map(|minutes| minutes.parse::<u64>()).transpose();
    let minutes = minutes.map_err(|_| invalid("a lease is a number of minutes".into()))?;
    let lease_seconds = minutes.map(|minutes| minutes.saturating_mul(60));
    let wanted = Wanted { name: made.name, lease_seconds, versioning: made.versioning.is_some() };
    let created = sandboxes::create(State(interface.clone()), Given(wanted)).await?.into_inner();
    interface.shown_sandboxes(Some(created)).await
}

pub(super) async fn drop(State(interface): State<Interface>, Filled(Name { name }): Filled<Name>) -> Shown {
    let sandbox: SandboxName = named(&name)?;
    sandboxes::drop(State(interface.clone()), Named(sandbox)).await?;
    Ok(interface.lead_to("/sandboxes", format!("Sandbox {name} was deleted, with its bucket, its key and its user.")))
}

impl Interface {
    async fn shown_sandboxes(&self, created: Option<Created>) -> Shown {
        let sandboxes = sandboxes::list(State(self.clone())).await?.into_inner().sandboxes;
        self.show("sandboxes.html", ("Sandboxes", "sandboxes"), &View { sandboxes, created }).await
    }
}
