//! Sealing a folder in place, and the way back (docs/sealed-keys.md §4).
//!
//! First everything is read and opened, and nothing touched if anything is wrong. Then the marker says what is being
//! done, each file is written aside, synced and renamed, and the marker says that it is done. Whatever ends the process,
//! each file is complete in one of the two forms, both of which the same command takes when it is run again.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::super::KeyStoreError;
use super::marker::{self, Change, Marker, OURS};
use super::master::MasterKeys;
use super::seal::refused;
use super::{entry, failure, other, store};
use crate::auth::is_valid_name;
use crate::crypto::{Fingerprint, Key, SealedValue};

/// Files that are renamed before the folder is synced: as many are open at once.
const AT_ONCE: usize = 64;

/// What sealing or unsealing a folder has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Converted {
    /// Keys that have another form now.
    pub changed: usize,
    /// Keys that had it already.
    pub unchanged: usize,
    /// Folders, which are left alone; they may hold keys in clear.
    pub folders: Vec<String>,
    /// Keys whose file has another name somewhere, under which it is still in clear.
    pub linked: Vec<String>,
}

/// A key of the folder, and the master key that sealed it.
#[derive(Debug)]
struct Found {
    name: String,
    sealed_by: Option<Fingerprint>,
}

/// Seals every key of a folder under the current master key, also those that a previous one sealed. If all are sealed
/// already, servers may make and delete keys meanwhile.
///
/// # Errors
/// If anything in the folder is not a key, or cannot be opened; then nothing is changed. Later, whatever the disk refuses.
pub fn seal(folder: &Path, keys: &MasterKeys) -> Result<Converted, KeyStoreError> {
    let mut lock = marker::lock(folder)?;
    let current = keys.current().fingerprint();
    let (mut due, mut done) = begin(folder, keys)?;
    if !due.is_empty() && due.iter().all(|key| key.sealed_by.is_some()) {
        let unchanged = done.unchanged;
        for some in due.chunks(AT_ONCE) {
            seal_some(folder, some, keys, &mut done)?;
            lock = marker::give_way(folder, lock)?;
            still_sealed(folder, current)?;
        }
        // of what others did meanwhile nothing is left under a previous one
        let changed = std::mem::take(&mut done.changed);
        (due, done) = begin(folder, keys)?;
        done = Converted { changed, unchanged, ..done };
    }
    for some in due.chunks(AT_ONCE) {
        seal_some(folder, some, keys, &mut done)?;
    }
    save(&Marker::new(vec![current.clone()], None), folder)?;
    drop(lock);
    Ok(done)
}

/// The keys that are not sealed under the current master key; the marker names all that they are sealed under.
fn begin(folder: &Path, keys: &MasterKeys) -> Result<(Vec<Found>, Converted), KeyStoreError> {
    let current = keys.current().fingerprint();
    let (found, done) = look(folder, keys)?;
    let mut sealed_by: BTreeSet<_> = found.iter().filter_map(|key| key.sealed_by.clone()).collect();
    sealed_by.insert(current.clone());
    let any_in_clear = found.iter().any(|key| key.sealed_by.is_none());
    save(&Marker::new(sealed_by.into_iter().collect(), any_in_clear.then_some(Change::Seal)), folder)?;
    let all = found.len();
    let due: Vec<_> = found.into_iter().filter(|key| key.sealed_by.as_ref() != Some(current)).collect();
    let unchanged = all - due.len();
    Ok((due, Converted { unchanged, ..done }))
}

/// After others had the folder: another command may have opened it.
fn still_sealed(folder: &Path, current: &Fingerprint) -> Result<(), KeyStoreError> {
    match Marker::load(folder)? {
        Some(marker) if marker.unfinished.is_none() && marker.master_keys.contains(current) => Ok(()),
        _ => Err(refused(format!(
            "'{0}': another command changed it meanwhile: run `kes seal {0}` again",
            folder.display()
        ))),
    }
}

/// Writes every key of a folder in clear.
///
/// # Errors
/// As [`seal`].
pub fn unseal(folder: &Path, keys: &MasterKeys) -> Result<Converted, KeyStoreError> {
    let _lock = marker::lock(folder)?;
    let (found, done) = look(folder, keys)?;
    let (due, unchanged): (Vec<_>, Vec<_>) = found.into_iter().partition(|key| key.sealed_by.is_some());
    if Marker::load(folder)?.is_some() || !due.is_empty() {
        let sealed_by: BTreeSet<_> = due.iter().filter_map(|key| key.sealed_by.clone()).collect();
        save(&Marker::new(sealed_by.into_iter().collect(), Some(Change::Unseal)), folder)?;
        for key in &due {
            rewrite(folder, key, keys, |value| Ok(Zeroizing::new(value.to_vec())))?;
        }
        store::sync_folder(folder).map_err(|error| other(folder, &error))?;
        Marker::remove(folder).map_err(|error| other(&marker::place(folder), &error))?;
    }
    Ok(Converted { changed: due.len(), unchanged: unchanged.len(), ..done })
}

/// True if the folder is sealed, or is being sealed or unsealed.
///
/// # Errors
/// If its marker cannot be read.
pub fn is_sealed(folder: &Path) -> Result<bool, KeyStoreError> {
    Marker::load(folder).map(|marker| marker.is_some())
}

/// The master keys that the folder is sealed under; `None` if its keys lie in clear, or a change of all of them was
/// interrupted.
///
/// # Errors
/// If its marker cannot be read.
pub fn sealed_under(folder: &Path) -> Result<Option<Vec<Fingerprint>>, KeyStoreError> {
    let marker = Marker::load(folder)?.filter(|marker| marker.unfinished.is_none());
    Ok(marker.map(|marker| marker.master_keys))
}

fn save(marker: &Marker, folder: &Path) -> Result<(), KeyStoreError> {
    marker.save(folder).map_err(|error| other(&marker::place(folder), &error))
}

/// Every key of the folder. Each of them can be opened, and nothing else is there but folders.
fn look(folder: &Path, keys: &MasterKeys) -> Result<(Vec<Found>, Converted), KeyStoreError> {
    store::clear_unfinished(folder);
    let (mut found, mut done) = (Vec::new(), Converted::default());
    for entry in std::fs::read_dir(folder).map_err(|error| failure(folder, folder, &error))? {
        let entry = entry.map_err(|error| failure(folder, folder, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().map_err(|error| failure(folder, &entry.path(), &error))?;
        if name.starts_with(OURS) {
            continue;
        }
        if kind.is_dir() {
            done.folders.push(name);
        } else if kind.is_file() {
            let sealed_by = sealed_by(folder, &name, keys)?;
            found.push(Found { name, sealed_by });
        } else {
            let what = if kind.is_symlink() { "a link" } else { "not a file" };
            return Err(refused(format!("'{name}' in '{}' is {what}: nothing was changed", folder.display())));
        }
    }
    Ok((found, done))
}

/// The master key that sealed a file, which is a key.
fn sealed_by(folder: &Path, name: &str, keys: &MasterKeys) -> Result<Option<Fingerprint>, KeyStoreError> {
    let file = folder.join(name);
    let wrong = |why: String| refused(format!("{why}; nothing was changed"));
    let stored = entry::read(&file).map_err(|error| wrong(super::text(&file, &error)))?;
    let no_key = || wrong(format!("'{}' is not a key: move it to another folder", file.display()));
    if !is_valid_name(name) {
        return Err(no_key());
    }
    if !SealedValue::is_one(&stored) {
        return Key::decode(&stored).map(|_| None).map_err(|_| no_key());
    }
    let sealed =
        SealedValue::parse(&stored).map_err(|error| wrong(format!("key '{name}' cannot be opened: {error}")))?;
    keys.open(name, &sealed).map_err(wrong)?;
    Ok(Some(sealed.fingerprint))
}

/// Seals some keys. The clear text of each is overwritten once its sealed form lasts, as far as the disk lets anybody do
/// that.
fn seal_some(folder: &Path, some: &[Found], keys: &MasterKeys, done: &mut Converted) -> Result<(), KeyStoreError> {
    let mut clear = Vec::new();
    for key in some {
        // a server may have deleted it
        if !folder.join(&key.name).exists() {
            continue;
        }
        let sealed = |value: &[u8]| keys.current().seal(&key.name, value).map(Zeroizing::new);
        let (former, file) = rewrite(folder, key, keys, |value| sealed(value).map_err(|error| error.to_string()))?;
        done.changed += 1;
        if key.sealed_by.is_some() {
            continue;
        }
        if former.nlink() > 1 {
            done.linked.push(key.name.clone());
        } else {
            clear.push((former, file));
        }
    }
    store::sync_folder(folder).map_err(|error| other(folder, &error))?;
    for (former, file) in clear {
        // Nobody needs it any more: a failure changes nothing.
        let _: io::Result<()> = overwrite(&file, &former);
    }
    Ok(())
}

/// Puts another form of a key in place of its file; what was there before is still open.
fn rewrite(
    folder: &Path,
    key: &Found,
    keys: &MasterKeys,
    form: impl Fn(&[u8]) -> Result<Zeroizing<Vec<u8>>, String>,
) -> Result<(Metadata, File), KeyStoreError> {
    let file = folder.join(&key.name);
    let failed = |error: &io::Error| other(&file, error);
    let open = open_writable(&file).or_else(|_| entry::open_regular(&file)).map_err(|error| failed(&error))?;
    let former = open.metadata().map_err(|error| failed(&error))?;
    let stored = entry::content(&open).map_err(|error| failed(&error))?;
    let value = if SealedValue::is_one(&stored) {
        let sealed = SealedValue::parse(&stored).map_err(|error| refused(error.to_string()))?;
        keys.open(&key.name, &sealed).map_err(refused)?
    } else {
        stored
    };
    let new = form(&value).map_err(refused)?;
    store::replace(folder, &file, &new, &former).map_err(|error| failed(&error))?;
    Ok((former, open))
}

fn open_writable(file: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(file, flags, Mode::empty())?))
}

/// Overwrites a file that has no name any more.
fn overwrite(mut file: &File, former: &Metadata) -> io::Result<()> {
    if file.metadata()?.nlink() > 0 {
        return Ok(());
    }
    io::Seek::rewind(&mut file)?;
    file.write_all(&vec![0; usize::try_from(former.len()).unwrap_or_default()])?;
    file.sync_data()
}
