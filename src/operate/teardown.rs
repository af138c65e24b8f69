//! Removing a stack: the pod and its containers, on request the files too.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::engine::{Engine, LABEL_FOLDER, PodState};
use crate::error::Error;
use crate::host::disk::{self, UNFINISHED};
use crate::host::lock::{Hold, Holder, StackLock};
use crate::manifest::EngineKind;
use crate::operate::chaos;
use crate::operate::clone;
use crate::operate::copies;
use crate::operate::snapshot::{Snapshot, SnapshotName};
use crate::resource::interface;
use crate::stack::marker::{self, check_removable};
use crate::stack::{Home, Layout, check_ours};

/// What `down` removed, and what it left because it is not kestack's.
#[derive(Debug, Default, serde::Serialize, schemars::JsonSchema)]
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

/// Removes the pod of stack `name` in that folder with its containers; how it was, if it was there.
pub async fn pod(engine: &dyn Engine, layout: &Layout, name: &str) -> Result<Option<PodState>, Error> {
    let pod = engine.pod(name).await?;
    check_ours(layout, pod.as_ref(), engine.info())?;
    if pod.is_some() {
        engine.remove_pod(name).await?;
    }
    Ok(pod)
}

/// Removes the pod of stack `name`, which must run on this engine if anywhere; with `data` also its files. Its lock is
/// held.
pub async fn stack(engine: &dyn Engine, layout: &Layout, name: &str, data: bool) -> Result<Removed, Error> {
    check_not_by_units(engine, layout)?;
    Box::pin(Home::check(engine, layout, name)).await?;
    clone::clear_abandoned(layout);
    if data {
        check_removable(layout)?;
        copies::clear_all(layout).await?;
    }
    interface::end(&layout.interface()).await?;
    let mut removed = Removed { pod: pod(engine, layout, name).await?.is_some(), ..Removed::default() };
    Home::forget(layout)?;
    if data {
        chaos::undo_files(layout)?;
        files(layout, &mut removed)?;
    }
    Ok(removed)
}

/// What systemd runs is not kestack's to end: its files here are what an `install` is made from.
fn check_not_by_units(engine: &dyn Engine, layout: &Layout) -> Result<(), Error> {
    if engine.info().kind != EngineKind::Systemd {
        return Ok(());
    }
    Err(Error::Usage {
        what: format!("systemd runs the stack in '{}'", layout.root().display()),
        hint:
            "end it with `systemctl disable --now` and the names of its units; its keys and data stay in the folders of \
               the units"
                .into(),
    })
}

/// A stack whose lease is over.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Expired {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// The stacks on an engine whose lease is over at `now`, by the labels of their pods.
pub async fn expired(engine: &dyn Engine, now: Timestamp) -> Result<Vec<Expired>, Error> {
    Ok(engine.pods().await?.iter().filter_map(|pod| lease_of(pod, now)).collect())
}

/// The stack of a pod whose lease is over at `now`, as its labels say.
fn lease_of(pod: &PodState, now: Timestamp) -> Option<Expired> {
    let end = pod.expires()?;
    let folder = Some(PathBuf::from(pod.labels.get(LABEL_FOLDER)?)).filter(|folder| folder.is_absolute())?;
    (end <= now).then(|| Expired { name: pod.name.clone(), folder })
}

/// True if the lease of a pod's stack is over within that time.
pub fn ends_within(pod: &PodState, time: Duration, now: Timestamp) -> bool {
    SignedDuration::try_from(time).is_ok_and(|time| lease_of(pod, now + time).is_some())
}

/// Removes all stacks on an engine whose lease is over at `now`, with all their data, and says which they were. One that
/// cannot be removed keeps none of the others.
pub async fn remove_all_expired(engine: &dyn Engine, now: Timestamp) -> Result<Vec<Expired>, Error> {
    let mut removed = Vec::new();
    for stack in expired(engine, now).await? {
        match remove_expired(engine, &stack, now).await {
            Ok(true) => removed.push(stack),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!("the lease of stack '{}' is over, but it cannot be removed: {error}", stack.name);
            }
        }
    }
    Ok(removed)
}

/// Removes a stack whose lease is over, with all its data; nothing if somebody else did, or made it again, meanwhile.
///
/// # Errors
/// [`Error::Environment`] if the folder that the pod names does not show that it belongs to it; then nothing is removed.
pub async fn remove_expired(engine: &dyn Engine, stack: &Expired, now: Timestamp) -> Result<bool, Error> {
    let waiting = |holder: &Holder| tracing::info!("stack '{}': waiting for {holder}", stack.name);
    let _lock = StackLock::acquire(&stack.folder, Hold::Change, waiting).await?;
    // the one of that name: others can carry its labels, too
    let found = engine.pod(&stack.name).await?;
    let Some(found) = found.filter(|found| lease_of(found, now).as_ref() == Some(stack)) else { return Ok(false) };
    let layout = Layout::at(&stack.folder);
    // where nothing is left of the folder there is nothing to lose
    if layout.root().symlink_metadata().is_ok() {
        marker::check_pair(&layout, &found, engine.info())?;
        Box::pin(Home::check(engine, &layout, &stack.name)).await?;
    }
    interface::end(&layout.interface()).await?;
    pod(engine, &layout, &stack.name).await?;
    chaos::undo_files(&layout)?;
    files(&layout, &mut Removed::default())?;
    copies::clear_around(&layout)?;
    Ok(true)
}

/// Removes the stack's folders: keys, certificates, configuration and data. Only what kestack makes: anything else
/// in the folder stays and is named.
///
/// # Errors
/// [`Error::Environment`] if the folder does not show that it is a stack's, or another user owns it.
pub fn files(layout: &Layout, removed: &mut Removed) -> Result<(), Error> {
    check_removable(layout)?;
    for folder in [layout.drive(), layout.restore(), layout.trash(), layout.config(), layout.certs(), layout.keys()] {
        match std::fs::remove_dir_all(&folder) {
            Ok(()) => removed.folders.push(folder),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file("remove", &folder)(error)),
        }
    }
    for file in [
        layout.guard(),
        layout.journal(),
        layout.origin(),
        layout.minio_record(),
        layout.fresh(),
        layout.bench(),
        layout.drills(),
        layout.clones(),
        layout.measured(),
        layout.interface(),
    ] {
        disk::remove(&file)?;
    }
    let root = layout.root();
    unfinished(root)?;
    // last: as long as snapshots are there, it shows whose they are
    if !layout.snapshots().is_dir() {
        disk::remove(&layout.marker())?;
    }
    match std::fs::remove_dir(root) {
        Ok(()) => removed.folders.push(root.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
            let entries = std::fs::read_dir(root).map_err(Error::file("read", root))?;
            removed.left = entries.flatten().map(|entry| entry.path()).collect();
            removed.left.retain(|path| ![layout.snapshots(), layout.marker()].contains(path));
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
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            continue;
        }
        match entry.file_type() {
            // a clone of the drive
            Ok(kind) if kind.is_dir() => disk::clear(&entry.path())?,
            _ => disk::remove(&entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::process::Processes;
    use crate::engine::{LABEL_EXPIRES, LABEL_ID, LABEL_STACK, PodSpec};
    use crate::stack::marker::Marker;

    /// A pod whose lease is over and whose labels name that folder.
    fn pod(name: &str, folder: &Path, id: &str) -> PodSpec {
        let labels = [
            (LABEL_STACK, name.to_owned()),
            (LABEL_EXPIRES, "2020-01-01T00:00:00Z".to_owned()),
            (LABEL_FOLDER, folder.display().to_string()),
            (LABEL_ID, id.to_owned()),
        ];
        PodSpec {
            name: name.into(),
            labels: labels.map(|(name, value)| (name.to_owned(), value)).into(),
            ports: vec![],
        }
    }

    #[tokio::test]
    async fn a_label_cannot_have_the_folder_of_others_removed() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let engine = Processes::new(base.clone(), "/bin/false".into());
        let project = base.join("victim/project");
        for folder in ["config", "certs", "keys", "minio"] {
            std::fs::create_dir_all(project.join(folder)).unwrap();
            std::fs::write(project.join(folder).join("mine"), "").unwrap();
        }
        let leased = Layout::new(&base, "leased");
        disk::create_private(&leased.config()).unwrap();
        let marker = Marker::of(&leased, "leased", engine.info()).unwrap();
        marker.file(&leased).unwrap().make().unwrap();
        let kept = Layout::new(&base, "kept");
        disk::create_private(&kept.config()).unwrap();
        Marker::of(&kept, "kept", engine.info()).unwrap().file(&kept).unwrap().make().unwrap();
        let missing = base.join("gone");
        for (name, folder, id) in [
            ("project", &project, marker.id.as_str()),
            ("kept", &kept.root().to_owned(), "chosen by an image"),
            ("leased", &leased.root().to_owned(), &marker.id),
            ("left", &missing, ""),
        ] {
            engine.create_pod(&pod(name, folder, id)).await.unwrap();
        }
        let removed = remove_all_expired(&engine, Timestamp::now()).await.unwrap();
        let names: Vec<_> = removed.iter().map(|stack| stack.name.as_str()).collect();
        assert_eq!(names, ["leased", "left"], "one that cannot be removed keeps none of the others");
        assert!(["config", "certs", "keys", "minio"].iter().all(|folder| project.join(folder).join("mine").exists()));
        assert!(kept.marker().exists() && engine.pod("kept").await.unwrap().is_some());
        assert!(!leased.root().exists());
    }

    #[test]
    fn a_folder_that_kestack_did_not_make_is_left_as_it_is() {
        let base = tempfile::tempdir().unwrap();
        let project = Layout::at(&base.path().join("project"));
        std::fs::create_dir_all(project.config()).unwrap();
        std::fs::write(project.config().join("mine"), "").unwrap();
        let error = files(&project, &mut Removed::default()).unwrap_err();
        assert!(error.to_string().contains("nothing in it is removed"), "{error}");
        assert!(project.config().join("mine").exists());
    }

    #[test]
    fn only_what_is_not_kestacks_stays() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(&folder.path().join("stack"));
        std::fs::create_dir_all(layout.keys()).unwrap();
        for file in
            [layout.guard(), layout.origin(), layout.root().join(".kestack-a1b2c3"), layout.root().join("notes")]
        {
            std::fs::write(file, "").unwrap();
        }
        std::fs::create_dir_all(layout.root().join(".kestack-clone-a1b2c3/minio")).unwrap();
        let mut removed = Removed::default();
        files(&layout, &mut removed).unwrap();
        assert_eq!(removed.left, [layout.root().join("notes")]);
        std::fs::remove_file(layout.root().join("notes")).unwrap();
        files(&layout, &mut Removed::default()).unwrap();
        assert!(!layout.root().exists());
    }
}
