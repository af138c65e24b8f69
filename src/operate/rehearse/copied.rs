//! The folder of keys for the KES of a rehearsal: a private copy. A `kes` clears up in the folder that it serves, and marks one
//! whose keys are sealed.

use std::fs::{DirEntry, File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::host::disk::{create_private, unless_gone};

/// Most files that are copied.
const FILES: usize = 50_000;
/// Most bytes of all of them.
const BYTES: u64 = 64 << 20;
/// Most bytes of a file that can be a key.
const KEY: u64 = 1 << 20;

/// The copy, which goes with the folder that it is in.
#[derive(Debug)]
pub(super) struct CopiedKeys {
    from: PathBuf,
    pub(super) folder: PathBuf,
}

impl CopiedKeys {
    /// Copies the files of a folder to a new one, also those whose names begin with a dot. What is not a file is left out.
    ///
    /// # Errors
    /// Why there is no complete copy, for people.
    pub(super) fn of(from: PathBuf, to: PathBuf) -> Result<Self, String> {
        let copied = Self { from, folder: to };
        create_private(&copied.folder).map_err(|error| error.to_string())?;
        let mut left = BYTES;
        let entries = std::fs::read_dir(&copied.from).map_err(|error| copied.failed(&copied.from, &error))?;
        for (count, entry) in entries.enumerate() {
            let entry = entry.map_err(|error| copied.failed(&copied.from, &error))?;
            let taken = copied.take(&entry, left).map_err(|error| copied.failed(&entry.path(), &error))?;
            left = left.saturating_sub(taken);
            if count >= FILES || left == 0 {
                return Err(format!(
                    "'{}' has more than {FILES} files or {BYTES} bytes, which is more than a rehearsal copies",
                    copied.from.display()
                ));
            }
        }
        Ok(copied)
    }

    /// A text of KES, with the folder that the user knows.
    pub(super) fn shown(&self, text: &str) -> String {
        text.replace(&self.folder.display().to_string(), &self.from.display().to_string())
    }

    /// Copies one entry; says how many bytes that took.
    fn take(&self, entry: &DirEntry, left: u64) -> io::Result<u64> {
        let (path, to) = (entry.path(), self.folder.join(entry.file_name()));
        // links are followed, as KES does: in a mounted Secret every file is one
        let Some(found) = unless_gone(std::fs::metadata(&path))?.filter(Metadata::is_file) else { return Ok(0) };
        let made = |mode| File::options().write(true).create_new(true).mode(mode).open(&to);
        if found.len() > KEY {
            // as long, so that KES refuses it as well; it takes no room
            return made(0o600)?.set_len(found.len()).map(|()| 0);
        }
        let open = match open(&path) {
            // one that KES could not read either
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return made(0).map(|_| 0),
            open => unless_gone(open)?,
        };
        match open {
            Some(open) if open.metadata()?.is_file() => io::copy(&mut open.take(KEY.min(left)), &mut made(0o600)?),
            _ => Ok(0),
        }
    }

    fn failed(&self, path: &Path, error: &io::Error) -> String {
        format!("'{}' cannot be copied for the rehearsal: {error}", self.shown(&path.display().to_string()))
    }
}

/// Opens it without waiting for a writer, whatever it has become meanwhile.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn all_that_can_be_a_key_is_copied_for_this_user_alone() {
        let base = tempfile::tempdir().unwrap();
        let (from, to) = (base.path().join("keys"), base.path().join("copy"));
        std::fs::create_dir_all(from.join("..data")).unwrap();
        std::fs::write(from.join("..data/linked"), "linked key").unwrap();
        for (name, content) in [("a", "key a"), (".kes-sealed", "marker"), (".kes-new-1", "unfinished")] {
            std::fs::write(from.join(name), content).unwrap();
        }
        symlink("..data/linked", from.join("linked")).unwrap();
        symlink("/dev/zero", from.join("endless")).unwrap();
        symlink("absent", from.join("broken")).unwrap();
        File::create(from.join("long")).unwrap().set_len(KEY + 7).unwrap();
        let copied = CopiedKeys::of(from.clone(), to.clone()).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".kes-new-1", ".kes-sealed", "a", "linked", "long"]);
        let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&to), mode(&to.join("a")), mode(&to.join("linked"))), (0o700, 0o600, 0o600));
        assert_eq!(std::fs::read(to.join("linked")).unwrap(), b"linked key");
        assert_eq!(std::fs::metadata(to.join("long")).unwrap().len(), KEY + 7);
        let said = copied.shown(&format!("fs: {}/a: no", to.display()));
        assert_eq!(said, format!("fs: {}/a: no", from.display()));
        let absent = CopiedKeys::of(base.path().join("absent"), base.path().join("other")).unwrap_err();
        assert!(absent.contains("absent' cannot be copied"), "{absent}");
    }
}
