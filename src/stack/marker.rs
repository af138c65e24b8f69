//! The file in a folder that shows that the folder is a stack's. Labels name folders too, but the author of an image
//! chooses the labels of its containers.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Layout, Written};
use crate::engine::{EngineInfo, LABEL_ID, PodState};
use crate::error::Error;
use crate::host::disk::{self, UNFINISHED};
use crate::host::ownership;
use crate::resource::FileResource;

/// What a stack's folder says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// Name of the stack.
    name: String,
    /// The engine that it was last brought up on.
    engine: String,
    /// Random; the pod has it as a label, so that one shows that the other belongs to it. 32 hex digits.
    pub(crate) id: String,
    #[serde(flatten)]
    written: Written,
}

impl Marker {
    /// The marker of a stack's folder on that engine: its own, or another one if it has none yet.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read.
    pub(crate) fn of(layout: &Layout, name: &str, engine: &EngineInfo) -> Result<Self, Error> {
        let id = match Self::read(layout)? {
            Some(found) => found.id,
            None => random()?,
        };
        Ok(Self { name: name.to_owned(), engine: engine.kind.to_string(), id, written: Written::now() })
    }

    /// The random number of a stack's folder, if it has one.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read.
    pub(super) fn id(layout: &Layout) -> Result<Option<String>, Error> {
        Ok(Self::read(layout)?.map(|marker| marker.id))
    }

    /// What the folder says; `None` if it says nothing that is understood.
    fn read(layout: &Layout) -> Result<Option<Self>, Error> {
        let text = disk::read(&layout.marker())?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// The file that says it.
    ///
    /// # Errors
    /// [`Error::File`] if JSON has no form for it.
    pub(crate) fn file(&self, layout: &Layout) -> Result<FileResource, Error> {
        FileResource::json(layout.marker(), self)
    }
}

/// Makes sure, before anything in it is removed, that a folder is a stack's and the caller's. One that a kestack before
/// this one has brought up is known by what only kestack writes. A folder that is not there, or has nothing in it, is not
/// refused.
///
/// # Errors
/// [`Error::Environment`] naming the folder, and how to go on.
pub(crate) fn check_removable(layout: &Layout) -> Result<(), Error> {
    let root = layout.root();
    if !is_there(root)? {
        return Ok(());
    }
    ownership::check_stack(root)?;
    layout.check_version()?;
    let name = root.file_name().unwrap_or_default();
    let known = match Marker::read(layout)? {
        Some(marker) => *marker.name == *name,
        None => is_recorded(layout) || only_snapshots(&entries(root)?),
    };
    if known { Ok(()) } else { Err(no_stack(root)) }
}

/// Makes sure, before a stack is made there, that a folder holds a stack, or nothing that a stack would write over.
///
/// # Errors
/// [`Error::Environment`] naming the folder and what is in it.
pub(crate) fn check_usable(layout: &Layout) -> Result<(), Error> {
    let root = layout.root();
    if !is_there(root)? {
        return Ok(());
    }
    ownership::check_stack(root)?;
    layout.check_version()?;
    if Marker::read(layout)?.is_some() || is_recorded(layout) || layout.config().join("imported").exists() {
        return Ok(());
    }
    let entries = entries(root)?;
    let (own, others): (Vec<_>, Vec<_>) =
        entries.iter().filter(|entry| !is_unfinished(entry)).partition(|entry| OWN.contains(&entry.as_str()));
    match (own.first(), others.first()) {
        (Some(own), Some(other)) => Err(Error::Environment {
            what: format!(
                "'{}' is not a stack's folder: it holds '{other}', and a '{own}' that kestack did not make",
                root.display()
            ),
            hint:
                "choose another folder with --dir or another name with --name; `kestack import` takes a folder of the \
                   documented procedure"
                    .into(),
        }),
        _ => Ok(()),
    }
}

/// Makes sure that a pod and a folder belong together before both are removed for the pod's sake.
///
/// # Errors
/// [`Error::Environment`] if the folder does not show that.
pub(crate) fn check_pair(layout: &Layout, pod: &PodState, engine: &EngineInfo) -> Result<(), Error> {
    let root = layout.root();
    ownership::check_stack(root)?;
    layout.check_version()?;
    let is_link = std::fs::symlink_metadata(root).is_ok_and(|found| found.is_symlink());
    let marker = Marker::read(layout)?.filter(|_| !is_link);
    let same = marker.is_some_and(|marker| {
        marker.name == pod.name
            && *root.file_name().unwrap_or_default() == *pod.name
            && marker.engine == engine.kind.word()
            && pod.labels.get(LABEL_ID) == Some(&marker.id)
    });
    if same {
        return Ok(());
    }
    let base = root.parent().unwrap_or(root).display();
    Err(Error::Environment {
        what: format!(
            "nothing shows that '{}' is the folder of pod '{}'; nothing was removed",
            root.display(),
            pod.name
        ),
        hint: format!(
            "an earlier kestack left no such sign: if it is a stack of yours, remove it with `kestack down --data --name {} \
             --dir '{base}' --engine {}`; else remove the pod: `{}`",
            pod.name,
            engine.kind,
            engine.removal_of(&pod.name)
        ),
    })
}

/// Removes the marker, and the folder with it, where nothing else is left in it.
pub(crate) fn remove_if_alone(layout: &Layout) {
    let (root, marker) = (layout.root(), layout.marker());
    let alone = entries(root).is_ok_and(|entries| entries.iter().all(|entry| marker.ends_with(entry)));
    if alone && disk::remove(&marker).is_ok() {
        let _ = std::fs::remove_dir(root);
    }
}

/// What a stack keeps in its folder; the rest is not kestack's.
const OWN: [&str; 11] = [
    "certs",
    "config",
    "guard.json",
    "keys",
    "minio",
    "minio.json",
    "restore",
    "restore.json",
    "run",
    "snapshots",
    "trash",
];

/// True if the folder holds what only kestack writes: it made the stack before there was a marker, or an export of it.
fn is_recorded(layout: &Layout) -> bool {
    [layout.engine(), layout.digest_key(), layout.guard(), layout.exported(), layout.journal()]
        .iter()
        .any(|path| path.is_file())
}

/// True of a folder into which snapshots were imported, and nothing else was brought yet; and of an empty one.
fn only_snapshots(entries: &[String]) -> bool {
    const RESTORED: [&str; 4] = ["restore", "restore.json", "snapshots", "trash"];
    let mut rest = entries.iter().filter(|entry| !is_unfinished(entry)).peekable();
    rest.peek().is_none()
        || rest.all(|entry| RESTORED.contains(&entry.as_str())) && entries.iter().any(|entry| entry == "snapshots")
}

fn is_there(root: &Path) -> Result<bool, Error> {
    match std::fs::metadata(root) {
        Err(error) if disk::is_absent(&error) => Ok(false),
        Err(_) => Ok(ownership::check_folder(root).map(|()| true)?),
        Ok(found) => Ok(found.is_dir()),
    }
}

fn entries(root: &Path) -> Result<Vec<String>, Error> {
    let failed = |error| Error::file("read", root)(error);
    let names = std::fs::read_dir(root).map_err(failed)?;
    names.map(|entry| Ok(entry.map_err(failed)?.file_name().to_string_lossy().into_owned())).collect()
}

fn is_unfinished(name: &str) -> bool {
    name.starts_with(UNFINISHED)
}

fn no_stack(root: &Path) -> Error {
    Error::Environment {
        what: format!("nothing in '{}' shows that kestack made it, so nothing in it is removed", root.display()),
        hint: "check --name and --dir; if they are right, remove the folder yourself".into(),
    }
}

fn random() -> Result<String, Error> {
    Ok(crate::host::random::hex::<16>().map_err(Error::no_random_bytes)?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::EngineKind;

    fn podman() -> EngineInfo {
        EngineInfo {
            kind: EngineKind::Podman,
            version: "1".into(),
            rootless: false,
            owner: None,
            address: "here".into(),
        }
    }

    fn pod(name: &str, id: &str) -> PodState {
        let labels = [(LABEL_ID.to_owned(), id.to_owned())].into();
        PodState { name: name.into(), labels, running: true, ports: vec![], containers: vec![] }
    }

    fn stack(base: &Path, name: &str) -> (Layout, Marker) {
        let layout = Layout::new(base, name);
        disk::create_private(&layout.config()).unwrap();
        let marker = Marker::of(&layout, name, &podman()).unwrap();
        marker.file(&layout).unwrap().make().unwrap();
        assert_eq!(Marker::of(&layout, name, &podman()).unwrap(), marker, "it keeps its number");
        (layout, marker)
    }

    #[test]
    fn a_folder_of_others_is_not_a_stacks() {
        let base = tempfile::tempdir().unwrap();
        let project = Layout::new(base.path(), "project");
        check_removable(&project).unwrap();
        for folder in ["config", "certs", "src"] {
            std::fs::create_dir_all(project.root().join(folder)).unwrap();
        }
        for refused in [check_removable(&project), check_usable(&project)] {
            let error = refused.unwrap_err();
            assert_eq!(error.exit_code(), 6);
            assert!(error.to_string().contains(project.root().to_str().unwrap()), "{error}");
        }
        let (stack, _) = stack(base.path(), "stack");
        check_removable(&stack).unwrap();
        let moved = Layout::new(base.path(), "moved");
        std::fs::rename(stack.root(), moved.root()).unwrap();
        assert!(check_removable(&moved).is_err(), "its marker has another name");
    }

    #[test]
    fn a_stack_of_an_earlier_kestack_is_known_by_its_records() {
        let base = tempfile::tempdir().unwrap();
        for record in ["config/engine", "config/digest.key", "guard.json"] {
            let layout = Layout::new(base.path(), &record.replace(['/', '.'], "-"));
            disk::create_private(&layout.config()).unwrap();
            assert!(check_removable(&layout).is_err());
            std::fs::write(layout.root().join(record), "").unwrap();
            check_removable(&layout).unwrap();
            check_usable(&layout).unwrap();
        }
        let imported = Layout::new(base.path(), "imported");
        for (folder, known) in [("restore", false), ("snapshots", true), ("config", false)] {
            disk::create_private(&imported.root().join(folder)).unwrap();
            assert_eq!(check_removable(&imported).is_ok(), known, "{folder}");
        }
        let prepared = Layout::new(base.path(), "prepared");
        for folder in ["keys", "minio"] {
            disk::create_private(&prepared.root().join(folder)).unwrap();
        }
        check_usable(&prepared).unwrap();
    }

    #[test]
    fn only_the_pod_with_the_folders_number_may_take_it_along() {
        let base = tempfile::tempdir().unwrap();
        let (layout, marker) = stack(base.path(), "leased");
        check_pair(&layout, &pod("leased", &marker.id), &podman()).unwrap();
        let docker = EngineInfo { kind: EngineKind::Docker, ..podman() };
        for (what, refused) in [
            ("a number that an image chose", check_pair(&layout, &pod("leased", "00"), &podman())),
            ("another pod", check_pair(&layout, &pod("other", &marker.id), &podman())),
            ("another engine", check_pair(&layout, &pod("leased", &marker.id), &docker)),
        ] {
            let error = refused.unwrap_err().to_string();
            assert!(
                error.contains("nothing was removed") && error.contains("kestack down --data --name"),
                "{what}: {error}"
            );
        }
        let project = Layout::new(base.path(), "project");
        disk::create_private(&project.config()).unwrap();
        assert!(check_pair(&project, &pod("project", ""), &podman()).is_err());
        let link = Layout::new(&base.path().join("links"), "leased");
        disk::create_private(link.root().parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(layout.root(), link.root()).unwrap();
        assert!(check_pair(&link, &pod("leased", &marker.id), &podman()).is_err(), "a link leads anywhere");
    }
}
