//! Copies of a stack that drills make: each in a folder of its own, which holds the keys of the stack. The stack's folder says
//! where they are, so that those of killed drills are found and removed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::LABEL_FOLDER;
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::disk::{self, UNFINISHED, clear};
use crate::host::lock::{Hold, Holder, StackLock};
use crate::host::ownership::check_folder;
use crate::manifest::{EngineKind, Manifest, StackName};
use crate::operate::session::{Intent, Opened, Options, Reached};
use crate::resource::FileResource;
use crate::stack::Layout;

/// Name of the exported file, next to the copy.
pub(in crate::operate) const FILE: &str = "snapshot.age";
/// Name of the file with what opens it.
pub(in crate::operate) const IDENTITY: &str = "identity";
/// How the name of a copy's folder begins. It ends with the copy's own name.
const FOLDER: &str = ".kestack-drill-";
/// How the name of a copy ends.
const SUFFIX: &str = "-drill";
/// Most bytes of the name of a stack that are part of the copy's.
const NAME: usize = 40;
/// How long a drill that is under way may keep us: its copy is not left over.
const GLANCE: Duration = Duration::from_secs(1);

/// A copy that there is or may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::operate) struct StackCopy {
    /// Holds the copy and the exported file.
    pub(in crate::operate) folder: PathBuf,
    /// Word of the engine that it is on.
    engine: String,
    /// Socket of the engine.
    host: Option<String>,
}

/// The right to make copies of a stack, and to remove those that others left: one at a time, wherever they are.
#[derive(Debug)]
pub(in crate::operate) struct Turn {
    layout: Layout,
    _lock: StackLock,
}

/// The name of a copy as a stack.
///
/// # Errors
/// [`Error::Usage`] if the stack's name leads to none.
pub(in crate::operate) fn name(of: &StackName) -> Result<StackName, Error> {
    let start: String = of.as_str().chars().take(NAME).collect();
    let name = format!("{}{SUFFIX}", start.trim_end_matches(['-', '_']));
    name.parse().map_err(|what| Error::Usage { what, hint: "give the stack another name".into() })
}

impl StackCopy {
    /// The copy of a stack below `within`, on that engine.
    ///
    /// # Errors
    /// As [`name`].
    pub(in crate::operate) fn of(source: &Options, within: &Path, engine: EngineKind) -> Result<Self, Error> {
        let name = name(&source.manifest.name)?;
        Ok(Self {
            folder: within.join(format!("{FOLDER}{name}")),
            engine: engine.word().to_owned(),
            host: source.host.clone(),
        })
    }

    /// Enough of it to remove it; `None` if no drill makes such a one.
    fn options(&self) -> Option<Options> {
        let name = self.folder.file_name()?.to_str()?.strip_prefix(FOLDER)?.parse().ok()?;
        let engine = EngineKind::chosen(&self.engine).filter(|_| self.folder.is_absolute())?;
        let manifest = Manifest { name, engine, is_named: true, ..Manifest::default() };
        Some(Options { host: self.host.clone(), ..Options::of_existing(manifest, self.folder.clone()) })
    }

    /// Removes it; true if its folder was there.
    async fn clear(&self) -> Result<bool, Error> {
        let (was_there, Some(options)) = (self.folder.is_dir(), self.options()) else { return Ok(false) };
        let reached = Opened::new(options, Intent::Write(Hold::Change)).await?.connect().await?;
        remove(&self.folder, &reached).await?;
        Ok(was_there)
    }
}

impl Turn {
    /// Waits for it.
    ///
    /// # Errors
    /// Those of the lock.
    pub(in crate::operate) async fn take(source: &Options) -> Result<Self, Error> {
        let (layout, name) = (source.layout(), &source.manifest.name);
        let waiting = |holder: &Holder| tracing::info!("stack '{name}': waiting for {holder}");
        Self::wait(layout, waiting).await
    }

    /// Takes it if nobody else has it.
    ///
    /// # Errors
    /// Those of the lock.
    pub(in crate::operate) async fn if_free(layout: &Layout) -> Result<Option<Self>, Error> {
        match tokio::time::timeout(GLANCE, Self::wait(layout.clone(), |_| {})).await {
            Ok(turn) => turn.map(Some),
            Err(_) => Ok(None),
        }
    }

    async fn wait(layout: Layout, waiting: impl FnOnce(&Holder)) -> Result<Self, Error> {
        let lock = StackLock::acquire(&layout.root().join(FOLDER), Hold::Change, waiting).await?;
        Ok(Self { layout, _lock: lock })
    }

    /// Removes the copies on record, and `also` that one if it is there: an earlier kestack kept no record. Says where they
    /// were. One that cannot be removed is named, and stays on record, and so does one whose place is not there.
    ///
    /// # Errors
    /// Those of the record's file.
    pub(in crate::operate) async fn clear(&self, also: Option<StackCopy>) -> Result<Vec<PathBuf>, Error> {
        let mut copies = self.read()?;
        let is_known = |also: &StackCopy| copies.iter().any(|copy| copy.folder == also.folder);
        let also = also.filter(|also| also.folder.is_dir() && !is_known(also));
        copies.extend(also);
        let (mut removed, mut left) = (Vec::new(), Vec::new());
        for copy in copies {
            // its disk may not be mounted: the copy on it holds keys
            if copy.folder.parent().is_none_or(|within| !within.is_dir()) {
                left.push(copy);
                continue;
            }
            match Box::pin(copy.clear()).await {
                Ok(true) => removed.push(copy.folder),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!("a killed drill left a copy in '{}': {error}", copy.folder.display());
                    left.push(copy);
                }
            }
        }
        self.write(&left)?;
        Ok(removed)
    }

    /// Puts a copy on record, before it is made.
    ///
    /// # Errors
    /// Those of the record's file.
    pub(in crate::operate) fn note(&self, copy: &StackCopy) -> Result<(), Error> {
        let mut copies = self.read()?;
        copies.retain(|known| known.folder != copy.folder);
        copies.push(copy.clone());
        self.write(&copies)
    }

    /// Takes a copy that is removed off the record.
    ///
    /// # Errors
    /// Those of the record's file.
    pub(in crate::operate) fn forget(&self, folder: &Path) -> Result<(), Error> {
        let mut copies = self.read()?;
        copies.retain(|copy| copy.folder != folder);
        self.write(&copies)
    }

    fn read(&self) -> Result<Vec<StackCopy>, Error> {
        let path = self.layout.drills();
        let Some(text) = disk::read(&path)? else { return Ok(vec![]) };
        serde_json::from_slice(&text).map_err(|error| Error::file("read", path)(error.into()))
    }

    fn write(&self, copies: &[StackCopy]) -> Result<(), Error> {
        let path = self.layout.drills();
        if copies.is_empty() {
            return Ok(disk::remove(&path)?);
        }
        FileResource::json(path, &copies)?.make()
    }
}

/// Removes the copies of a stack that goes itself. The stack's lock is held.
///
/// # Errors
/// Those of the lock and of the record's file.
pub(in crate::operate) async fn clear_all(layout: &Layout) -> Result<(), Error> {
    if !layout.drills().exists() {
        return Ok(());
    }
    match Turn::if_free(layout).await? {
        Some(turn) => turn.clear(None).await.map(drop),
        // the drill removes its own
        None => Ok(()),
    }
}

/// Removes a copy with its folder.
///
/// # Errors
/// [`Error::Environment`] if a stack of its name is not a drill's; those of the engine and of the file system.
pub(in crate::operate) async fn remove(folder: &Path, reached: &Reached) -> Result<(), Error> {
    check_own(folder, reached.options.manifest.name.as_str())?;
    stop(reached).await?;
    let place = folder.to_owned();
    Ok(blocking("remove", folder, move || clear(&place)).await?)
}

/// Ends the servers of a copy.
///
/// # Errors
/// As [`remove`].
pub(in crate::operate) async fn stop(reached: &Reached) -> Result<(), Error> {
    let (name, engine, layout) = (reached.options.manifest.name.as_str(), reached.engine(), reached.options.layout());
    let Some(pod) = engine.pod(name).await? else { return Ok(()) };
    let folder = pod.labels.get(LABEL_FOLDER).map(Path::new);
    if folder != Some(layout.root()) {
        return Err(Error::Environment {
            what: format!("'{name}' exists, and it is not the copy in '{}' of a drill", layout.root().display()),
            hint: hint_of(folder),
        });
    }
    Ok(engine.remove_pod(name).await?)
}

/// Removes what is left around a copy that was removed as a stack, because its lease was over: the exported file, and what
/// opens it. Around other stacks nothing is removed.
///
/// # Errors
/// [`Error::Environment`] if something there is not a drill's; those of the file system.
pub(in crate::operate) fn clear_around(stack: &Layout) -> Result<(), Error> {
    let root = stack.root();
    let (Some(folder), Some(name)) = (root.parent(), root.file_name().and_then(|name| name.to_str())) else {
        return Ok(());
    };
    if folder.file_name().is_none_or(|found| *found != *format!("{FOLDER}{name}")) {
        return Ok(());
    }
    check_folder(folder)?;
    check_own(folder, name)?;
    Ok(clear(folder)?)
}

/// Makes sure that nothing is in the folder but what a drill puts there.
fn check_own(folder: &Path, name: &str) -> Result<(), Error> {
    let own = [name, FILE, IDENTITY, "run"];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !own.contains(&name.as_ref()) && !name.starts_with(UNFINISHED) {
            return Err(Error::Environment {
                what: format!("'{}' is the folder of a drill, but it holds '{name}'", folder.display()),
                hint: "move that away, or name another folder with --folder".into(),
            });
        }
    }
    Ok(())
}

/// What to do about a pod in that folder that has the name of the copy: it may be a stack of somebody's own.
fn hint_of(folder: Option<&Path>) -> String {
    let drill = folder
        .and_then(Path::parent)
        .filter(|folder| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FOLDER)));
    match drill.and_then(Path::parent) {
        Some(within) => format!("a killed drill left it: `kestack drill --folder {}` removes it", within.display()),
        None => "a drill needs that name for its copy: give one of the two stacks another name".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(base: &Path) -> Options {
        let manifest = Manifest { name: "a".parse().unwrap(), engine: EngineKind::Process, ..Manifest::default() };
        Options::of_existing(manifest, base.to_owned())
    }

    #[test]
    fn nobody_is_sent_to_remove_a_stack_of_his_own() {
        let own = hint_of(Some(Path::new("/srv/kestack/a-drill")));
        assert!(own.contains("another name") && hint_of(None) == own, "{own}");
        let left = hint_of(Some(Path::new("/big/.kestack-drill-a-drill/a-drill")));
        assert!(left.contains("`kestack drill --folder /big`"), "{left}");
    }

    #[test]
    fn its_name_is_one_of_a_stack() {
        for (of, wanted) in [("a", "a-drill"), (&"b".repeat(48), &format!("{}-drill", "b".repeat(40)))] {
            assert_eq!(name(&of.parse().unwrap()).unwrap().as_str(), wanted);
        }
        let long = format!("{}-{}", "c".repeat(39), "d".repeat(8));
        assert_eq!(name(&long.parse().unwrap()).unwrap().as_str(), format!("{}-drill", "c".repeat(39)));
    }

    #[tokio::test]
    async fn copies_on_record_are_removed_wherever_they_are_and_what_is_not_theirs_stays() {
        let (base, big, other) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = options(base.path());
        disk::create_private(source.layout().root()).unwrap();
        let copy = |within: &Path| {
            let copy = StackCopy::of(&source, &within.canonicalize().unwrap(), EngineKind::Process).unwrap();
            disk::create_private(&copy.folder.join("a-drill/keys")).unwrap();
            std::fs::write(copy.folder.join(IDENTITY), "secret").unwrap();
            copy
        };
        let (here, there, taken) = (copy(base.path()), copy(big.path()), copy(other.path()));
        std::fs::write(taken.folder.join("notes"), "mine").unwrap();
        let turn = Turn::take(&source).await.unwrap();
        turn.note(&there).unwrap();
        turn.note(&taken).unwrap();
        turn.note(&taken).unwrap();
        assert!(Turn::if_free(&source.layout()).await.unwrap().is_none(), "a drill is under way");
        assert_eq!(turn.clear(Some(here.clone())).await.unwrap(), [there.folder, here.folder]);
        assert_eq!(turn.read().unwrap(), std::slice::from_ref(&taken), "it stays on record");
        std::fs::remove_file(taken.folder.join("notes")).unwrap();
        drop(turn);
        clear_all(&source.layout()).await.unwrap();
        assert!(!taken.folder.exists() && !source.layout().drills().exists());
    }

    #[tokio::test]
    async fn a_copy_on_a_disk_that_is_not_mounted_stays_on_record() {
        let (base, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = options(base.path());
        disk::create_private(source.layout().root()).unwrap();
        let (mounted, away) = (disks.path().join("big"), disks.path().join("away"));
        std::fs::create_dir(&mounted).unwrap();
        let within = mounted.canonicalize().unwrap();
        let copy = StackCopy::of(&source, &within, EngineKind::Process).unwrap();
        disk::create_private(&copy.folder.join("a-drill/keys")).unwrap();
        let turn = Turn::take(&source).await.unwrap();
        turn.note(&copy).unwrap();
        std::fs::rename(&mounted, &away).unwrap();
        assert_eq!(turn.clear(None).await.unwrap(), Vec::<PathBuf>::new());
        assert_eq!(turn.read().unwrap(), std::slice::from_ref(&copy));
        std::fs::rename(&away, &mounted).unwrap();
        assert_eq!(turn.clear(None).await.unwrap(), std::slice::from_ref(&copy.folder));
        assert!(!copy.folder.exists() && turn.read().unwrap().is_empty());
    }

    #[test]
    fn only_around_a_copy_something_is_removed() {
        let base = tempfile::tempdir().unwrap();
        for (folder, goes) in [(".kestack-drill-a-drill", true), (".kestack-drill-other", false), ("project", false)] {
            let stack = Layout::at(&base.path().join(folder).join("a-drill"));
            disk::create_private(stack.root().parent().unwrap()).unwrap();
            std::fs::write(stack.root().with_file_name(IDENTITY), "secret").unwrap();
            clear_around(&stack).unwrap();
            assert_eq!(!stack.root().parent().unwrap().exists(), goes, "{folder}");
        }
    }
}
