//! A file of evidence: written once, complete or not at all.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::host::disk::UNFINISHED;
use crate::host::disk::folder_of;

/// Where evidence goes: a place where nothing is.
#[derive(Debug)]
pub(crate) struct Target(PathBuf);

impl Target {
    /// Makes sure, before there is any evidence, that it can be written there.
    ///
    /// # Errors
    /// [`Error::Usage`] if something is there; [`Error::File`] if nothing can be written there.
    pub(crate) fn new(path: &Path) -> Result<Self, Error> {
        let target = Self(path.to_owned());
        if path.symlink_metadata().is_ok() {
            return Err(target.occupied());
        }
        target.begin().map(drop)?;
        Ok(target)
    }

    /// Writes it, for its owner alone. Whatever came there meanwhile stays.
    ///
    /// # Errors
    /// As [`Target::new`].
    pub(crate) fn write(&self, content: &[u8]) -> Result<(), Error> {
        let mut file = self.begin()?;
        let written = file.write_all(content).and_then(|()| file.as_file().sync_all());
        written.map_err(Error::file("write", &self.0))?;
        match file.persist_noclobber(&self.0) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Err(self.occupied()),
            Err(error) => Err(Error::file("write", &self.0)(error.error)),
        }
    }

    /// A file of mode 0600 under another name.
    fn begin(&self) -> Result<tempfile::NamedTempFile, Error> {
        let folder = folder_of(&self.0);
        let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder);
        file.map_err(Error::file("write", &self.0))
    }

    fn occupied(&self) -> Error {
        Error::Usage {
            what: format!("'{}' already exists", self.0.display()),
            hint: "evidence never replaces a file: name another one".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn evidence_is_private_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let target = Target::new(&path("evidence.json")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is there before the end");
        target.write(b"{}").unwrap();
        let mode = path("evidence.json").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(target.write(b"other").unwrap_err().exit_code(), 2, "somebody was faster");
        symlink(path("nothing"), path("link")).unwrap();
        for taken in ["evidence.json", "link"] {
            assert_eq!(Target::new(&path(taken)).unwrap_err().exit_code(), 2, "{taken}");
        }
        assert!(Target::new(&path("absent/evidence.json")).is_err());
        assert_eq!(std::fs::read(path("evidence.json")).unwrap(), b"{}");
    }
}
