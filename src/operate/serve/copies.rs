//! The keys on every drive. MinIO reads its data while some of several drives are gone; so whichever those are, the others
//! must hold the keys and the record of them (docs/architecture.md §4.3).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kes_server::auth::KeyName;
use zeroize::Zeroizing;

use super::drive::make_private;
use crate::data::drive::is_formatted;
use crate::error::Error;
use crate::host::disk::{self, Outlasts};
use crate::stack::{Layout, Stack};

/// How often the further drives are looked at: clients may have keys made at any time.
const LOOK: Duration = Duration::from_secs(2);
/// Most bytes of a file that is taken for a key.
const MOST: u64 = 1 << 20;

/// The drives of one stack, of which each has all keys.
#[derive(Debug)]
pub(super) struct Copies {
    first: PathBuf,
    others: Vec<PathBuf>,
    /// Whether the keys are on the drives at all, rather than in a keystore elsewhere.
    has_keys: bool,
}

/// The keys on one drive, by their names.
type Keys = BTreeMap<String, Zeroizing<Vec<u8>>>;

impl Copies {
    pub(super) fn of(stack: &Stack) -> Self {
        let mut drives = stack.layout.drives().into_iter();
        let first = drives.next().unwrap_or_default();
        Self { first, others: drives.collect(), has_keys: stack.manifest.keys_are_own() }
    }

    /// Puts keys on the first drive that only others have: it was replaced, or is another one than before. One of the others
    /// that cannot be read is left out.
    ///
    /// # Errors
    /// [`Error::Guard`] if two drives have different keys of one name; those of the first drive's file system.
    pub(super) fn gather(&self) -> Result<(), Error> {
        if !self.has_keys || self.others.is_empty() {
            return Ok(());
        }
        let own = keys_on(&self.first)?;
        let mut all: BTreeMap<String, (&Path, Zeroizing<Vec<u8>>)> =
            own.into_iter().map(|(name, key)| (name, (self.first.as_path(), key))).collect();
        let mut missing = BTreeSet::new();
        for drive in &self.others {
            let keys = keys_on(drive).unwrap_or_else(|error| {
                tracing::warn!("the keys on the drive '{}' cannot be read: {error}", drive.display());
                Keys::new()
            });
            for (name, key) in keys {
                match all.get(&name) {
                    Some((_, known)) if *known == key => {}
                    Some((other, _)) => return Err(differ(&name, other, drive)),
                    None => {
                        missing.insert(name.clone());
                        all.insert(name, (drive, key));
                    }
                }
            }
        }
        for (name, (drive, key)) in all.iter().filter(|(name, _)| missing.contains(*name)) {
            put(&keys_folder(&self.first), name, key)?;
            tracing::warn!("key '{name}' was only on '{}': it is on '{}' again", drive.display(), self.first.display());
        }
        Ok(())
    }

    /// Copies keys and record to all drives that MinIO has taken. One that refuses them is named, and keeps nobody from
    /// serving: a drive may fail at any time.
    pub(super) fn spread(&self) {
        self.spread_unless(&mut BTreeSet::new());
    }

    /// Does that as long as the program runs.
    pub(super) async fn keep(&self) {
        let mut refused = BTreeSet::new();
        let mut looks = tokio::time::interval(LOOK);
        while !self.others.is_empty() {
            looks.tick().await;
            self.spread_unless(&mut refused);
        }
        std::future::pending::<()>().await;
    }

    fn spread_unless(&self, refused: &mut BTreeSet<PathBuf>) {
        for drive in self.others.iter().filter(|drive| is_formatted(drive)) {
            match self.copy_to(drive) {
                Ok(()) => drop(refused.remove(drive)),
                Err(error) if refused.insert(drive.clone()) => {
                    tracing::warn!("the drive '{}' has not all keys: {error}", drive.display());
                }
                Err(_) => {}
            }
        }
    }

    fn copy_to(&self, drive: &Path) -> Result<(), Error> {
        if self.has_keys {
            let there = names(&keys_folder(drive)).unwrap_or_default();
            let own = names(&keys_folder(&self.first)).map_err(Error::file("read", keys_folder(&self.first)))?;
            for name in own.difference(&there) {
                let from = keys_folder(&self.first).join(name);
                put(&keys_folder(drive), name, &read(&from).map_err(Error::file("read", &from))?)?;
            }
        }
        let (from, to) = (Layout::record_on(&self.first), Layout::record_on(drive));
        match disk::read(&from)? {
            Some(record) if disk::read(&to)?.as_ref() != Some(&record) => {
                make_private(&Layout::on_drive(drive))?;
                disk::replace(&to, &record, Outlasts::Machine).map_err(Error::file("write", to))
            }
            _ => Ok(()),
        }
    }
}

fn keys_folder(drive: &Path) -> PathBuf {
    Layout::keys_on(drive)
}

/// The keys on a drive; none if it has no folder for them.
fn keys_on(drive: &Path) -> Result<Keys, Error> {
    let folder = keys_folder(drive);
    if folder.is_dir() {
        make_private(&Layout::on_drive(drive))?;
        make_private(&folder)?;
    }
    let names = names(&folder).map_err(Error::file("read", &folder))?;
    let keys = names.into_iter().map(|name| {
        let path = folder.join(&name);
        Ok((name, read(&path).map_err(Error::file("read", path))?))
    });
    keys.collect()
}

/// Names of the keys in a folder. Those of files that KES is writing are not names of keys.
fn names(folder: &Path) -> io::Result<BTreeSet<String>> {
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

fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(Vec::new());
    File::open(path)?.take(MOST).read_to_end(&mut content)?;
    Ok(content)
}

fn put(folder: &Path, name: &str, key: &[u8]) -> Result<(), Error> {
    if let Some(own) = folder.parent() {
        make_private(own)?;
    }
    make_private(folder)?;
    let path = folder.join(name);
    disk::replace(&path, key, Outlasts::Machine).map_err(Error::file("write", path))
}

fn differ(name: &str, one: &Path, other: &Path) -> Error {
    Error::Guard(format!(
        "key '{name}' on '{}' is not the one on '{}': these drives are of two stores, or one holds an older key\n  \
         name the drives of one store only, or move the file out of `.kestack/keys` of the drive that is wrong",
        one.display(),
        other.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Three drives that MinIO has taken.
    fn drives(folder: &Path) -> Copies {
        let mut all = ["a", "b", "c"].map(|name| folder.join(name)).to_vec();
        for drive in &all {
            std::fs::create_dir_all(drive.join(".minio.sys")).unwrap();
            std::fs::write(drive.join(".minio.sys/format.json"), "{}").unwrap();
        }
        Copies { first: all.remove(0), others: all, has_keys: true }
    }

    fn make_key(drive: &Path, name: &str, content: &str) {
        put(&keys_folder(drive), name, content.as_bytes()).unwrap();
    }

    fn key(drive: &Path, name: &str) -> Option<String> {
        std::fs::read_to_string(keys_folder(drive).join(name)).ok()
    }

    #[test]
    fn keys_and_record_get_to_every_drive_and_back_from_any() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        make_key(&copies.first, "one", "1");
        std::fs::write(Layout::record_on(&copies.first), "record").unwrap();
        copies.spread();
        for drive in &copies.others {
            assert_eq!(key(drive, "one").as_deref(), Some("1"));
            assert_eq!(std::fs::read(Layout::record_on(drive)).unwrap(), b"record");
            let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(keys_folder(drive)), mode(keys_folder(drive).join("one"))), (0o700, 0o600));
        }
        make_key(&copies.others[1], "two", "2");
        std::fs::remove_dir_all(&copies.first).unwrap();
        std::fs::create_dir(&copies.first).unwrap();
        copies.gather().unwrap();
        assert_eq!(
            (key(&copies.first, "one").as_deref(), key(&copies.first, "two").as_deref()),
            (Some("1"), Some("2"))
        );
    }

    #[test]
    fn two_keys_of_one_name_are_refused_with_both_drives_and_nothing_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        make_key(&copies.others[0], "one", "1");
        make_key(&copies.others[0], "other", "1");
        make_key(&copies.others[1], "one", "2");
        let error = copies.gather().unwrap_err();
        let said = error.to_string();
        assert!(
            error.exit_code() == 7 && copies.others.iter().all(|drive| said.contains(drive.to_str().unwrap())),
            "{said}"
        );
        assert!(!keys_folder(&copies.first).exists());
    }

    #[test]
    fn a_further_drive_that_cannot_be_read_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        make_key(&copies.others[1], "one", "1");
        std::fs::create_dir_all(Layout::on_drive(&copies.others[0])).unwrap();
        let unreadable = keys_folder(&copies.others[0]);
        std::os::unix::fs::symlink(&unreadable, &unreadable).unwrap();
        copies.gather().unwrap();
        assert_eq!(key(&copies.first, "one").as_deref(), Some("1"));
    }

    #[test]
    fn a_drive_that_minio_has_not_taken_gets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        std::fs::remove_dir_all(copies.others[0].join(".minio.sys")).unwrap();
        make_key(&copies.first, "one", "1");
        copies.spread();
        assert_eq!((key(&copies.others[0], "one"), key(&copies.others[1], "one").as_deref()), (None, Some("1")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_made_later_gets_there_too() {
        let folder = tempfile::tempdir().unwrap();
        let copies = drives(folder.path());
        make_key(&copies.first, "one", "1");
        let later = async {
            tokio::time::sleep(LOOK / 2).await;
            make_key(&copies.first, "later", "2");
            tokio::time::sleep(LOOK).await;
        };
        tokio::select! { () = copies.keep() => {}, () = later => {} }
        assert_eq!(key(&copies.others[0], "later").as_deref(), Some("2"));
    }

    #[test]
    fn keys_elsewhere_stay_there() {
        let folder = tempfile::tempdir().unwrap();
        let copies = Copies { has_keys: false, ..drives(folder.path()) };
        make_key(&copies.others[0], "one", "1");
        copies.gather().unwrap();
        assert!(!keys_folder(&copies.first).exists());
    }
}
