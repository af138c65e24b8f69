//! `kestack snapshot`

use std::time::Instant;

use clap::Subcommand;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::archive::{Export, Import};
use super::output::{Output, span, table, time};
use super::session::{CHANGE, Intent, Opened};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::session;
use crate::operate::snapshot::{self, Snapshot as Saved, SnapshotName};
use crate::stack::Layout;

#[derive(Debug, Subcommand)]
pub(super) enum Snapshot {
    /// Take a snapshot of keystore, drive and configuration together; MinIO is stopped meanwhile
    Save {
        /// Name of the snapshot
        name: SnapshotName,
    },
    /// List the snapshots, oldest first
    #[command(visible_alias = "ls")]
    List,
    /// Restore keystore, drive and configuration; everything that was written since is lost
    Restore {
        /// Name of the snapshot
        name: SnapshotName,
    },
    /// Remove snapshots
    #[command(visible_aliases = ["rm", "delete"])]
    Remove {
        /// Names of the snapshots
        #[arg(required = true)]
        names: Vec<SnapshotName>,
    },
    /// Write a snapshot to one file, encrypted with age
    Export(Export),
    /// Make a snapshot from such a file
    Import(Import),
}

#[derive(Serialize, JsonSchema)]
pub(super) struct SavedReport {
    #[serde(flatten)]
    snapshot: Saved,
    /// How long it took.
    milliseconds: u128,
    /// How long MinIO was stopped.
    stopped_milliseconds: u128,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Listed {
    /// All snapshots, oldest first.
    snapshots: Vec<Saved>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Restored {
    /// Name of the snapshot.
    name: SnapshotName,
    /// How long it took.
    milliseconds: u128,
    /// True if the stack ran before, and runs again.
    started: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Removed {
    /// Names of the snapshots that were removed.
    removed: Vec<SnapshotName>,
}

impl Snapshot {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        match self {
            Self::Save { name } => save(globals, name, output, interrupt).await,
            Self::List => {
                let snapshots = Saved::list(&Opened::of(globals, Intent::Read).await?.options.layout())?;
                output.result(&Listed { snapshots }, human_list)?;
                Ok(())
            }
            Self::Restore { name } => restore(globals, name, output, interrupt).await,
            Self::Remove { names } => interrupt.ends(remove(globals, names, output)).await,
            Self::Export(export) => export.run(globals, output, interrupt).await,
            Self::Import(import) => import.run(globals, output, interrupt).await,
        }
    }
}

async fn save(globals: &Globals, name: &SnapshotName, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
    let start = Instant::now();
    let opened = interrupt.ends(Opened::of(globals, CHANGE)).await?;
    refuse_exported(&opened.options.layout())?;
    let reached = interrupt.ends(opened.connect()).await?;
    reached.recover().await?;
    let session = interrupt.ends(reached.session()).await?;
    let progress = output.progress(session.context.engine.info());
    let (snapshot, stopped) =
        snapshot::save(&session.stack, &session.context, name, interrupt, progress.as_ref()).await?;
    let report =
        SavedReport { snapshot, milliseconds: start.elapsed().as_millis(), stopped_milliseconds: stopped.as_millis() };
    output.result(&report, human_saved)?;
    Ok(())
}

async fn restore(globals: &Globals, name: &SnapshotName, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
    let start = Instant::now();
    let opened = interrupt.ends(Opened::of(globals, CHANGE)).await?;
    let layout = opened.options.layout();
    refuse_exported(&layout)?;
    Saved::find(&layout, name)?;
    let reached = interrupt.ends(opened.connect()).await?;
    let stack = reached.options.manifest.name.clone();
    let progress = output.progress(reached.engine().info());
    let started = session::restore(&reached, name, interrupt, progress.as_ref()).await?;
    let report = Restored { name: name.clone(), milliseconds: start.elapsed().as_millis(), started };
    output.result(&report, |report| {
        let next = if report.started { "" } else { "; `kestack up` starts it" };
        format!("stack '{stack}' was restored from snapshot '{}' in {}{next}", report.name, span(report.milliseconds))
    })?;
    Ok(())
}

async fn remove(globals: &Globals, names: &[SnapshotName], output: &Output) -> Result<(), Error> {
    let opened = Opened::of(globals, CHANGE).await?;
    let layout = opened.options.layout();
    snapshot::refuse_pending(&layout)?;
    for name in names {
        Saved::find(&layout, name)?;
    }
    for name in names {
        Saved::remove(&layout, name)?;
    }
    output.result(&Removed { removed: names.to_vec() }, |report| {
        report.removed.iter().map(|name| format!("snapshot '{name}' removed")).collect::<Vec<_>>().join("\n")
    })
}

/// What others start is not ours to stop.
fn refuse_exported(layout: &Layout) -> Result<(), Error> {
    if !layout.is_exported() {
        return Ok(());
    }
    Err(Error::Usage {
        what: "this is an exported stack, which others start and stop".into(),
        hint: "take a snapshot of the stack of `kestack up`".into(),
    })
}

fn human_saved(report: &SavedReport) -> String {
    let Saved { name, files, bytes, method, keys, keystore, .. } = &report.snapshot;
    let keys = match keys {
        Some(keys) => format!("{keys} keys inside"),
        None => format!("its keys stay in {keystore} and are NOT inside"),
    };
    let stopped = match report.stopped_milliseconds {
        0 => String::new(),
        time => format!("; MinIO was stopped for {}", span(time)),
    };
    format!(
        "snapshot '{name}' taken in {}{stopped}\n  {files} files, {}, as {method}; {keys}",
        span(report.milliseconds),
        indicatif::BinaryBytes(*bytes)
    )
}

fn human_list(listed: &Listed) -> String {
    if listed.snapshots.is_empty() {
        return "no snapshots".into();
    }
    let rows: Vec<_> = listed
        .snapshots
        .iter()
        .map(|snapshot| {
            let keys = snapshot.keys.map_or_else(|| format!("in {}", snapshot.keystore), |keys| keys.to_string());
            vec![
                snapshot.name.to_string(),
                time(snapshot.created),
                keys,
                snapshot.files.to_string(),
                indicatif::BinaryBytes(snapshot.bytes).to_string(),
                snapshot.method.to_string(),
            ]
        })
        .collect();
    table(&["snapshot", "created", "keys", "files", "size", "method"], &rows)
}
