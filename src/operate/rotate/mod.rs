//! Replacing a key: what is encrypted under one key is encrypted under another afterwards, and this is proven.
//!
//! Only data keys are sealed again: KES opens each with the former key and seals it with the new one, and the metadata on the
//! drive gets the result (docs/minio-keyrotate.md §3). Objects are neither read nor written. Both keys are valid meanwhile,
//! and every version names its own, so a rotation that is interrupted leaves a valid drive; the [`record`] says how to
//! continue or to roll back. New metadata is prepared next to the old while MinIO runs. MinIO is paused only while what did not
//! change is renamed into its place.

use std::time::{Duration, Instant};

use kes_server::auth::KeyName;
use schemars::JsonSchema;
use serde::Serialize;

use crate::data::drive::Inventory;
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::session::Reached;
use crate::operate::snapshot::SnapshotName;
use crate::resource::apply::Progress;

pub(in crate::operate) mod check;
mod content;
mod defaults;
mod left;
mod pass;
mod record;
mod slice;
mod staging;
mod turn;

pub(crate) use left::Left;
pub(crate) use pass::{Meter, Moved};
use turn::End;

/// How often keys are exchanged if uploads under the former key end just before that is deleted.
const ROUNDS: usize = 3;

/// What is wanted.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "switches of the command line")]
pub(crate) struct Request {
    /// The key to replace.
    pub(crate) old: KeyName,
    /// The key that replaces it, if not one that kestack names.
    pub(crate) new: Option<KeyName>,
    /// Most metadata files that are renamed while MinIO is paused.
    pub(crate) slice: usize,
    /// Whether a snapshot is taken first.
    pub(crate) snapshot: bool,
    /// How long unfinished uploads are waited for.
    pub(crate) wait: Duration,
    /// Whether nothing is changed.
    pub(crate) dry_run: bool,
    /// Whether the former key is removed in the end.
    pub(crate) delete_old: bool,
    /// Whether a rotation is undone.
    pub(crate) undo: bool,
}

/// What was done, or would be.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "an answer with one field for each fact")]
pub(crate) struct Report {
    /// The key that was replaced.
    pub(crate) old: String,
    /// The key that replaced it.
    pub(crate) new: String,
    /// True if a rotation was undone: then `old` and `new` have changed places.
    pub(crate) undone: bool,
    /// True if nothing was changed.
    pub(crate) dry_run: bool,
    /// The snapshot that was taken first; null if none was.
    pub(crate) snapshot: Option<SnapshotName>,
    /// What was exchanged.
    #[serde(flatten)]
    pub(crate) moved: Moved,
    /// Versions of objects under keys that only clients have (SSE-C), which no key of KES protects.
    pub(crate) client_key_versions: u64,
    /// Buckets whose new objects the new key protects from now on.
    pub(crate) buckets: Vec<String>,
    /// True if the key in kestack.yaml was exchanged.
    pub(crate) manifest: bool,
    /// How long MinIO was stopped for its new default key; null if it was not.
    pub(crate) restart_milliseconds: Option<u128>,
    /// How long it took.
    pub(crate) milliseconds: u128,
    /// What still needs the former key, and why.
    pub(crate) left: Vec<Left>,
    /// True if the former key was removed.
    pub(crate) deleted: bool,
    /// Why the former key was kept, although `--delete-old` was given; null otherwise.
    pub(crate) kept: Option<String>,
}

/// Replaces a key, or undoes that. The stack's lock is held.
///
/// # Errors
/// Every obstacle, before anything is changed; later those of the servers, the engine and the file system, after which the
/// same call continues.
pub(crate) async fn rotate(
    reached: Reached,
    request: &Request,
    interrupt: &Interrupt,
    progress: &dyn Progress,
    meter: &dyn Meter,
) -> Result<Report, Error> {
    let start = Instant::now();
    let mut turn = Box::pin(turn::Turn::begin(reached, request, progress)).await?;
    let before = turn.inventory().await?;
    let mut report = planned(&turn, &before, request);
    if request.dry_run {
        return Ok(report);
    }
    report.snapshot = turn.prepare(request, interrupt, progress).await?;
    let away = Box::pin(interrupt.ends(turn.settle_defaults(&before, progress))).await?;
    report.restart_milliseconds = away.map(|away| away.as_millis());
    rounds(&mut turn, request, &before, &mut report, interrupt, progress, meter).await?;
    report.milliseconds = start.elapsed().as_millis();
    Ok(report)
}

/// Exchanges keys until nothing is left, and deletes the former one if that is wanted.
async fn rounds(
    turn: &mut turn::Turn,
    request: &Request,
    before: &Inventory,
    report: &mut Report,
    interrupt: &Interrupt,
    progress: &dyn Progress,
    meter: &dyn Meter,
) -> Result<(), Error> {
    report.moved = Moved::default();
    for _ in 0..ROUNDS {
        let done = turn.exchange(request, before, interrupt, meter).await?;
        (report.moved, report.left) = (report.moved.and(&done.moved), done.left);
        if !report.left.is_empty() {
            report.kept = None;
            return Ok(());
        }
        match turn.end(request, progress).await? {
            End::Stays => return Ok(()),
            End::Deleted => {
                (report.deleted, report.kept) = (true, None);
                return Ok(());
            }
            End::Needed(why) => report.kept = Some(why),
        }
    }
    Ok(())
}

/// What is going to be done.
fn planned(turn: &turn::Turn, inventory: &Inventory, request: &Request) -> Report {
    let used = inventory.keys.get(turn.old.as_str());
    let total = used.map(crate::data::drive::KeyUse::total).unwrap_or_default();
    let files = used.map(|used| used.minio_files).unwrap_or_default();
    Report {
        old: turn.old.to_string(),
        new: turn.new.to_string(),
        undone: request.undo,
        dry_run: request.dry_run,
        snapshot: None,
        moved: Moved { versions: total.versions, minio_files: files, bytes: total.bytes, ..Moved::default() },
        client_key_versions: client_key_versions(inventory),
        buckets: used.map(|used| used.default_of.iter().cloned().collect()).unwrap_or_default(),
        manifest: turn.edits_manifest(),
        restart_milliseconds: None,
        milliseconds: 0,
        left: vec![],
        deleted: false,
        kept: None,
    }
}

fn client_key_versions(inventory: &Inventory) -> u64 {
    inventory.client_keys.values().map(|count| count.versions).sum()
}
