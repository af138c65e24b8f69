//! The last steps of a restore, recorded before they begin, so that any later command can finish them: the drive is put
//! back in place, the other folders are swapped.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rollback::Rollback;
use super::tree::{Copier, sync};
use super::{Interrupt, UNFINISHED, clear};
use crate::engine::Engine;
use crate::error::Error;
use crate::host::disk::create_private;
use crate::resource::FileResource;
use crate::stack::marker::check_removable;
use crate::stack::{Layout, own_pod};

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

/// Refuses to go on while a restore that was begun still needs its snapshot.
///
/// # Errors
/// [`Error::Usage`].
pub fn refuse_pending(layout: &Layout) -> Result<(), Error> {
    if !is_pending(layout) {
        return Ok(());
    }
    Err(Error::Usage {
        what: "a restore of a snapshot was interrupted".into(),
        hint: "complete it first: run `kestack up`, or the same restore again".into(),
    })
}

/// What is done to end a restore. Every step can be done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) drive: Rollback,
    pub(super) exchanges: Vec<Exchange>,
}

/// Writes down what will be done: from now on it will be, whatever happens.
pub(super) fn write(layout: &Layout, journal: &Journal) -> Result<(), Error> {
    let path = layout.journal();
    FileResource::json(&path, journal)?.make()?;
    sync_folder(&path)
}

/// Does the remaining steps, and forgets about them. The old files go to the trash.
pub(super) fn finish(layout: &Layout, copier: &Copier) -> Result<(), Error> {
    let path = layout.journal();
    let bytes = std::fs::read(&path).map_err(Error::file("read", &path))?;
    let journal: Journal = serde_json::from_slice(&bytes).map_err(|error| Error::Environment {
        what: format!("'{}' cannot be read: {error}", path.display()),
        hint: "use the kestack that wrote it".into(),
    })?;
    let trash = layout.trash();
    create_private(&trash)?;
    let back = journal.drive.make(copier, &trash)?;
    tracing::debug!(back.files, back.bytes, "the drive is put back");
    for exchange in &journal.exchanges {
        exchange.make(&trash)?;
    }
    // one for all that was moved: without it a power failure could leave the former drive, and no journal
    sync(layout.root())?;
    std::fs::remove_file(&path).map_err(Error::file("remove", &path))?;
    sync_folder(&path)?;
    Ok(clear(&layout.restore())?)
}

/// Ends what a killed `restore` began, with both servers stopped, and clears away what a killed one had only prepared.
///
/// # Errors
/// Those of the engine and of the file system.
pub async fn recover(layout: &Layout, engine: &dyn Engine, stack: &str) -> Result<(), Error> {
    if is_pending(layout) {
        tracing::warn!("completing the interrupted restore of a snapshot");
        stop(layout, engine, stack).await?;
        finish(layout, &Copier::within(&layout.restore(), &Interrupt::default()))?;
    }
    for folder in [layout.restore(), layout.trash()] {
        if folder.exists() {
            check_removable(layout)?;
            clear(&folder)?;
        }
    }
    for entry in std::fs::read_dir(layout.snapshots()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            clear(&entry.path())?;
        }
    }
    Ok(())
}

async fn stop(layout: &Layout, engine: &dyn Engine, stack: &str) -> Result<(), Error> {
    let Some(pod) = own_pod(engine, layout, stack).await? else { return Ok(()) };
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
        std::fs::rename(&self.new, &self.place).map_err(Error::file("move in", &self.place))
    }
}

fn clear_any(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(clear(path)?);
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
    use super::super::tree::same;
    use super::*;

    const OBJECTS: usize = 150;

    fn write_file(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A stack with changes since its snapshot: each third object is new, changed, gone.
    fn changed_stack(base: &Path) -> Layout {
        let layout = Layout::new(base, "s");
        let snapshot = layout.snapshots().join("a/minio");
        for number in 0..OBJECTS {
            let (then, now) = (snapshot.join(format!("b/{number}")), layout.drive().join(format!("b/{number}")));
            match number % 3 {
                0 => write_file(&then.join("xl.meta"), "then"),
                1 => {
                    write_file(&then.join("xl.meta"), "then");
                    write_file(&now.join("xl.meta"), "later");
                }
                _ => write_file(&now.join("xl.meta"), "later"),
            }
        }
        for (path, text) in [("keys/k", "old"), ("restore/keys/k", "new")] {
            write_file(&layout.root().join(path), text);
        }
        layout
    }

    fn copier(layout: &Layout) -> Copier {
        Copier::within(&layout.restore(), &Interrupt::default())
    }

    fn begin(layout: &Layout) {
        let drive = Rollback {
            snapshot: layout.snapshots().join("a/minio"),
            staged: layout.restore().join("minio"),
            drive: layout.drive(),
        };
        drive.stage(&copier(layout)).unwrap();
        let exchanges = vec![Exchange { new: layout.restore().join("keys"), place: layout.keys() }];
        write(layout, &Journal { drive, exchanges }).unwrap();
    }

    fn assert_finished(layout: &Layout) {
        assert!(same(&layout.drive(), &layout.snapshots().join("a/minio")).unwrap());
        assert_eq!(std::fs::read_dir(layout.drive().join("b")).unwrap().count(), OBJECTS * 2 / 3);
        assert_eq!(std::fs::read_to_string(layout.keys().join("k")).unwrap(), "new");
        assert!(!is_pending(layout) && !layout.restore().exists());
    }

    /// What [`a_killed_restore_is_finished`] starts and kills.
    #[test]
    fn finishes_what_the_environment_names() {
        if let Some(base) = std::env::var_os("KESTACK_TEST_FINISH") {
            let layout = Layout::new(Path::new(&base), "s");
            finish(&layout, &copier(&layout)).unwrap();
        }
    }

    #[test]
    fn a_killed_restore_is_finished() {
        let child = |base: &Path| {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            let (_, module) = module_path!().split_once("::").unwrap();
            child.args(["--exact", &format!("{module}::finishes_what_the_environment_names")]);
            child.env("KESTACK_TEST_FINISH", base).stdout(std::process::Stdio::null()).spawn().unwrap()
        };
        let base = tempfile::tempdir().unwrap();
        let layout = changed_stack(base.path());
        begin(&layout);
        let start = std::time::Instant::now();
        assert!(child(base.path()).wait().unwrap().success());
        let span = start.elapsed();
        assert_finished(&layout);
        let mut pending = 0;
        for part in 0..20 {
            let base = tempfile::tempdir().unwrap();
            let layout = changed_stack(base.path());
            begin(&layout);
            let mut child = child(base.path());
            std::thread::sleep(span * part / 20);
            child.kill().unwrap();
            child.wait().unwrap();
            if is_pending(&layout) {
                pending += 1;
                refuse_pending(&layout).unwrap_err();
                finish(&layout, &copier(&layout)).unwrap();
            }
            clear(&layout.restore()).unwrap();
            assert_finished(&layout);
            assert!(layout.trash().exists(), "what was there can still be looked at");
        }
        assert!(pending > 0, "no kill came in time");
    }

    #[test]
    fn an_exchange_is_made_from_every_point_it_can_be_killed_at() {
        for done in 0..=2 {
            let base = tempfile::tempdir().unwrap();
            let layout = changed_stack(base.path());
            let trash = layout.trash();
            std::fs::create_dir(&trash).unwrap();
            let exchange = Exchange { new: layout.restore().join("keys"), place: layout.keys() };
            let renames = [(layout.keys(), trash.join("keys")), (exchange.new.clone(), layout.keys())];
            for (from, to) in renames.iter().take(done) {
                std::fs::rename(from, to).unwrap();
            }
            exchange.make(&trash).unwrap();
            let read = |folder: &Path| std::fs::read_to_string(folder.join("k")).unwrap();
            assert_eq!((read(&layout.keys()), read(&trash.join("keys"))), ("new".into(), "old".into()), "after {done}");
        }
    }
}
