//! Keys that a restore adds to a folder which the user named. It may hold keys of others: none of them is removed or changed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::journal::sync_folder;
use super::tree::give;
use crate::error::Error;
use crate::host::disk::{create_private, folder_of, is_absent};
use crate::host::scratch;

/// Start of the names of keys that are being written; no key has such a name.
const UNFINISHED: &str = ".kestack-key-";

/// Where each key lies, and where it goes.
#[derive(Debug, Default)]
pub(super) struct AddedKeys(Vec<AddedKey>);

#[derive(Debug)]
struct AddedKey {
    from: PathBuf,
    to: PathBuf,
    /// True if the beginning of it is there: the copy of a restore that was killed.
    is_cut: bool,
}

impl AddedKeys {
    /// The keys below `staged` that are not in `folder`.
    ///
    /// # Errors
    /// [`Error::Environment`] if another key has the name of one.
    pub(super) fn of(staged: &Path, folder: &Path) -> Result<Self, Error> {
        let mut added = Vec::new();
        let entries = match std::fs::read_dir(staged) {
            Err(error) if is_absent(&error) => return Ok(Self::default()),
            entries => entries.map_err(Error::file("read", staged))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::file("read", staged))?;
            // what is not a key, such as the marker of sealed ones, KES keeps itself
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                added.extend(AddedKey::of(entry.path(), folder.join(entry.file_name()))?);
            }
        }
        Ok(Self(added))
    }

    /// Writes them: each is there completely or not at all, and on disk when this returns.
    ///
    /// # Errors
    /// [`Error::File`] if one cannot be written.
    pub(super) fn write(&self) -> Result<(), Error> {
        let Some(AddedKey { to, .. }) = self.0.first() else { return Ok(()) };
        create_private(folder_of(to))?;
        for key in &self.0 {
            key.write().map_err(Error::file("write", &key.to))?;
        }
        sync_folder(to)
    }
}

impl AddedKey {
    /// `None` if it is there.
    fn of(from: PathBuf, to: PathBuf) -> Result<Option<Self>, Error> {
        let wanted = std::fs::read(&from).map_err(Error::file("read", &from))?;
        let is_cut = match std::fs::read(&to) {
            Err(error) if is_absent(&error) => false,
            Err(error) => return Err(Error::file("read", &to)(error)),
            Ok(there) if there == wanted => return Ok(None),
            Ok(there) if wanted.starts_with(&there) => true,
            Ok(_) => {
                return Err(Error::Environment {
                    what: format!("'{}' is a different key from that of the snapshot", to.display()),
                    hint: "restore into another keystore folder, or move that key away; nothing was changed".into(),
                });
            }
        };
        Ok(Some(Self { from, to, is_cut }))
    }

    /// Its owner is that of the folder, who reads it; a snapshot that was imported knows another one.
    fn write(&self) -> io::Result<()> {
        let folder = folder_of(&self.to);
        let mut source = File::open(&self.from)?;
        let meta = source.metadata()?;
        let mut part = scratch::file_in(folder, UNFINISHED)?;
        io::copy(&mut source, part.as_file_mut())?;
        part.as_file().set_permissions(meta.permissions())?;
        part.as_file().set_modified(meta.modified()?)?;
        give(part.path(), &std::fs::metadata(folder)?)?;
        part.as_file().sync_all()?;
        let moved = if self.is_cut { part.persist(&self.to) } else { part.persist_noclobber(&self.to) };
        moved.map(drop).map_err(|error| error.error)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    struct Case {
        base: tempfile::TempDir,
        staged: PathBuf,
        folder: PathBuf,
    }

    /// A snapshot with two keys and the marker of sealed ones, and a folder with a key of others.
    fn case() -> Case {
        let base = tempfile::tempdir().unwrap();
        let (staged, folder) = (base.path().join("staged"), base.path().join("keys"));
        for path in [&staged, &folder] {
            std::fs::create_dir(path).unwrap();
        }
        for name in ["one", "two", ".sealed"] {
            std::fs::write(staged.join(name), format!("key {name}")).unwrap();
            std::fs::set_permissions(staged.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        std::fs::write(folder.join("others"), "key others").unwrap();
        Case { base, staged, folder }
    }

    impl Case {
        fn add(&self) -> Result<(), Error> {
            AddedKeys::of(&self.staged, &self.folder)?.write()
        }

        fn content(&self) -> Vec<(String, String)> {
            let read = |entry: io::Result<std::fs::DirEntry>| {
                let path = entry.unwrap().path();
                (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
            };
            let mut all: Vec<_> = std::fs::read_dir(&self.folder).unwrap().map(read).collect();
            all.sort();
            all
        }
    }

    const ALL: [(&str, &str); 3] = [("one", "key one"), ("others", "key others"), ("two", "key two")];

    fn all() -> Vec<(String, String)> {
        ALL.map(|(name, text)| (name.into(), text.into())).into()
    }

    #[test]
    fn keys_are_added_and_those_of_others_stay() {
        let case = case();
        for _ in 0..2 {
            case.add().unwrap();
            assert_eq!(case.content(), all());
        }
        let meta = |folder: &Path| std::fs::metadata(folder.join("one")).unwrap();
        assert_eq!(meta(&case.folder).mode() & 0o777, 0o600);
        assert_eq!(meta(&case.folder).modified().unwrap(), meta(&case.staged).modified().unwrap());
        std::fs::remove_dir_all(&case.folder).unwrap();
        case.add().unwrap();
        assert_eq!(std::fs::metadata(&case.folder).unwrap().mode() & 0o777, 0o700, "a folder that is gone is made");
        assert_eq!(case.content().len(), 2);
    }

    #[test]
    fn half_a_key_of_a_killed_restore_is_completed() {
        for half in ["", "key"] {
            let case = case();
            std::fs::write(case.folder.join("one"), half).unwrap();
            case.add().unwrap();
            assert_eq!(case.content(), all());
        }
    }

    #[test]
    fn another_key_of_that_name_is_left_alone() {
        let case = case();
        for other in ["key two", "key one and more"] {
            std::fs::write(case.folder.join("one"), other).unwrap();
            let before = case.content();
            let error = case.add().unwrap_err().to_string();
            assert!(error.contains("is a different key from that of the snapshot"), "{error}");
            assert_eq!(case.content(), before);
        }
        std::fs::remove_file(case.folder.join("one")).unwrap();
        let keys = AddedKeys::of(&case.staged, &case.folder).unwrap();
        std::fs::write(case.folder.join("one"), "made meanwhile").unwrap();
        keys.write().unwrap_err();
        assert_eq!(std::fs::read_to_string(case.folder.join("one")).unwrap(), "made meanwhile");
    }

    #[test]
    fn a_key_that_cannot_be_written_leaves_nothing() {
        let case = case();
        let keys = AddedKeys::of(&case.staged, &case.folder).unwrap();
        for name in ["one", "two"] {
            std::fs::remove_file(case.staged.join(name)).unwrap();
        }
        keys.write().unwrap_err();
        assert_eq!(case.content(), [("others".to_owned(), "key others".to_owned())]);
        drop(case.base);
    }

    #[test]
    fn keys_belong_to_the_owner_of_their_folder() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let case = case();
        std::os::unix::fs::chown(&case.folder, Some(4242), Some(4343)).unwrap();
        case.add().unwrap();
        let meta = std::fs::metadata(case.folder.join("one")).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (4242, 4343));
    }
}
