//! Keys: what each protects, and how one is made, replaced and deleted.

use std::collections::BTreeMap;

use axum::extract::State;
use kes_server::auth::KeyName;
use serde::{Deserialize, Serialize};

use super::form::{Filled, some};
use super::frame::Shown;
use super::picture::Picture;
use super::recorder::LastUse;
use crate::data::drive::{Count, KeyUse};
use crate::interface::Interface;
use crate::interface::call::Patience;
use crate::interface::given::{Given, Named, named};
use crate::interface::keys::{self, Wanted};
use crate::operate::buckets;
use crate::operate::keys::{self as known, Entry};
use crate::operate::rotate::{self, Meter, Moved, Request};
use crate::resource::apply::Silent;

/// Metadata files that a rotation exchanges during one pause of MinIO, and how long it waits for unfinished uploads.
const SLICE: usize = 1000;
const WAIT: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Serialize)]
struct View {
    picture: Picture,
    keys: Vec<Key>,
    client_versions: u64,
    in_clear: u64,
    not_understood: u64,
}

/// A key and what it protects.
#[derive(Serialize)]
struct Key {
    name: String,
    is_default: bool,
    total: Count,
    minio_files: u64,
    /// Whether it may be deleted.
    is_free: bool,
    default_of: Vec<String>,
    last_use: Option<LastUse>,
}

#[derive(Deserialize)]
pub(super) struct Name {
    name: String,
}

#[derive(Deserialize)]
pub(super) struct Replaced {
    old: String,
    #[serde(default, deserialize_with = "some")]
    new: Option<String>,
}

pub(super) async fn list(State(interface): State<Interface>) -> Shown {
    let reach = interface.0.known.running().await?;
    let (stack, context) = (reach.stack(), reach.context());
    let report = interface.on_drive(reach.kept().options.clone()).await?;
    let listed = buckets::list(stack, context).await?.buckets;
    let entries = known::list(stack, context).await?.keys;
    let picture = Picture::of(&report, &listed, entries.iter().map(|key| key.name.clone()));
    let default_key = stack.manifest.default_key.as_str();
    let key = |entry: Entry| {
        let used = report.inventory.keys.get(&entry.name).cloned().unwrap_or_default();
        let last_use = interface.0.page.recorder.last_use(&entry.name);
        Key::of(entry, used, default_key, last_use)
    };
    let keys = entries.into_iter().map(key).collect();
    let versions = |counts: &BTreeMap<String, Count>| counts.values().map(|count| count.versions).sum();
    let view = View {
        picture,
        keys,
        client_versions: versions(&report.inventory.client_keys),
        in_clear: versions(&report.inventory.unencrypted),
        not_understood: report.inventory.not_understood,
    };
    interface.show("keys.html", ("Keys", "keys"), &view).await
}

pub(super) async fn make(
    State(interface): State<Interface>,
    patience: Patience,
    Filled(Name { name }): Filled<Name>,
) -> Shown {
    let wanted = Wanted { names: vec![name.trim().to_owned()] };
    let created = keys::create(State(interface.clone()), patience, Given(wanted)).await?.into_inner();
    let word = if created.created { "is made" } else { "existed already" };
    Ok(interface.lead_to("/keys", format!("Key {} {word}.", name.trim())))
}

pub(super) async fn delete(
    State(interface): State<Interface>,
    patience: Patience,
    Filled(Name { name }): Filled<Name>,
) -> Shown {
    let key: KeyName = named(&name)?;
    keys::delete(State(interface.clone()), Named(key), patience).await?;
    Ok(interface.lead_to("/keys", format!("Key {name} was deleted.")))
}

/// Replaces a key: what it protects is under the other one afterwards.
pub(super) async fn rotate(
    State(interface): State<Interface>,
    patience: Patience,
    Filled(Replaced { old, new }): Filled<Replaced>,
) -> Shown {
    let request = Request {
        old: named(&old)?,
        new: new.as_deref().map(named).transpose()?,
        slice: SLICE,
        snapshot: true,
        wait: WAIT,
        dry_run: false,
        delete_old: false,
        undo: false,
    };
    let this = interface.clone();
    let rotated = interface.run(move |interrupt| async move {
        let reached = this.reached(patience, &interrupt).await?;
        Box::pin(rotate::rotate(reached, &request, &interrupt, &Silent, &Quiet)).await
    });
    let rotated = rotated.await;
    interface.0.known.forget().await;
    let report = rotated?;
    interface.tell("key", "rotated", &report.old);
    let (moved, left) = (report.moved.versions, report.left.len());
    let left = if left == 0 { String::new() } else { format!(" The former key is still needed in {left} places.") };
    let (old, new) = (report.old, report.new);
    let done = format!("Key {new} replaces {old}. Versions moved: {moved}; no object was read or written.{left}");
    Ok(interface.lead_to("/keys", done))
}

impl Key {
    fn of(entry: Entry, used: KeyUse, default_key: &str, last_use: Option<LastUse>) -> Self {
        Self {
            is_default: entry.name == default_key,
            is_free: !used.protects() && entry.name != default_key,
            total: used.total(),
            minio_files: used.minio_files,
            default_of: used.default_of.into_iter().collect(),
            name: entry.name,
            last_use,
        }
    }
}

/// The page answers once the rotation is complete.
struct Quiet;

impl Meter for Quiet {
    fn moved(&self, _: &Moved, _: u64) {}
}
