//! Taking a snapshot: MinIO is paused while its drive is copied.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kes_server::keystore::fs;

use super::tree::{Copier, sync};
use super::{DESCRIPTION, Interrupt, Snapshot, SnapshotName, VERSION, clear, folder, journal, unfinished};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::resource::GuardRecord;
use crate::resource::apply::{self, Progress, Stage};
use crate::resource::{Context, FileResource, Resource as _};
use crate::stack::Stack;

/// How long MinIO may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// Takes a snapshot of a stack, running or not, and says how long MinIO was paused.
///
/// # Errors
/// [`Error::Occupied`] if there is one of that name; else whatever keeps it from being complete, and then there is none.
pub async fn save(
    stack: &Stack,
    context: &Context,
    name: &SnapshotName,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<(Snapshot, Duration), Error> {
    if folder(&stack.layout, name).exists() {
        return Err(Error::Occupied {
            what: format!("snapshot '{name}' already exists"),
            hint: format!("choose another name, or remove it first: `kestack snapshot remove {name}`"),
        });
    }
    let pod = context.engine.pod(stack.manifest.name.as_str()).await?;
    if stack.kes_runs(pod.as_ref()) {
        GuardRecord::new(stack.guarded(), &stack.manifest).create(context).await?;
    }
    let start = Instant::now();
    let ran = stack.minio_runs(pod.as_ref());
    if ran {
        context.engine.stop_container(&stack.minio_container(), STOP).await?;
    }
    let filled = write_aside(stack, name, interrupt).await;
    let started = async {
        if !ran {
            return Ok(Duration::ZERO);
        }
        apply::up(&[Stage(vec![stack.minio_service()])], context, progress).await?;
        Ok::<_, Error>(start.elapsed())
    };
    // what was taken is on its way to the disk while MinIO starts, which changes nothing of it
    let saved = async {
        let plan = filled?;
        blocking("write", &stack.layout.snapshots(), move || plan.commit()).await
    };
    let (stood, saved) = tokio::join!(started, saved);
    let stood = stood?;
    Ok((saved?, stood))
}

async fn write_aside(stack: &Stack, name: &SnapshotName, interrupt: &Interrupt) -> Result<Plan, Error> {
    let plan = Plan {
        snapshot: Snapshot {
            version: VERSION,
            name: name.clone(),
            stack: stack.manifest.name.to_string(),
            created: Timestamp::now(),
            newest: None,
            keystore: stack.manifest.keystore_name(),
            keys: None,
            files: 0,
            bytes: 0,
            method: super::Method::Copies,
        },
        layout: stack.layout.clone(),
        keys: stack.manifest.keystore_is_fs().then(|| stack.keys_folder()),
        interrupt: interrupt.clone(),
    };
    blocking("write", &stack.layout.snapshots(), move || plan.fill()).await
}

struct Plan {
    snapshot: Snapshot,
    layout: crate::stack::Layout,
    /// The folder of the fs keystore; keys that are elsewhere stay there.
    keys: Option<std::path::PathBuf>,
    interrupt: Interrupt,
}

impl Plan {
    /// Takes all of it aside.
    fn fill(mut self) -> Result<Self, Error> {
        let aside = unfinished(&self.layout, &self.snapshot.name);
        let filled = self.take(&aside);
        self.whole(filled, &aside)?;
        Ok(self)
    }

    /// Makes a snapshot of it.
    fn commit(self) -> Result<Snapshot, Error> {
        let aside = unfinished(&self.layout, &self.snapshot.name);
        let committed = self.move_in(&aside);
        self.whole(committed, &aside)?;
        Ok(self.snapshot)
    }

    /// Leaves nothing of one that is not complete.
    fn whole(&self, done: Result<(), Error>, aside: &Path) -> Result<(), Error> {
        if done.is_err() {
            clear(aside)?;
            // the folder goes if this would have been the first
            let _ = std::fs::remove_dir(self.layout.snapshots());
        }
        done
    }

    fn take(&mut self, aside: &Path) -> Result<(), Error> {
        clear(aside)?;
        super::make_snapshots(&self.layout)?;
        super::make_private(aside)?;
        let layout = &self.layout;
        let mut copier = Copier::within(aside, &self.interrupt);
        // an unknown one does not prevent the snapshot
        let former = Snapshot::list(layout).ok().and_then(|mut all| all.pop()).map(|former| former.drive(layout));
        copier.drive(&layout.drive(), &aside.join("minio"), former.as_deref())?;
        let newest = copier.newest.and_then(|newest| Timestamp::try_from(newest).ok());
        self.snapshot.newest = newest.filter(|newest| *newest > self.snapshot.created);
        // after the drive: a key that was made meanwhile is one too many, never one too few
        if let Some(keys) = &self.keys {
            let before = copier.files;
            copier.files(keys, &aside.join("keys"))?;
            // the marker of sealed keys is not a key
            let marker = u64::from(fs::is_sealed(keys).unwrap_or(false));
            self.snapshot.keys = Some((copier.files - before).saturating_sub(marker));
        }
        copier.files(&layout.certs(), &aside.join("certs"))?;
        copier.files(&layout.config(), &aside.join("config"))?;
        copier.file(&layout.guard(), &aside.join("guard.json"))?;
        (self.snapshot.files, self.snapshot.bytes) = (copier.files, copier.bytes);
        self.snapshot.method = copier.method;
        describe(aside, &self.snapshot)
    }

    fn move_in(&self, aside: &Path) -> Result<(), Error> {
        sync(aside)?;
        self.interrupt.check()?;
        let place = folder(&self.layout, &self.snapshot.name);
        std::fs::rename(aside, &place).map_err(Error::file("move in", &place))?;
        journal::sync_folder(&place)
    }
}

/// Writes the description of a snapshot into its folder.
pub(super) fn describe(folder: &Path, snapshot: &Snapshot) -> Result<(), Error> {
    FileResource::json(folder.join(DESCRIPTION), snapshot)?.make()
}
