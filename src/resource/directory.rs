//! A folder with its mode and owner.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{Context, Owner, Resource};
use crate::error::Error;
use crate::plan::Observed;

/// A folder that only its owner may enter.
#[derive(Debug)]
pub struct DirectoryResource {
    /// Absolute path.
    pub path: PathBuf,
    /// Owner of the folder itself; what is inside belongs to whoever made it.
    pub owner: Owner,
}

const MODE: u32 = 0o700;

impl DirectoryResource {
    /// Makes the folder and those above it; one that exists gets mode and owner.
    pub(crate) fn make(&self) -> Result<(), Error> {
        std::fs::create_dir_all(&self.path).map_err(Error::file("create", &self.path))?;
        std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(MODE))
            .map_err(Error::file("set the mode of", &self.path))?;
        own(&self.path, self.owner)
    }
}

#[async_trait]
impl Resource for DirectoryResource {
    fn kind(&self) -> &'static str {
        "folder"
    }

    fn name(&self) -> String {
        shown(&self.path)
    }

    fn wanted(&self) -> String {
        state(MODE, self.owner.id())
    }

    async fn observe(&self, _: &Context) -> Result<Observed, Error> {
        match std::fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => {
                let id = self.owner.id().map(|_| found.uid());
                Ok(Observed::ready(state(found.mode() & 0o777, id)))
            }
            Ok(_) => Err(Error::Environment {
                what: format!("'{}' is in the way: it is not a folder", self.path.display()),
                hint: "move it away, or choose another place with --dir".into(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Observed::Absent),
            Err(error) => Err(Error::file("look at", &self.path)(error)),
        }
    }

    async fn create(&self, _: &Context) -> Result<(), Error> {
        self.make()
    }

    async fn remove(&self, _: &Context) -> Result<(), Error> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file("remove", &self.path)(error)),
            _ => Ok(()),
        }
    }

    /// Only mode and owner can differ; what is inside is never touched.
    async fn replace(&self, context: &Context) -> Result<(), Error> {
        self.create(context).await
    }
}

/// The last two parts of a path: enough to tell a stack's files apart.
pub(super) fn shown(path: &Path) -> String {
    let parent = path.parent().and_then(Path::file_name).unwrap_or_default();
    Path::new(parent).join(path.file_name().unwrap_or_default()).display().to_string()
}

fn state(mode: u32, id: Option<u32>) -> String {
    format!("{mode:o} {id:?}")
}

/// Gives a path to its owner.
pub(super) fn own(path: &Path, owner: Owner) -> Result<(), Error> {
    let Some(id) = owner.id() else { return Ok(()) };
    std::os::unix::fs::chown(path, Some(id), Some(id)).map_err(Error::file("change the owner of", path))
}
