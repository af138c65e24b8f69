//! The exchange of folders that a restore ends with, written down before it begins, so that it can be ended by whoever
//! comes next.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{UNFINISHED, clear};
use crate::engine::Engine;
use crate::error::Error;
use crate::resource::FileResource;
use crate::stack::Layout;

/// What takes the place of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Exchange {
    /// Prepared, on the same file system.
    pub(super) new: PathBuf,
    /// Where it belongs.
    pub(super) place: PathBuf,
}

/// True if a restore was begun and not finished.
pub fn is_pending(layout: &Layout) -> bool {
    layout.journal().exists()
}

/// Writes down what will be exchanged: from now on it will be, whatever happens.
pub(super) fn write(layout: &Layout, exchanges: &[Exchange]) -> Result<(), Error> {
    let path = layout.journal();
    FileResource::json(&path, &exchanges)?.make()?;
    sync_folder(&path)
}

/// Makes the exchanges that are not made yet, and forgets about them. What was there before goes to the trash.
pub(super) fn finish(layout: &Layout) -> Result<(), Error> {
    let path = layout.journal();
    let bytes = std::fs::read(&path).map_err(Error::file("read", &path))?;
    let exchanges: Vec<Exchange> = serde_json::from_slice(&bytes).map_err(|error| Error::Environment {
        what: format!("'{}' is not understood: {error}", path.display()),
        hint: "use the kestack that wrote it".into(),
    })?;
    let trash = layout.trash();
    std::fs::create_dir_all(&trash).map_err(Error::file("create", &trash))?;
    for exchange in &exchanges {
        exchange.make(&trash)?;
    }
    std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
    sync_folder(&path)?;
    clear(&layout.restore())
}

/// Ends what a killed `restore` began, with both servers stopped, and clears away what a killed one had only prepared.
///
/// # Errors
/// Those of the engine and of the file system.
pub async fn recover(layout: &Layout, engine: &dyn Engine, stack: &str) -> Result<(), Error> {
    if is_pending(layout) {
        tracing::warn!("finishing the restore of a snapshot that was interrupted");
        stop(engine, stack).await?;
        finish(layout)?;
    }
    clear(&layout.restore())?;
    clear(&layout.trash())?;
    for entry in std::fs::read_dir(layout.snapshots()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            clear(&entry.path())?;
        }
    }
    Ok(())
}

async fn stop(engine: &dyn Engine, stack: &str) -> Result<(), Error> {
    let Some(pod) = engine.pod(stack).await? else { return Ok(()) };
    for container in pod.containers.iter().filter(|container| container.running) {
        engine.stop_container(&container.name, Duration::from_secs(10)).await?;
    }
    Ok(())
}

impl Exchange {
    /// Killed between the two renames, it is finished by a second call.
    fn make(&self, trash: &Path) -> Result<(), Error> {
        if !self.new.exists() {
            return Ok(());
        }
        let name = self.place.file_name().unwrap_or_default();
        let old = trash.join(name);
        if self.place.exists() {
            clear_any(&old)?;
            std::fs::rename(&self.place, &old).map_err(Error::file("move away", &self.place))?;
        }
        std::fs::rename(&self.new, &self.place).map_err(Error::file("move in", &self.place))?;
        sync_folder(&self.place)
    }
}

fn clear_any(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return clear(path);
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a rename of that path last.
pub(super) fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file("sync", folder))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;

    fn layout(base: &Path) -> Layout {
        let layout = Layout::new(base, "s");
        for (path, text) in
            [("minio/a", "old"), ("keys/k", "old"), ("restore/minio/a", "new"), ("restore/keys/k", "new")]
        {
            let path = layout.root().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        layout
    }

    fn exchanges(layout: &Layout) -> Vec<Exchange> {
        ["minio", "keys"]
            .map(|name| Exchange { new: layout.restore().join(name), place: layout.root().join(name) })
            .into()
    }

    #[test]
    fn an_exchange_is_finished_from_every_point_it_can_be_killed_at() {
        for done in 0..=4 {
            let base = tempfile::tempdir().unwrap();
            let layout = layout(base.path());
            write(&layout, &exchanges(&layout)).unwrap();
            std::fs::create_dir(layout.trash()).unwrap();
            // the renames that were made before the kill
            let renames = [
                (layout.drive(), layout.trash().join("minio")),
                (layout.restore().join("minio"), layout.drive()),
                (layout.keys(), layout.trash().join("keys")),
                (layout.restore().join("keys"), layout.keys()),
            ];
            for (from, to) in renames.iter().take(done) {
                std::fs::rename(from, to).unwrap();
            }
            finish(&layout).unwrap();
            let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
            assert_eq!((read(layout.drive().join("a")), read(layout.keys().join("k"))), ("new".into(), "new".into()));
            assert!(!is_pending(&layout) && !layout.restore().exists(), "after {done}");
            assert_eq!(read(layout.trash().join("minio/a")), "old");
        }
    }
}
