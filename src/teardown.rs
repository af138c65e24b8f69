//! The way back: a pod and its containers removed, on request the files too.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::chaos;
use crate::disk::{self, UNFINISHED};
use crate::engine::{Engine, LABEL_EXPIRES, LABEL_FOLDER, PodState, units};
use crate::error::Error;
use crate::lock::{Hold, StackLock};
use crate::snapshot::{Snapshot, SnapshotName};
use crate::stack::{Home, Layout, check_ours};

/// What `down` removed, and what it left because it is not kestack's.
#[derive(Debug, Default, serde::Serialize)]
pub struct Removed {
    /// True if there was a pod.
    pub pod: bool,
    /// Folders that were removed.
    pub folders: Vec<PathBuf>,
    /// Snapshots, which only `snapshot remove` removes.
    pub snapshots: Vec<SnapshotName>,
    /// Foreign entries in the stack's folder, left alone.
    pub left: Vec<PathBuf>,
}

/// Removes the pod of stack `name` with its containers.
pub async fn pod(engine: &dyn Engine, name: &str) -> Result<bool, Error> {
    let pod = engine.pod(name).await?;
    check_ours(name, pod.as_ref(), engine.info())?;
    if pod.is_some() {
        engine.remove_pod(name).await?;
    }
    Ok(pod.is_some())
}

/// Removes the pod of stack `name`, which must run on this engine if anywhere; with `data` also its files. Its lock is
/// held.
pub async fn stack(engine: &dyn Engine, layout: &Layout, name: &str, data: bool) -> Result<Removed, Error> {
    check_not_by_units(engine, layout)?;
    Home::of(engine.info()).check(layout)?;
    let mut removed = Removed { pod: pod(engine, name).await?, ..Removed::default() };
    Home::forget(layout)?;
    if data {
        chaos::undo_files(layout)?;
        files(layout, &mut removed)?;
    }
    Ok(removed)
}

/// What systemd runs is not kestack's to end: its files here are what an `install` is made from.
fn check_not_by_units(engine: &dyn Engine, layout: &Layout) -> Result<(), Error> {
    if engine.info().kind != units::KIND {
        return Ok(());
    }
    Err(Error::Usage {
        what: format!("systemd runs the stack in '{}'", layout.root().display()),
        hint:
            "end it with `systemctl disable --now` and the names of its units; its keys and data stay where the units \
               have them"
                .into(),
    })
}

/// A stack whose lease is over.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Expired {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// The stacks on an engine whose lease is over at `now`, by the labels of their pods.
pub async fn expired(engine: &dyn Engine, now: Timestamp) -> Result<Vec<Expired>, Error> {
    let over = |pod: PodState| {
        let end: Timestamp = pod.labels.get(LABEL_EXPIRES)?.parse().ok()?;
        let folder = PathBuf::from(pod.labels.get(LABEL_FOLDER)?);
        (end <= now).then_some(Expired { name: pod.name, folder })
    };
    Ok(engine.pods().await?.into_iter().filter_map(over).collect())
}

/// Removes all stacks on an engine whose lease is over at `now`, with all their data, and says which they were.
pub async fn remove_all_expired(engine: &dyn Engine, now: Timestamp) -> Result<Vec<Expired>, Error> {
    let mut removed = Vec::new();
    for stack in expired(engine, now).await? {
        if remove_expired(engine, &stack, now).await? {
            removed.push(stack);
        }
    }
    Ok(removed)
}

/// Removes a stack whose lease is over, with all its data; nothing if somebody else did, or made it anew, meanwhile.
pub async fn remove_expired(engine: &dyn Engine, stack: &Expired, now: Timestamp) -> Result<bool, Error> {
    let waiting = || tracing::warn!("another kestack works on '{}'", stack.name);
    let _lock = StackLock::acquire(&stack.folder, Hold::Change, waiting).await?;
    if !expired(engine, now).await?.contains(stack) {
        return Ok(false);
    }
    pod(engine, &stack.name).await?;
    let layout = Layout::at(&stack.folder);
    chaos::undo_files(&layout)?;
    files(&layout, &mut Removed::default())?;
    Ok(true)
}

/// Removes the stack's folders: keys, certificates, configuration and data. Only what kestack makes: anything else
/// in the folder stays and is named.
pub fn files(layout: &Layout, removed: &mut Removed) -> Result<(), Error> {
    for folder in [layout.drive(), layout.restore(), layout.trash(), layout.config(), layout.certs(), layout.keys()] {
        match std::fs::remove_dir_all(&folder) {
            Ok(()) => removed.folders.push(folder),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file("remove", &folder)(error)),
        }
    }
    for file in [layout.guard(), layout.journal()] {
        disk::remove(&file)?;
    }
    let root = layout.root();
    unfinished(root)?;
    match std::fs::remove_dir(root) {
        Ok(()) => removed.folders.push(root.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
            let entries = std::fs::read_dir(root).map_err(Error::file("read", root))?;
            removed.left = entries.flatten().map(|entry| entry.path()).collect();
            removed.left.retain(|path| *path != layout.snapshots());
            removed.snapshots = Snapshot::list(layout)?.into_iter().map(|snapshot| snapshot.name).collect();
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::file("remove", root)(error)),
    }
    // The default base folder goes with its last stack; one that the user chose stays.
    if let Some(base) = root.parent().filter(|base| base.ends_with("kestack")) {
        let _ = std::fs::remove_dir(base);
    }
    Ok(())
}

/// Removes what a kestack left that was killed while it wrote into the stack's folder.
fn unfinished(root: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) && path.is_file() {
            disk::remove(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;

    #[test]
    fn only_what_is_not_kestacks_stays() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(&folder.path().join("stack"));
        std::fs::create_dir_all(layout.keys()).unwrap();
        for file in [layout.guard(), layout.root().join(".kestack-a1b2c3"), layout.root().join("notes")] {
            std::fs::write(file, "").unwrap();
        }
        let mut removed = Removed::default();
        files(&layout, &mut removed).unwrap();
        assert_eq!(removed.left, [layout.root().join("notes")]);
        std::fs::remove_file(layout.root().join("notes")).unwrap();
        files(&layout, &mut Removed::default()).unwrap();
        assert!(!layout.root().exists());
    }
}
