//! Restoring a snapshot: differences are copied next to the present files, the keys are checked, then the servers stop
//! and the files are swapped.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use kes_server::client::Client;
use kes_server::keystore::{Environment, fs};
use zeroize::Zeroizing;

use super::added_keys::AddedKeys;
use super::journal::{self, Exchange, Journal};
use super::rollback::Rollback;
use super::tree::{Copier, same, sync};
use super::{Interrupt, Snapshot, SnapshotName, clear, folder};
use crate::data::guard::{Guarded, KeyRecord, Keystore, Verdict};
use crate::engine::Engine;
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::disk::{self, is_absent, spread};
use crate::manifest::Manifest;
use crate::stack::Layout;
use crate::template::parse_env;

/// A restore that only has to be committed.
#[derive(Debug)]
pub struct Prepared {
    layout: Layout,
    journal: Journal,
    /// Keys to be added to a folder that is not the stack's own.
    added_keys: AddedKeys,
    /// True if KES has to be stopped as well: keys, certificates or configuration differ from those it runs with.
    pub changes_kes: bool,
}

/// Prepares a restore, and makes sure that the keystore holds the keys of the data. The stack runs on meanwhile.
///
/// # Errors
/// [`Error::Usage`] if there is no such snapshot; [`Error::Guard`] if the keys do not fit. Nothing is changed then.
pub async fn prepare(
    manifest: &Manifest,
    layout: &Layout,
    name: &SnapshotName,
    kes: Option<&Client>,
    environment: &Environment,
    interrupt: &Interrupt,
) -> Result<Prepared, Error> {
    let snapshot = Snapshot::find(layout, name)?;
    // another name each time, for another place on the disk
    let staged = layout.restore().join(format!("minio-{}", Timestamp::now().as_millisecond()));
    let drive = Rollback { snapshot: snapshot.drive(layout), staged, drive: layout.drive() };
    let prepared = async {
        stage(layout, snapshot, drive.clone(), interrupt).await?;
        check_keys(manifest, layout, &drive, kes, environment).await?;
        prepared(manifest, layout, drive)
    };
    let prepared = prepared.await;
    if prepared.is_err() {
        clear(&layout.restore())?;
    }
    prepared
}

impl Prepared {
    /// Stops the servers and puts everything in its place. Once the journal is written this is finished by the next `up`,
    /// should it be killed. Starts nothing.
    ///
    /// # Errors
    /// Those of the engine and of the file system, and a signal before the journal.
    pub async fn commit(self, engine: &dyn Engine, servers: Servers<'_>, interrupt: &Interrupt) -> Result<(), Error> {
        interrupt.check()?;
        let timeout = Duration::from_secs(10);
        let kes = async {
            for kes in servers.kes.iter().filter(|_| self.changes_kes) {
                engine.stop_container(kes, timeout).await?;
            }
            Ok::<_, Error>(())
        };
        let minio = async {
            match servers.minio {
                Some(minio) => engine.stop_container(minio, timeout).await,
                None => Ok(()),
            }
        };
        let staged = self.layout.restore();
        let place = self.layout.root().to_owned();
        // the servers end while the disk writes
        let synced = blocking("sync", &place, move || sync(&staged));
        let (minio, kes, synced) = tokio::join!(minio, kes, synced);
        minio?;
        kes?;
        synced?;
        // from here on no signal counts: stopped servers must not stay stopped
        blocking("write", &place, move || self.finish()).await
    }

    fn finish(self) -> Result<(), Error> {
        // on disk before the journal: the drive never comes back without them
        self.added_keys.write()?;
        journal::write(&self.layout, &self.journal)?;
        journal::finish(&self.layout, &Copier::within(&self.layout.restore(), &Interrupt::default()))
    }
}

/// The containers that run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Servers<'a> {
    /// Those of KES.
    pub kes: &'a [String],
    /// Of MinIO.
    pub minio: Option<&'a str>,
}

/// Stages, next to the present files, everything of the snapshot that is not there.
async fn stage(layout: &Layout, snapshot: Snapshot, drive: Rollback, interrupt: &Interrupt) -> Result<(), Error> {
    let (from, to) = (folder(layout, &snapshot.name), layout.restore());
    let layout = layout.clone();
    let interrupt = interrupt.clone();
    let shown = to.clone();
    let work = move || {
        clear(&to)?;
        super::make_private(&to)?;
        spread(&to);
        let mut copier = Copier::within(&to, &interrupt);
        copier.not_after = snapshot.unchanged_since();
        drive.stage(&copier)?;
        for part in ["keys", "certs", "config"].into_iter().filter(|part| from.join(part).is_dir()) {
            copier.files(&from.join(part), &to.join(part))?;
        }
        present(&layout, &to.join("config"), &mut copier)?;
        let (now, then) = (layout.master_key(), Layout::at(&to).master_key());
        // one that was exported in clear holds none, and then the stack's own is tried
        if !then.exists() && now.exists() {
            disk::create_private(then.parent().unwrap_or(&to))?;
            copier.file(&now, &then)?;
        }
        copier.file(&from.join("guard.json"), &to.join("guard.json"))?;
        if !to.join("guard.json").exists() {
            KeyRecord::default().save(&to.join("guard.json"))?;
        }
        Ok(())
    };
    blocking("write", &shown, work).await
}

/// Which engine runs the stack and which fault is in force is as it is now, not as it was. So is what `up` writes again
/// from the rest: with other ports since, it would differ, and nothing else, and KES would have to stop for it.
fn present(layout: &Layout, staged: &Path, copier: &mut Copier) -> Result<(), Error> {
    let mut kept = vec![layout.engine(), layout.fault(), layout.kes_config()];
    let minio = layout.minio_env();
    if root_user(&minio)? == root_user(&staged.join(minio.file_name().unwrap_or_default()))? {
        kept.push(minio);
    }
    for now in kept {
        let then = staged.join(now.file_name().unwrap_or_default());
        match std::fs::remove_file(&then) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("remove", then)(error));
            }
            _ => copier.file(&now, &then)?,
        }
    }
    Ok(())
}

/// Who MinIO's root user is: all of its environment file that is not made again.
fn root_user(path: &Path) -> Result<[Option<Zeroizing<String>>; 2], Error> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if is_absent(&error) => Zeroizing::default(),
        text => Zeroizing::new(text.map_err(Error::file("read", path))?),
    };
    let mut variables = parse_env(&text);
    Ok(["MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"].map(|name| variables.remove(name).map(Zeroizing::new)))
}

/// Keys that are inside must open what is inside; keys that are elsewhere are asked for there.
async fn check_keys(
    manifest: &Manifest,
    layout: &Layout,
    drive: &Rollback,
    kes: Option<&Client>,
    environment: &Environment,
) -> Result<(), Error> {
    let staged = layout.restore();
    let guarded = Guarded::at(manifest, drive.snapshot.clone(), staged.join("guard.json"), staged.join("keys"));
    if let (false, Some(kes)) = (manifest.keystore_is_fs(), kes)
        && guarded.check(kes).await? == Verdict::Good
    {
        return Ok(());
    }
    let master_key = Layout::at(&staged).master_key();
    if fs::is_sealed(&staged.join("keys")).unwrap_or(false) && !master_key.exists() {
        return Err(Error::Guard(format!(
            "the keys of the snapshot are sealed, and it holds no master key: nothing was changed\n  write the digits of its \
             recovery sheet to '{}' (mode 0600), and restore again",
            layout.master_key().display()
        )));
    }
    let verdict = match Keystore::open(manifest, staged.join("keys"), master_key, environment).await {
        Some(keystore) => guarded.check(&keystore).await?,
        None => Verdict::Unknown,
    };
    match verdict {
        Verdict::Good => Ok(()),
        Verdict::Unknown => Err(Error::Environment {
            what: "kestack cannot check whether the keystore holds the keys of the snapshot".into(),
            hint: "`kestack doctor` shows why; nothing was changed".into(),
        }),
    }
}

/// What has to be done: the drive is put back, the record of its keys exchanged; the rest if it differs.
fn prepared(manifest: &Manifest, layout: &Layout, drive: Rollback) -> Result<Prepared, Error> {
    let staged = layout.restore();
    let exchange = |name: &str, place: PathBuf| Exchange { new: staged.join(name), place };
    let mut exchanges = vec![exchange("guard.json", layout.guard())];
    let mut changed = vec![("certs", layout.certs()), ("config", layout.config())];
    let mut added_keys = AddedKeys::default();
    match manifest.fs_path() {
        Some(folder) => added_keys = AddedKeys::of(&staged.join("keys"), &folder)?,
        None if manifest.keystore_is_fs() => changed.push(("keys", layout.keys())),
        None => {}
    }
    let always = exchanges.len();
    for (name, place) in changed {
        if !same(&staged.join(name), &place)? {
            exchanges.push(exchange(name, place));
        }
    }
    let changes_kes = exchanges.len() > always;
    Ok(Prepared { layout: layout.clone(), journal: Journal { drive, exchanges }, added_keys, changes_kes })
}
