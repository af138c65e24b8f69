//! All stacks of this user, on every engine: what the engines run, and the folders of stacks that are down.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use crate::engine::{Engine, LABEL_FOLDER, PodState};
use crate::error::Error;
use crate::host::disk::is_absent;
use crate::stack::ports::{CONSOLE_PORT, KES_PORT, S3_PORT};
use crate::stack::{Home, Layout, Origin};

/// One stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The engine that it is on; `None` if it is down.
    pub engine: Option<String>,
    /// How it is.
    pub state: State,
    /// Its ports on this host by server: `s3`, `console`, `kes`; replicas of KES are `kes-1` and so on.
    pub ports: BTreeMap<String, u16>,
    /// Which of several engines of one kind.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) home: Option<Home>,
    /// Its folder; `None` if it is gone or does not know of this stack.
    pub folder: Option<PathBuf>,
    /// The manifest that it was brought up from, if there was one.
    pub manifest: Option<PathBuf>,
    /// When it was brought up for the first time, as far as that is known.
    #[schemars(with = "Option<String>")]
    pub created: Option<Timestamp>,
    /// When its lease is over.
    #[schemars(with = "Option<String>")]
    pub expires: Option<Timestamp>,
}

/// How a stack is, by the word of its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Both servers run.
    Running,
    /// One of the servers does not run.
    Degraded,
    /// No server runs.
    Stopped,
    /// Only its files are there.
    Down,
    /// The engine that it was brought up on does not answer.
    Unreachable,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// All stacks of this user on those engines and in that folder, by name; with `within` only those whose folder is below
/// it. What cannot be read of one stack does not keep the others from being listed.
///
/// # Errors
/// Those of the engines.
pub async fn all(engines: &[&dyn Engine], base: &Path, within: Option<&Path>) -> Result<Vec<Listed>, Error> {
    let mut stacks = Vec::new();
    for engine in engines {
        stacks.extend(engine.pods().await?.iter().filter_map(|pod| of_pod(*engine, pod, base)));
    }
    for folder in folders(base) {
        if !stacks.iter().any(|stack: &Listed| stack.folder.as_ref() == Some(&folder)) {
            stacks.push(of_folder(&folder));
        }
    }
    let is_within =
        |stack: &Listed| within.is_none_or(|base| stack.folder.as_ref().is_some_and(|folder| folder.starts_with(base)));
    stacks.retain(is_within);
    stacks.sort_by(|one, other| (&one.name, &one.folder).cmp(&(&other.name, &other.folder)));
    Ok(stacks)
}

/// The stack of a pod; `None` if it is another user's. A label says where to look and no more, since an image may carry
/// any: the folder itself must say that its stack is up on this engine.
fn of_pod(engine: &dyn Engine, pod: &PodState, base: &Path) -> Option<Listed> {
    let (info, here) = (engine.info(), Home::of(engine.info()));
    let below = if info.has_containers() { base } else { Path::new(&info.address) };
    let place = pod.labels.get(LABEL_FOLDER).map_or_else(|| below.join(&pod.name), PathBuf::from);
    if is_anothers(&place) {
        return None;
    }
    let is_home = |folder: &PathBuf| {
        let layout = Layout::at(folder);
        let home = Home::recorded(&layout).ok().flatten();
        is_ours(folder) && folder.ends_with(&pod.name) && home.is_some_and(|home| home.is_of(&here, pod, &layout))
    };
    let folder = Some(place).filter(is_home);
    let origin = origin(folder.as_deref());
    Some(Listed {
        name: pod.name.clone(),
        engine: Some(here.to_string()),
        state: state(pod),
        ports: ports(pod),
        manifest: origin.as_ref().and_then(|origin| origin.manifest.clone()),
        created: origin.map(|origin| origin.created),
        expires: pod.expires(),
        home: Some(here),
        folder,
    })
}

/// A stack of which no engine that answers knows.
fn of_folder(folder: &Path) -> Listed {
    let home = Home::recorded(&Layout::at(folder)).ok().flatten();
    let origin = origin(Some(folder));
    Listed {
        name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        state: if home.is_some() { State::Unreachable } else { State::Down },
        engine: home.as_ref().map(Home::to_string),
        home,
        ports: BTreeMap::new(),
        folder: Some(folder.to_owned()),
        manifest: origin.as_ref().and_then(|origin| origin.manifest.clone()),
        created: origin.map(|origin| origin.created),
        expires: None,
    }
}

fn origin(folder: Option<&Path>) -> Option<Origin> {
    folder.filter(|folder| is_ours(folder)).and_then(|folder| Origin::load(&Layout::at(folder)).ok()?)
}

/// Folders of stacks: those that hold the authority of one. What others start and stop is theirs.
fn folders(base: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path()).filter(|folder| is_ours(folder));
    let is_stack = |layout: &Layout| layout.ca_cert().is_file() && !layout.is_exported();
    folders.filter(|folder| is_stack(&Layout::at(folder))).collect()
}

/// True if that folder is there and belongs to this user: what others have in theirs is not read.
fn is_ours(folder: &Path) -> bool {
    std::fs::symlink_metadata(folder)
        .is_ok_and(|found| found.is_dir() && found.uid() == rustix::process::geteuid().as_raw())
}

/// True if that folder is there, or could be, and is not this user's.
fn is_anothers(folder: &Path) -> bool {
    match std::fs::symlink_metadata(folder) {
        Ok(_) => !is_ours(folder),
        Err(error) => !is_absent(&error),
    }
}

fn state(pod: &PodState) -> State {
    let running = pod.containers.iter().filter(|container| container.running).count();
    match running {
        0 => State::Stopped,
        _ if pod.running && running == pod.containers.len() && running > 1 => State::Running,
        _ => State::Degraded,
    }
}

fn ports(pod: &PodState) -> BTreeMap<String, u16> {
    let inside = pod.ports.iter().map(|port| port.container_port);
    let replicas = inside.filter(|port| ![S3_PORT, CONSOLE_PORT].contains(port)).count();
    let named = |port: u16| match port {
        S3_PORT => "s3".to_owned(),
        CONSOLE_PORT => "console".to_owned(),
        KES_PORT if replicas == 1 => "kes".to_owned(),
        port => format!("kes-{}", port.saturating_sub(KES_PORT).saturating_add(1)),
    };
    pod.ports.iter().map(|port| (named(port.container_port), port.host_port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::process::Processes;

    #[tokio::test]
    async fn what_is_down_is_listed_and_foreign_folders_are_not() {
        let base = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            let layout = Layout::new(base.path(), name);
            std::fs::create_dir_all(layout.certs()).unwrap();
            std::fs::write(layout.ca_cert(), "").unwrap();
        }
        let manifest = PathBuf::from("/project/kestack.yaml");
        let layout = Layout::new(base.path(), "b");
        Origin::new(Some(manifest.clone()), false).file(&layout).unwrap().make().unwrap();
        std::fs::create_dir(base.path().join("not-a-stack")).unwrap();
        let engine = Processes::new(base.path().to_owned(), "/nonexistent".into());
        let found = all(&[&engine], base.path(), None).await.unwrap();
        let seen: Vec<_> = found.iter().map(|stack| (stack.name.as_str(), stack.state, &stack.manifest)).collect();
        assert_eq!(seen, [("a", State::Down, &None), ("b", State::Down, &Some(manifest))]);
        std::fs::create_dir_all(layout.root().join("run")).unwrap();
        std::fs::create_dir_all(layout.config()).unwrap();
        std::fs::write(layout.engine(), "process\n").unwrap();
        let found = all(&[&engine], base.path(), Some(layout.root())).await.unwrap();
        assert_eq!(
            found.iter().map(|stack| (stack.name.as_str(), stack.state)).collect::<Vec<_>>(),
            [("b", State::Stopped)]
        );
    }
}
