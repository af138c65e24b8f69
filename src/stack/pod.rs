//! Whose pod it is that has the name of a stack. Names are unique on an engine, which other folders, projects and users may
//! share; folder and random number of a stack are labels on its pod.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Layout;
use super::marker::Marker;
use crate::engine::{Engine, EngineInfo, LABEL_FOLDER, LABEL_ID, LABEL_STACK, PodState};
use crate::error::Error;
use crate::host::disk::is_absent;
use crate::host::quote::shell_word;

/// The pod of that name on the engine, if it is that of the stack in this folder, or plays an export in it.
///
/// # Errors
/// [`Error::Environment`] if kestack did not make it, or made it for a stack in another folder; those of the engine.
pub(crate) async fn own_pod(engine: &dyn Engine, layout: &Layout, name: &str) -> Result<Option<PodState>, Error> {
    let pod = engine.pod(name).await?;
    // what plays an export knows nothing of kestack's labels
    let is_played = layout.is_exported() && pod.as_ref().is_some_and(|pod| !pod.labels.contains_key(LABEL_STACK));
    if !is_played {
        check_ours(layout, pod.as_ref(), engine.info())?;
    }
    Ok(pod)
}

/// Refuses a pod of the stack's name that kestack did not make, or made for a stack in another folder.
///
/// # Errors
/// [`Error::Environment`] naming that folder.
pub(crate) fn check_ours(layout: &Layout, pod: Option<&PodState>, engine: &EngineInfo) -> Result<(), Error> {
    let Some(pod) = pod else { return Ok(()) };
    let name = &pod.name;
    if !pod.labels.contains_key(LABEL_STACK) {
        return Err(Error::Environment {
            what: format!("a pod '{name}' exists that kestack did not make"),
            hint: format!("choose another name in kestack.yaml, or remove it: `{}`", engine.removal_of(name)),
        });
    }
    // a process is found below its stack's folder, so that it can be no other's
    let theirs = pod.labels.get(LABEL_FOLDER).filter(|_| engine.has_containers()).map(Path::new);
    // an older kestack did not say whose it is
    let Some(theirs) = theirs else { return Ok(()) };
    let id = Marker::id(layout)?;
    let may_have_moved = || pod.labels.get(LABEL_ID).is_none_or(|theirs| id.as_ref() == Some(theirs));
    if is_same(theirs, layout.root()) || !is_there(theirs) && may_have_moved() {
        return Ok(());
    }
    let (folder, base) = (theirs.to_string_lossy(), theirs.parent().unwrap_or(theirs).to_string_lossy());
    Err(Error::Environment {
        what: format!(
            "{} pod '{name}' is the stack in '{}', not the one in '{}'",
            engine.kind,
            folder.escape_debug(),
            layout.root().display()
        ),
        hint: format!(
            "give this stack another name (`--name`, or `name:` in kestack.yaml), or end that one: `kestack down --name \
             {name} --dir {}`",
            shell_word(&base.escape_debug().to_string())
        ),
    })
}

/// True if both paths lead to one folder: a home may be mounted, or linked, at a second place.
fn is_same(theirs: &Path, own: &Path) -> bool {
    let inode = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    theirs == own || inode(own).is_some_and(|own| inode(theirs) == Some(own))
}

/// True unless nothing is there: what cannot be looked at is another user's.
fn is_there(folder: &Path) -> bool {
    !std::fs::symlink_metadata(folder).is_err_and(|error| is_absent(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::disk;
    use crate::manifest::EngineKind;

    fn engine(kind: EngineKind) -> EngineInfo {
        EngineInfo {
            kind,
            version: "1".into(),
            rootless: false,
            owner: None,
            address: "unix:///run/docker.sock".into(),
        }
    }

    /// A stack's folder, and the pod that was made for it.
    fn stack(base: &Path) -> (Layout, PodState) {
        let (layout, engine) = (Layout::new(base, "a"), engine(EngineKind::Docker));
        disk::create_private(layout.root()).unwrap();
        let marker = Marker::of(&layout, "a", &engine).unwrap();
        marker.file(&layout).unwrap().make().unwrap();
        let labels = [(LABEL_STACK, "a"), (LABEL_ID, &marker.id), (LABEL_FOLDER, layout.root().to_str().unwrap())];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        (layout, PodState { name: "a".into(), labels, running: true, ports: vec![], containers: vec![] })
    }

    #[test]
    fn a_pod_of_another_folder_is_no_stack_of_ours() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let ((own, pod), (others, _)) = (stack(one.path()), stack(other.path()));
        let docker = engine(EngineKind::Docker);
        check_ours(&own, Some(&pod), &docker).unwrap();
        let nothing_yet = Layout::new(other.path(), "b");
        for layout in [&others, &nothing_yet] {
            let error = check_ours(layout, Some(&pod), &docker).unwrap_err();
            let (text, base) = (error.to_string(), one.path().display());
            assert_eq!(error.exit_code(), 6, "{text}");
            assert!(text.contains(&format!("is the stack in '{}'", own.root().display())), "{text}");
            assert!(text.contains(&format!("`kestack down --name a --dir {base}`")), "{text}");
        }
        check_ours(&others, Some(&pod), &engine(EngineKind::Process)).unwrap();
        check_ours(&others, None, &docker).unwrap();
    }

    #[test]
    fn a_stack_that_moved_or_has_a_second_path_keeps_its_pod() {
        let base = tempfile::tempdir().unwrap();
        let (from, to, link) = (base.path().join("from"), base.path().join("to"), base.path().join("link"));
        std::fs::create_dir(&from).unwrap();
        let (_, pod) = stack(&from);
        let docker = engine(EngineKind::Docker);
        std::os::unix::fs::symlink(&from, &link).unwrap();
        check_ours(&Layout::new(&link, "a"), Some(&pod), &docker).unwrap();
        // a copy is another stack as long as both are there
        std::fs::create_dir_all(to.join("a")).unwrap();
        std::fs::copy(from.join("a/stack.json"), to.join("a/stack.json")).unwrap();
        assert!(check_ours(&Layout::new(&to, "a"), Some(&pod), &docker).is_err());
        std::fs::remove_dir_all(&from).unwrap();
        check_ours(&Layout::new(&to, "a"), Some(&pod), &docker).unwrap();
        let unmarked = Layout::new(&base.path().join("third"), "a");
        assert!(check_ours(&unmarked, Some(&pod), &docker).is_err(), "nothing shows that it is this one's");
    }

    #[test]
    fn a_pod_of_an_older_kestack_is_whose_folder_has_its_name() {
        let base = tempfile::tempdir().unwrap();
        let (layout, mut pod) = stack(base.path());
        pod.labels.retain(|label, _| label == LABEL_STACK);
        check_ours(&Layout::new(&base.path().join("other"), "a"), Some(&pod), &engine(EngineKind::Podman)).unwrap();
        pod.labels.clear();
        let error = check_ours(&layout, Some(&pod), &engine(EngineKind::Podman)).unwrap_err().to_string();
        assert!(error.contains("kestack did not make") && error.contains("podman pod rm --force a"), "{error}");
    }
}
