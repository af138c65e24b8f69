//! `kestack snapshot`

use clap::Subcommand;

use super::Globals;
use super::archive::{Export, Import};
use super::output::{Output, span, table, time};
use super::session::{CHANGE, Intent, Opened};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::drill::refuse_reserved;
use crate::operate::snapshot::{Listed, Saved as SavedReport, Snapshot as Saved, SnapshotName};

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
    /// Make a snapshot from a file of `kestack snapshot export`
    Import(Import),
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
    refuse_reserved(name)?;
    let opened = interrupt.ends(Opened::of(globals, CHANGE)).await?;
    opened.refuse_exported()?;
    let reached = interrupt.ends(opened.connect()).await?;
    let progress = output.progress(reached.engine().info());
    let report = reached.save_snapshot(name, interrupt, progress.as_ref()).await?;
    output.done(&report, human_saved)?;
    Ok(())
}

async fn restore(globals: &Globals, name: &SnapshotName, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
    let opened = interrupt.ends(Opened::of(globals, CHANGE)).await?;
    opened.refuse_exported()?;
    Saved::find(&opened.options.layout(), name)?;
    let reached = interrupt.ends(opened.connect()).await?;
    let stack = reached.options.manifest.name.clone();
    let progress = output.progress(reached.engine().info());
    let report = reached.restore_snapshot(name, interrupt, progress.as_ref()).await?;
    output.done(&report, |report| {
        let next = if report.started { "" } else { "; `kestack up` starts it" };
        format!("stack '{stack}' was restored from snapshot '{}' in {}{next}", report.name, span(report.milliseconds))
    })?;
    Ok(())
}

async fn remove(globals: &Globals, names: &[SnapshotName], output: &Output) -> Result<(), Error> {
    let report = Opened::of(globals, CHANGE).await?.remove_snapshots(names)?;
    output.done(&report, |report| {
        report.removed.iter().map(|name| format!("snapshot '{name}' removed")).collect::<Vec<_>>().join("\n")
    })?;
    Ok(())
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
