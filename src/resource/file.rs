//! A file with its content, mode and owner, compared by content (design.md D3).

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::directory::{own, shown};
use super::{Context, Owner, Resource};
use crate::error::Error;
use crate::plan::Observed;

/// A file that is written whole or not at all.
#[derive(Clone)]
pub struct FileResource {
    /// Absolute path.
    pub path: PathBuf,
    /// The bytes it shall hold.
    pub content: Zeroizing<Vec<u8>>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub owner: Owner,
    /// Changed in place if it exists: a running server has this very file mounted, a renamed one would not reach it.
    /// Only for files that are read when their reader is told to.
    pub in_place: bool,
}

impl std::fmt::Debug for FileResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileResource").field("path", &self.path).field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl FileResource {
    /// Writes the file; its folder must exist.
    pub(crate) fn make(&self) -> Result<(), Error> {
        let write = if self.in_place && self.path.exists() { overwrite } else { write };
        write(&self.path, &self.content, self.mode, self.owner)
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
        let found = match std::fs::read(&self.path) {
            Ok(found) => Zeroizing::new(found),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Observed::Absent),
            Err(error) => return Err(Error::file("read", &self.path)(error)),
        };
        let meta = std::fs::metadata(&self.path).map_err(Error::file("look at", &self.path))?;
        let id = self.owner.id().map(|_| meta.uid());
        Ok(Observed::ready(state(&found, meta.mode() & 0o777, id)))
    }

    /// Off the runtime's threads: a sync to disk must not hold up the pod that is made at the same time.
    async fn create(&self, _: &Context) -> Result<(), Error> {
        let file = self.clone();
        tokio::task::spawn_blocking(move || file.make())
            .await
            .unwrap_or_else(|error| Err(Error::file("write", &self.path)(std::io::Error::other(error))))
    }

    async fn remove(&self, _: &Context) -> Result<(), Error> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &self.path)(error)),
            _ => Ok(()),
        }
    }

    /// There is no moment without the file.
    async fn replace(&self, context: &Context) -> Result<(), Error> {
        self.create(context).await
    }
}

/// Writes beside the file and renames: readers see the old content or the new, a crash leaves one of them.
fn write(path: &Path, content: &[u8], mode: u32, owner: Owner) -> Result<(), Error> {
    let failed = |error| Error::file("write", path)(error);
    let folder = path.parent().unwrap_or(path);
    let mut file = tempfile::Builder::new().prefix(".kestack-").tempfile_in(folder).map_err(failed)?;
    file.write_all(content)
        .and_then(|()| file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)))
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
    own(file.path(), owner)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Writes into the file that is there. A crash leaves a part of it, which the next `up` sees and completes.
fn overwrite(path: &Path, content: &[u8], mode: u32, owner: Owner) -> Result<(), Error> {
    let failed = |error| Error::file("write", path)(error);
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(path).map_err(failed)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)?;
    own(path, owner)
}

/// Only compared within this process, never printed or stored: a plain digest is enough.
fn state(content: &[u8], mode: u32, id: Option<u32>) -> String {
    format!("{} {mode:o} {id:?}", hex::encode(Sha256::digest(content)))
}
