//! Where a drill takes place: a stack that has nothing of the user's but a copy.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::shown;
use crate::data::drive;
use crate::engine::LABEL_FOLDER;
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::disk::{Room, UNFINISHED, clear, create_private, room};
use crate::host::lock::{Hold, Holder, StackLock};
use crate::host::ownership::check_folder;
use crate::manifest::{EngineKind, Manifest, Seed, StackName, WITHOUT_SCANNER};
use crate::operate::session::{Intent, Opened, Options, Reached};
use crate::operate::snapshot::Snapshot;
use crate::stack::{Layout, Stack};

/// Name of the exported file.
pub(super) const FILE: &str = "snapshot.age";
/// Name of the file with what opens it.
pub(super) const IDENTITY: &str = "identity";
/// How the name of its folder begins.
const FOLDER: &str = ".kestack-drill-";
/// How its name ends.
const SUFFIX: &str = "-drill";
/// Most bytes of the name of a stack that are part of its name.
const NAME: usize = 40;
/// What stays free on the disk, in bytes.
const RESERVE: u64 = 64 << 20;
/// What a small file takes on the disk, in bytes.
const BLOCK: u64 = 4096;
/// Inodes for each file of the snapshot: one for it and one for its folder, in the snapshot and in the copy.
const INODES: u64 = 4;
/// Variables that have MinIO send something to others.
const SENDS: [&str; 8] = [
    "MINIO_NOTIFY_",
    "MINIO_AUDIT_",
    "MINIO_LOGGER_",
    "MINIO_ETCD_",
    "MINIO_POLICY_PLUGIN_",
    "MINIO_IDENTITY_PLUGIN_",
    "MINIO_CALLHOME_",
    "MINIO_SUBNET_",
];
/// Where a drive says the same: targets of `mc admin config set`, and batch jobs, which MinIO takes up again.
const TARGETS: [&str; 2] = [".minio.sys/config/config.json", ".minio.sys/batch-jobs"];

/// The folder of a drill, its lock and its engine.
#[derive(Debug)]
pub(super) struct Place {
    /// Holds the copy and the exported file.
    pub(super) folder: PathBuf,
    pub(super) reached: Reached,
    /// One drill of a stack at a time, wherever its copy is: each removes what others left of the stack's snapshots.
    _turn: StackLock,
}

impl Place {
    /// Takes the lock, removes what a killed drill left, and makes the folder: below `within`, or next to the stacks.
    ///
    /// # Errors
    /// [`Error::Environment`] if something there is not a drill's; those of the engine.
    pub(super) async fn enter(source: &Options, kind: EngineKind, within: Option<&Path>) -> Result<Self, Error> {
        let within = match within {
            None => source.base.clone(),
            Some(folder) => std::fs::canonicalize(folder).map_err(Error::file("find", folder))?,
        };
        let waiting = |holder: &Holder| tracing::info!("stack '{}': waiting for {holder}", source.manifest.name);
        let turn = StackLock::acquire(&source.layout().root().join(FOLDER), Hold::Change, waiting).await?;
        let name = name(&source.manifest.name)?;
        let folder = within.join(format!("{FOLDER}{name}"));
        let options = Options {
            manifest: manifest(&source.manifest, name, kind),
            path: None,
            adopt: true,
            base: folder.clone(),
            without_snapshot: true,
            ..source.clone()
        };
        let reached = Opened::new(options, Intent::Write(Hold::Change)).await?.connect().await?;
        let place = Self { folder, reached, _turn: turn };
        place.leave().await?;
        create_private(&place.folder)?;
        check_folder(&place.folder)?;
        Ok(place)
    }

    /// Removes all of it.
    ///
    /// # Errors
    /// [`Error::Environment`] if a stack of its name is not a drill's; those of the engine and of the file system.
    pub(super) async fn leave(&self) -> Result<(), Error> {
        self.check_own()?;
        self.stop().await?;
        let folder = self.folder.clone();
        Ok(blocking("remove", &self.folder, move || clear(&folder)).await?)
    }

    /// Makes sure that nothing is in the folder but what a drill puts there.
    fn check_own(&self) -> Result<(), Error> {
        let own = [self.reached.options.manifest.name.as_str(), FILE, IDENTITY, "run"];
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !own.contains(&name.as_ref()) && !name.starts_with(UNFINISHED) {
                return Err(Error::Environment {
                    what: format!("'{}' is the folder of a drill, but it holds '{name}'", self.folder.display()),
                    hint: "move that away, or name another folder with --folder".into(),
                });
            }
        }
        Ok(())
    }

    /// Ends its servers.
    ///
    /// # Errors
    /// As [`Place::leave`].
    pub(super) async fn stop(&self) -> Result<(), Error> {
        let (name, engine) = (self.reached.options.manifest.name.as_str(), self.reached.engine());
        let Some(pod) = engine.pod(name).await? else { return Ok(()) };
        let folder = pod.labels.get(LABEL_FOLDER).map(Path::new);
        if folder != Some(self.layout().root()) {
            return Err(Error::Environment {
                what: format!("'{name}' exists, and it is not the copy in '{}' of a drill", shown(&self.layout())),
                hint: hint_of(folder),
            });
        }
        Ok(engine.remove_pod(name).await?)
    }

    /// Takes from the drive of the copy whatever would have MinIO talk to others. Its servers do not run.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) async fn silence(&self) -> Result<(), Error> {
        let drive = self.layout().drive();
        let shown = drive.clone();
        Ok(blocking("remove", &shown, move || TARGETS.iter().try_for_each(|place| clear(&drive.join(place)))).await?)
    }

    /// The folder of the copy.
    pub(super) fn layout(&self) -> Layout {
        self.reached.options.layout()
    }

    /// Makes sure, before anything is copied, that the copy has room and can do nothing to others.
    ///
    /// # Errors
    /// [`Error::Environment`] if there is no room; [`Error::Usage`] if the copy would send objects elsewhere.
    pub(super) fn check(&self, stack: &Stack, snapshot: &Snapshot) -> Result<(), Error> {
        let place = snapshot.drive(&stack.layout);
        if let Some(bucket) = drive::replicating(&place).map_err(Error::file("read", &place))? {
            return Err(Error::Usage {
                what: format!("bucket '{bucket}' is replicated: a copy of this stack would write to its targets, too"),
                hint: "no drill is held with such a stack; take one of a stack without the bucket's replication".into(),
            });
        }
        let Room { bytes: free, files, .. } = room(&self.folder)?;
        let (need, inodes) = (need(snapshot.bytes, snapshot.files), files.unwrap_or(u64::MAX));
        let (wanted, there) = match snapshot.files.saturating_mul(INODES) {
            _ if need > free => (format!("{need} bytes"), free),
            files if files > inodes => (format!("{files} inodes"), inodes),
            _ => return Ok(()),
        };
        let folder = self.folder.parent().unwrap_or(&self.folder).display();
        Err(Error::Environment {
            what: format!("the drill needs {wanted} in '{folder}', and {there} are free there"),
            hint: "name a folder on another disk with --folder; nothing was changed".into(),
        })
    }
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

/// Bytes for the exported file, the snapshot that is made of it, and the copy: it shares with that one what is large, but
/// whatever MinIO keeps in its metadata is written again.
fn need(bytes: u64, files: u64) -> u64 {
    bytes.saturating_mul(3).saturating_add(files.saturating_mul(3 * BLOCK)).saturating_add(RESERVE)
}

/// What the copy is: the user's stack, but for its place, its ports, and what it would tell others.
fn manifest(source: &Manifest, name: StackName, kind: EngineKind) -> Manifest {
    let mut manifest = Manifest { name, engine: kind, is_named: true, ..source.clone() };
    manifest.seed = Seed { is_left_alone: true, ..Seed::default() };
    manifest.ports.any = true;
    if !manifest.ports.elsewhere {
        manifest.host = Ipv4Addr::LOCALHOST.into();
    }
    // the keys of a folder of the user's are in the snapshot, and the copy keeps them in its own
    if let Some(fs) = manifest.keystore.get_mut("fs").and_then(|fs| fs.as_object_mut()) {
        fs.remove("path");
    }
    let env = &mut manifest.minio.env;
    env.retain(|name, _| !SENDS.iter().any(|prefix| name.starts_with(prefix)));
    env.insert(WITHOUT_SCANNER.0.into(), WITHOUT_SCANNER.1.into());
    manifest
}

fn name(of: &StackName) -> Result<StackName, Error> {
    let start: String = of.as_str().chars().take(NAME).collect();
    let name = format!("{}{SUFFIX}", start.trim_end_matches(['-', '_']));
    name.parse().map_err(|what| Error::Usage { what, hint: "give the stack another name".into() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_copy_has_ports_of_its_own_and_tells_nobody() {
        let mut source = Manifest {
            host: "192.0.2.7".parse().unwrap(),
            keystore: json!({ "fs": { "path": "/srv/keys" } }),
            ..Manifest::default()
        };
        let env = ["MINIO_NOTIFY_WEBHOOK_ENABLE_A", "MINIO_AUDIT_WEBHOOK_ENDPOINT", "MINIO_SITE_NAME"];
        source.minio.env = env.map(|name| (name.to_owned(), "on".to_owned())).into();
        let copy = manifest(&source, name(&source.name).unwrap(), EngineKind::Podman);
        assert_eq!(copy.name.as_str(), "minio-kes-drill");
        assert!(copy.ports.any && copy.host.is_loopback() && copy.keys_are_own() && copy.seed.is_left_alone);
        let env = [("MINIO_SITE_NAME", "on"), WITHOUT_SCANNER].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(copy.minio.env, BTreeMap::from(env));
    }

    #[test]
    fn room_is_asked_for_all_that_lies_there_at_a_time() {
        assert_eq!(need(1 << 30, 10), (3 << 30) + 30 * BLOCK + RESERVE);
        assert_eq!(need(u64::MAX, 1), u64::MAX);
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
}
