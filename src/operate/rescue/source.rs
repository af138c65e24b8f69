//! Where objects and keys come from: the stack as it is on the disk, or a snapshot of it.

use std::path::{Path, PathBuf};

use kes_server::keystore::Environment;

use super::{Found, Request};
use crate::data::guard::Keystore;
use crate::engine::process::own_program;
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::freeze::Freezer;
use crate::host::interrupt::Interrupt;
use crate::keystore::StaticKey;
use crate::manifest::Manifest;
use crate::operate::clone::{ClonePlan, ClonedDrive};
use crate::operate::rotate::check::freezer_of;
use crate::operate::session::{Opened, Reached};
use crate::operate::snapshot::Snapshot;
use crate::stack::{Home, Layout, own_pod};

/// What is read.
#[derive(Debug)]
pub(super) struct Source {
    manifest: Manifest,
    layout: Layout,
    drive: PathBuf,
    keys: PathBuf,
    /// Opens the keys if they are sealed under one that kestack made.
    master_key: PathBuf,
    /// Pauses the stack's MinIO, if that runs.
    freezer: Option<Freezer>,
    /// Keeps others from starting it meanwhile.
    _reached: Option<Reached>,
    _locked: Option<Opened>,
}

impl Source {
    /// The stack's drive and keys, or those of the snapshot.
    ///
    /// # Errors
    /// [`Error::Absent`] if there is no such snapshot, [`Error::NotRunning`] if there is no drive; [`Error::Environment`] if
    /// MinIO runs and cannot be paused.
    pub(super) async fn of(opened: Opened, request: &Request) -> Result<Self, Error> {
        let (manifest, layout) = (opened.options.manifest.clone(), opened.options.layout().seen_by_servers());
        if let Some(name) = &request.snapshot {
            let snapshot = Snapshot::find(&layout, name)?;
            let keys = snapshot.keys_folder(&layout);
            let drive = snapshot.drive(&layout);
            // one that was written to a file without a passphrase has none
            let own = Some(snapshot.master_key(&layout)).filter(|file| file.exists());
            let master_key = own.unwrap_or_else(|| layout.master_key());
            let (freezer, reached, locked) = (None, None, Some(opened));
            return Ok(Self { manifest, layout, drive, keys, master_key, freezer, _reached: reached, _locked: locked });
        }
        let drive = layout.drive();
        if !drive.is_dir() {
            return Err(Error::NotRunning(manifest.name.to_string()));
        }
        let keys = manifest.fs_path().unwrap_or_else(|| layout.keys());
        let (freezer, reached, locked) = paused(opened, request.stopped).await?;
        let master_key = layout.master_key();
        Ok(Self { manifest, layout, drive, keys, master_key, freezer, _reached: reached, _locked: locked })
    }

    /// Clones the drive, while MinIO is paused if it runs.
    pub(super) async fn clone_drive(&self, work: Option<&Path>, interrupt: &Interrupt) -> Result<ClonedDrive, Error> {
        let Some(freezer) = &self.freezer else {
            return ClonedDrive::of(&self.layout, &self.drive, work, interrupt).await;
        };
        tokio::task::block_in_place(|| {
            let plan = ClonePlan::of(&self.layout, &self.drive, work, interrupt)?;
            let hint = "stop the stack with `kestack stop`, then run the same command again";
            plan.fill_paused(freezer, hint).map(|(clone, _)| clone)
        })
    }

    /// The keystore, if it can be opened.
    pub(super) async fn keystore(&self, environment: &Environment) -> Option<Keystore> {
        Keystore::open(&self.manifest, self.keys.clone(), self.master_key.clone(), environment).await
    }
}

/// Who pauses the stack's MinIO, and what holds the stack's lock.
type Paused = (Option<Freezer>, Option<Reached>, Option<Opened>);

/// Who pauses the stack's MinIO, if an engine says that it runs. A stack that is broken may have none that answers: its MinIO
/// is taken for stopped if the stack is up on no engine, or the caller says so.
///
/// # Errors
/// [`Error::Environment`] if the engine that the stack is up on does not answer, or is another one.
async fn paused(opened: Opened, is_stopped: bool) -> Result<Paused, Error> {
    let name = opened.options.manifest.name.to_string();
    let reached = match opened.connect_or_keep().await? {
        Ok(reached) => reached,
        Err((opened, error)) => {
            let home = Home::recorded(&opened.options.layout())?;
            if let Some(home) = home.filter(|_| !is_stopped) {
                return Err(silent(&home, &error));
            }
            tracing::warn!("no engine answers, so kestack assumes that MinIO is stopped: {error}");
            return Ok((None, None, Some(opened)));
        }
    };
    let pod = own_pod(reached.engine().as_ref(), &reached.options.layout(), &name).await?;
    let container = format!("{name}-minio-server");
    let runs = pod.iter().flat_map(|pod| &pod.containers).any(|found| found.name == container && found.running);
    if !runs {
        return Ok((None, Some(reached), None));
    }
    let program = own_program().map_err(Error::file("find", "/proc/self/exe"))?;
    let freezer = blocking("pause", Path::new("/proc"), move || freezer_of(&container, pod.as_ref(), &program)).await?;
    Ok((Some(freezer), Some(reached), None))
}

fn silent(home: &Home, error: &Error) -> Error {
    Error::Environment {
        what: format!("the stack is up on {home}, which does not answer, so its MinIO may be writing: {error}"),
        hint: "start that engine, or run the same command with `--stopped` if MinIO does not run any more".into(),
    }
}

/// A key of the keystore; else why it is not there.
pub(super) async fn key(keystore: Option<&Keystore>, name: &str) -> Found {
    let keystore = keystore.ok_or("the keystore cannot be opened")?;
    let key = keystore.key(name).await?;
    let name = name.parse().map_err(|_| "KES cannot have a key of that name")?;
    StaticKey::of(name, &key)
}
