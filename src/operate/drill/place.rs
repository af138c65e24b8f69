//! Where a drill takes place: a stack that has nothing of the user's but a copy.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::data::drive;
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::disk::{Room, clear, create_private, room};
use crate::host::interrupt::Interrupt;
use crate::host::lock::Hold;
use crate::host::ownership::check_folder;
use crate::manifest::{EngineKind, Manifest, Seed, StackName, WITHOUT_SCANNER};
use crate::operate::clone::{Need, check_apart};
use crate::operate::copies::{self, StackCopy, Turn};
use crate::operate::session::{Intent, Opened, Options, Reached};
use crate::operate::snapshot::{Copier, Snapshot};
use crate::stack::{Layout, Stack};

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

/// The folder of a drill, its engine, and the right to use both.
#[derive(Debug)]
pub(super) struct Place {
    /// Holds the copy and the exported file.
    pub(super) folder: PathBuf,
    pub(super) reached: Reached,
    turn: Turn,
}

impl Place {
    /// Takes the turn, removes what killed drills left, and makes the folder: below `within`, or next to the stacks.
    ///
    /// # Errors
    /// [`Error::Usage`] if `within` is in the stack's data; [`Error::Environment`] if something there is not a drill's; those
    /// of the engine.
    pub(super) async fn enter(source: &Options, kind: EngineKind, within: Option<&Path>) -> Result<Self, Error> {
        let within = match within {
            None => source.base.clone(),
            Some(folder) => named(source, folder)?,
        };
        let turn = Turn::take(source).await?;
        turn.clear(None).await?;
        let copy = StackCopy::of(source, &within, kind)?;
        let folder = copy.folder.clone();
        let manifest = manifest(&source.manifest, copies::name(&source.manifest.name)?, kind);
        let (host, program) = (source.host.clone(), source.program.clone());
        let options = Options { host, program, ..Options::of_existing(manifest, folder.clone()) };
        let reached = Opened::new(options, Intent::Write(Hold::Change)).await?.connect().await?;
        // an earlier kestack kept no record
        copies::remove(&folder, &reached).await?;
        turn.note(&copy)?;
        create_private(&folder)?;
        check_folder(&folder)?;
        Ok(Self { folder, reached, turn })
    }

    /// Removes all of it.
    ///
    /// # Errors
    /// [`Error::Environment`] if a stack of its name is not a drill's; those of the engine and of the file system.
    pub(super) async fn leave(&self) -> Result<(), Error> {
        copies::remove(&self.folder, &self.reached).await?;
        self.turn.forget(&self.folder)
    }

    /// Ends its servers.
    ///
    /// # Errors
    /// As [`Place::leave`].
    pub(super) async fn stop(&self) -> Result<(), Error> {
        copies::stop(&self.reached).await
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
    pub(super) async fn check(&self, stack: &Stack, snapshot: &Snapshot, interrupt: &Interrupt) -> Result<(), Error> {
        let drive = snapshot.drive(&stack.layout);
        if let Some(bucket) = drive::replicating(&drive).map_err(Error::file("read", &drive))? {
            return Err(Error::Usage {
                what: format!("bucket '{bucket}' is replicated: a copy of this stack would write to its targets, too"),
                hint: "a drill is not possible with such a stack; use a stack without the bucket's replication".into(),
            });
        }
        let Room { bytes: free, files, .. } = room(&self.folder)?;
        let most = need(snapshot.bytes, snapshot.files, snapshot.bytes);
        // who has room for all of it need not know what the copy shares
        let need = if most <= free { most } else { self.need(drive, snapshot, interrupt).await? };
        let inodes = files.unwrap_or(u64::MAX);
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

    /// The bytes that it needs, if the copy shares with its snapshot what this file system can share.
    async fn need(&self, drive: PathBuf, snapshot: &Snapshot, interrupt: &Interrupt) -> Result<u64, Error> {
        let method = Copier::within(&self.folder, interrupt).method;
        let place = drive.clone();
        let look = move || Need::of_drive(&drive, method).map_err(Error::file("read", drive));
        let own = blocking("read", &place, look).await?;
        Ok(need(snapshot.bytes, snapshot.files, own.bytes))
    }
}

/// The folder that the user named, outside of what is copied there.
fn named(source: &Options, folder: &Path) -> Result<PathBuf, Error> {
    let (layout, folder) = (source.layout(), std::fs::canonicalize(folder).map_err(Error::file("find", folder))?);
    let keys = source.manifest.fs_path().unwrap_or_else(|| layout.keys());
    let hint = "name a folder outside of the stack's data and keys with --folder";
    check_apart(&folder, [layout.drive().as_path(), &keys], hint)?;
    Ok(folder)
}

/// Bytes for the exported file, the snapshot that is made of it, and what the copy does not share with that one: nothing if
/// files are cloned, else all but the large contents of objects.
fn need(bytes: u64, files: u64, own: u64) -> u64 {
    bytes.saturating_mul(2).saturating_add(own).saturating_add(files.saturating_mul(3 * BLOCK)).saturating_add(RESERVE)
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
        let copy = manifest(&source, copies::name(&source.name).unwrap(), EngineKind::Podman);
        assert_eq!(copy.name.as_str(), "minio-kes-drill");
        assert!(copy.ports.any && copy.host.is_loopback() && copy.keys_are_own() && copy.seed.is_left_alone);
        let env = [("MINIO_SITE_NAME", "on"), WITHOUT_SCANNER].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(copy.minio.env, BTreeMap::from(env));
    }

    #[test]
    fn room_is_asked_for_all_that_lies_there_at_a_time() {
        assert_eq!(need(1 << 30, 10, 1 << 20), (2 << 30) + (1 << 20) + 30 * BLOCK + RESERVE);
        assert_eq!(need(u64::MAX, 1, 1), u64::MAX);
    }
}
