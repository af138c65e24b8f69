//! A file with its content, mode and owner, compared by content (docs/architecture.md §3.3).

use std::fs::Permissions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Serialize;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::directory::{own, shown};
use super::{Context, Owner, Resource};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::digest::sha256;
use crate::host::disk::{self, UNFINISHED};
use crate::resource::plan::Observed;

/// A file that is written completely or not at all.
#[derive(Clone)]
pub struct FileResource {
    /// Absolute path.
    pub path: PathBuf,
    /// Its wanted bytes.
    pub content: Zeroizing<Vec<u8>>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub owner: Owner,
    /// The containers that have this very file mounted and read it again when told to. The file is changed in place: a
    /// renamed one would not reach them, and neither does a new one, so they go if the file is gone.
    pub readers: Vec<String>,
    /// Folder on the same file system in which it is written before it is renamed to its place; its own if `None`.
    /// MinIO reads its certificates again whenever any file of their folder was written, and ends if its key is empty
    /// at that moment (docs/minio-kms-client.md §1.2).
    pub staging: Option<PathBuf>,
}

impl std::fmt::Debug for FileResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileResource").field("path", &self.path).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl FileResource {
    /// A file that only whoever runs kestack may read.
    pub(crate) fn private(path: impl Into<PathBuf>, content: &[u8]) -> Self {
        Self {
            path: path.into(),
            content: Zeroizing::new(content.to_vec()),
            mode: 0o600,
            owner: Owner::Caller,
            readers: vec![],
            staging: None,
        }
    }

    /// A value as JSON, in a file that only whoever runs kestack may read.
    ///
    /// # Errors
    /// [`Error::File`] if JSON has no form for it, as for a path that is not UTF-8.
    pub(crate) fn json(path: impl Into<PathBuf>, value: &impl Serialize) -> Result<Self, Error> {
        let path = path.into();
        match serde_json::to_vec_pretty(value).map(Zeroizing::new) {
            Ok(content) => Ok(Self::private(path, &content)),
            Err(error) => Err(Error::file("write", path)(error.into())),
        }
    }

    /// Writes the file; its folder must exist.
    pub(crate) fn make(&self) -> Result<(), Error> {
        let failed = |error| Error::file("write", &self.path)(error);
        if !self.readers.is_empty() && self.path.exists() {
            return self.overwrite().map_err(failed).and_then(|()| own(&self.path, self.owner));
        }
        let beside = self.path.parent().unwrap_or(&self.path);
        match self.write(self.staging.as_deref().unwrap_or(beside))?.persist(&self.path) {
            Ok(_) => Ok(()),
            // the user has put the folder on a file system of its own
            Err(error) if error.error.kind() == ErrorKind::CrossesDevices => {
                self.write(beside)?.persist(&self.path).map(drop).map_err(|error| failed(error.error))
            }
            Err(error) => Err(failed(error.error)),
        }
    }

    /// Writes it completely, under another name: readers see the old content or the new, a crash leaves one of them.
    fn write(&self, folder: &Path) -> Result<NamedTempFile, Error> {
        let failed = |error| Error::file("write", &self.path)(error);
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder).map_err(failed)?;
        file.write_all(&self.content)
            .and_then(|()| file.as_file().set_permissions(Permissions::from_mode(self.mode)))
            .and_then(|()| file.as_file().sync_all())
            .map_err(failed)?;
        own(file.path(), self.owner)?;
        Ok(file)
    }

    /// Writes into the file that is there. A crash leaves a part of it, which the next `up` sees and completes.
    fn overwrite(&self) -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(&self.path)?;
        file.set_permissions(Permissions::from_mode(self.mode))?;
        file.write_all(&self.content)?;
        file.sync_all()
    }
}

#[async_trait]
impl Resource for FileResource {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn name(&self) -> String {
        shown(&self.path)
    }

    fn wanted(&self) -> String {
        state(&self.content, self.mode, self.owner.id())
    }

    async fn observe(&self, _: &Context) -> Result<Observed, Error> {
        let Some(found) = disk::read(&self.path)?.map(Zeroizing::new) else { return Ok(Observed::Absent) };
        let meta = std::fs::metadata(&self.path).map_err(Error::file("look at", &self.path))?;
        let id = self.owner.id().map(|_| meta.uid());
        Ok(Observed::ready(state(&found, meta.mode() & 0o777, id)))
    }

    /// Off the runtime's threads: a sync to disk must not hold up the pod that is made at the same time.
    async fn create(&self, context: &Context) -> Result<(), Error> {
        if !self.path.exists() {
            for reader in &self.readers {
                context.engine.remove_container(reader).await?;
            }
        }
        let file = self.clone();
        blocking("write", &self.path, move || file.make()).await
    }

    async fn remove(&self, _: &Context) -> Result<(), Error> {
        Ok(disk::remove(&self.path)?)
    }

    /// There is no moment without the file.
    async fn replace(&self, context: &Context) -> Result<(), Error> {
        self.create(context).await
    }
}

/// Only compared within this process, never printed or stored: a plain digest is enough.
fn state(content: &[u8], mode: u32, id: Option<u32>) -> String {
    format!("{} {mode:o} {id:?}", sha256(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_folder_only_ever_holds_whole_files() {
        let folder = tempfile::tempdir().unwrap();
        let (certs, staging) = (folder.path().join("certs"), folder.path().join("config"));
        std::fs::create_dir(&certs).unwrap();
        std::fs::create_dir(&staging).unwrap();
        let file = FileResource { staging: Some(staging.clone()), ..FileResource::private(certs.join("key"), b"new") };
        std::fs::write(&file.path, "old").unwrap();
        let old = std::fs::File::open(&file.path).unwrap();
        let written = file.write(&staging).unwrap();
        assert!(written.path().starts_with(&staging));
        drop(written);
        file.make().unwrap();
        assert_eq!(std::fs::read_to_string(&file.path).unwrap(), "new");
        assert_eq!(std::io::read_to_string(old).unwrap(), "old", "whoever reads it goes on reading the old one");
        assert_eq!(std::fs::read_dir(&staging).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_on_another_file_system_is_written_to_directly() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let file = FileResource {
            staging: Some(there.path().to_owned()),
            ..FileResource::private(here.path().join("key"), b"new")
        };
        file.make().unwrap();
        assert_eq!(std::fs::read_to_string(&file.path).unwrap(), "new");
    }
}
