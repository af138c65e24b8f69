//! `/v1/keys`

use axum::extract::State;
use kes_server::auth::KeyName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Interface;
use super::answer::{Answered, found, made};
use super::call::Patience;
use super::given::{Given, Named, invalid, named};
use super::problem::Problem;
use super::reach::Reach;
use crate::host::lock::Hold;
use crate::operate::keys::{self, Created, Deleted, Entry, Listed};

/// Keys to be created.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Their names.
    #[schemars(length(min = 1, max = 100), inner(regex(pattern = super::surface::KEY)))]
    pub(super) names: Vec<String>,
}

pub(super) async fn list(State(interface): State<Interface>) -> Answered<Listed> {
    let reach = interface.0.known.running().await?;
    found(keys::list(reach.stack(), reach.context()).await)
}

pub(super) async fn one(State(interface): State<Interface>, Named(name): Named<KeyName>) -> Answered<Entry> {
    let reach = interface.0.known.running().await?;
    found(keys::one(reach.stack(), reach.context(), name.as_str()).await)
}

pub(super) async fn create(
    State(interface): State<Interface>,
    patience: Patience,
    Given(Wanted { names }): Given<Wanted>,
) -> Answered<Created> {
    let names = names.iter().map(|name| named(name)).collect::<Result<Vec<KeyName>, Problem>>()?;
    if !(1..=100).contains(&names.len()) {
        return Err(invalid("name 1 to 100 keys".into()));
    }
    let create = async move |reach: Reach| keys::create(reach.stack(), reach.context(), &names).await;
    let created = interface.change(Hold::Add, patience, create).await;
    interface.tell_all("key", "created", created.iter().flat_map(|created| &created.keys).map(|key| &key.name));
    made(created)
}

pub(super) async fn delete(
    State(interface): State<Interface>,
    Named(name): Named<KeyName>,
    patience: Patience,
) -> Answered<Deleted> {
    interface.0.known.options().await?.refuse_served()?;
    let names = [name];
    let delete = async move |reach: Reach| keys::delete(reach.stack(), reach.context(), &names).await;
    let deleted = interface.change(Hold::Change, patience, delete).await;
    interface.tell_all("key", "deleted", deleted.iter().flat_map(|deleted| &deleted.deleted));
    found(deleted)
}
