//! The files of keys on one drive.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kes_server::auth::KeyName;
use zeroize::Zeroizing;

use super::super::drive::make_private;
use crate::error::Error;
use crate::host::digest::sha256;
use crate::host::disk::{self, Outlasts};
use crate::stack::Layout;

/// Most bytes of a file that is taken for a key.
const MOST: u64 = 1 << 20;
/// Folder for keys in whose place another one of the same name is.
const FORMER: &str = "former-keys";
/// Digits of a digest in the name of a former key.
const DIGITS: usize = 16;

/// The file of a key.
pub(super) type Key = Zeroizing<Vec<u8>>;

/// Which file it was: number, length, and time of the last change in seconds and nanoseconds.
pub(super) type Stamp = (u64, u64, i64, i64);

pub(super) fn folder(drive: &Path) -> PathBuf {
    Layout::keys_on(drive)
}

/// The keys on a drive; none if it has no folder for them.
pub(super) fn all(drive: &Path) -> Result<BTreeMap<String, Key>, Error> {
    let folder = folder(drive);
    if folder.is_dir() {
        make_private(&Layout::on_drive(drive))?;
        make_private(&folder)?;
    }
    let found = names(drive)?.into_iter().map(|name| Ok(read(drive, &name)?.map(|key| (name, key))));
    found.filter_map(Result::transpose).collect()
}

/// Which files the keys on a drive are.
pub(super) fn stamps(drive: &Path) -> Result<BTreeMap<String, Stamp>, Error> {
    let folder = folder(drive);
    let stamp = |name: String| match std::fs::metadata(folder.join(&name)) {
        Err(error) if disk::is_absent(&error) => None,
        Err(error) => Some(Err(Error::file("look at", folder.join(name))(error))),
        Ok(found) => Some(Ok((name, (found.ino(), found.len(), found.ctime(), found.ctime_nsec())))),
    };
    names(drive)?.into_iter().filter_map(stamp).collect()
}

/// Names of the keys on a drive. Those of files that KES is writing are not names of keys.
pub(super) fn names(drive: &Path) -> Result<BTreeSet<String>, Error> {
    let folder = folder(drive);
    names_in(&folder).map_err(Error::file("read", &folder))
}

fn names_in(folder: &Path) -> io::Result<BTreeSet<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if disk::is_absent(&error) => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().filter(|name| name.parse::<KeyName>().is_ok());
        names.extend(name.filter(|_| entry.file_type().is_ok_and(|kind| kind.is_file())));
    }
    Ok(names)
}

/// One key on a drive; `None` if it is not there.
pub(super) fn read(drive: &Path, name: &str) -> Result<Option<Key>, Error> {
    let path = folder(drive).join(name);
    let content = || {
        let mut content = Zeroizing::new(Vec::new());
        File::open(&path)?.take(MOST).read_to_end(&mut content)?;
        Ok(content)
    };
    match content() {
        Err(error) if disk::is_absent(&error) => Ok(None),
        found => found.map(Some).map_err(Error::file("read", &path)),
    }
}

/// Writes a key to a drive.
pub(super) fn put(drive: &Path, name: &str, key: &[u8]) -> Result<(), Error> {
    write(drive, &folder(drive), name, key)
}

/// Keeps the key that is about to be written over: whoever deleted it may have needed it.
pub(super) fn put_aside(drive: &Path, name: &str, key: &[u8]) -> Result<(), Error> {
    let mut digest = sha256(key);
    digest.truncate(DIGITS);
    write(drive, &former(drive), &format!("{name}-{digest}"), key)
}

/// Removes a key from a drive, and those of its name that were put aside.
pub(super) fn remove(drive: &Path, name: &str) -> Result<(), Error> {
    let former = former(drive);
    let is_of_it = |file: &String| file.rsplit_once('-').is_some_and(|(of, _)| of == name);
    for file in names_in(&former).map_err(Error::file("read", &former))?.iter().filter(|file| is_of_it(file)) {
        disk::remove(&former.join(file))?;
    }
    Ok(disk::remove(&folder(drive).join(name))?)
}

fn former(drive: &Path) -> PathBuf {
    Layout::on_drive(drive).join(FORMER)
}

fn write(drive: &Path, folder: &Path, name: &str, key: &[u8]) -> Result<(), Error> {
    make_private(&Layout::on_drive(drive))?;
    make_private(folder)?;
    let path = folder.join(name);
    disk::replace(&path, key, Outlasts::Machine).map_err(Error::file("write", path))
}
