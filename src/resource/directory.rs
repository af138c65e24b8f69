//! A folder with its mode and owner.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use super::{Context, Owner, Resource};
use crate::error::Error;
use crate::host::disk::{self, PRIVATE};
use crate::host::ownership;
use crate::resource::plan::Observed;

/// A folder that only its owner may enter.
#[derive(Debug)]
pub struct DirectoryResource {
    /// Absolute path.
    pub path: PathBuf,
    /// Its owner. What is inside belongs to whoever made it, unless the folder comes from another owner, as it does when
    /// a stack moves to another engine: then it is given away with all it holds.
    pub owner: Owner,
    /// True of a folder of files: folders in it, which somebody else put there, are never given away.
    pub is_flat: bool,
}

impl DirectoryResource {
    /// A folder that is given away with all it holds.
    pub fn new(path: PathBuf, owner: Owner) -> Self {
        Self { path, owner, is_flat: false }
    }

    /// Makes the folder and those above it; one that exists gets mode and owner.
    ///
    /// # Errors
    /// [`Error::Environment`] if it must be the caller's, and another user owns it or may write to it.
    pub(crate) fn make(&self) -> Result<(), Error> {
        disk::create_private(&self.path)?;
        if self.owner == Owner::Caller {
            ownership::check_folder(&self.path)?;
        }
        disk::set_private(&self.path)?;
        match self.owner.id() {
            Some(id) if owner_of(&self.path)? != id => self.give(id),
            _ => Ok(()),
        }
    }

    /// Gives away what is inside, then the folder: whoever is interrupted finds the rest to be done.
    fn give(&self, id: u32) -> Result<(), Error> {
        let mut folders = vec![self.path.clone()];
        let mut all = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
                let entry = entry.map_err(Error::file("read", &folder))?;
                if entry.file_type().map_err(Error::file("look at", entry.path()))?.is_dir() {
                    folders.extend((!self.is_flat).then(|| entry.path()));
                } else {
                    all.push(entry.path());
                }
            }
            all.push(folder);
        }
        // a folder comes after its files, the outermost one must be the last
        all.retain(|path| *path != self.path);
        all.iter().chain([&self.path]).try_for_each(|path| change_owner(path, id))
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
        state(PRIVATE, self.owner.id())
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

/// Gives a path to its owner, unless it is theirs.
pub(super) fn own(path: &Path, owner: Owner) -> Result<(), Error> {
    match owner.id() {
        Some(id) if owner_of(path)? != id => change_owner(path, id),
        _ => Ok(()),
    }
}

fn owner_of(path: &Path) -> Result<u32, Error> {
    Ok(std::fs::symlink_metadata(path).map_err(Error::file("look at", path))?.uid())
}

fn change_owner(path: &Path, id: u32) -> Result<(), Error> {
    match std::os::unix::fs::lchown(path, Some(id), Some(id)) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(Error::Environment {
            what: format!("'{}' belongs to uid {}, but must belong to uid {id}", path.display(), owner_of(path)?),
            hint:
                "the stack was on an engine with other rights: change the owner of its folder as root, with `chown -R`"
                    .into(),
        }),
        other => other.map_err(Error::file("change the owner of", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_owner_is_given_away_with_all_it_holds() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let folder = DirectoryResource::new(base.path().join("drive"), Owner::Container { id: Some(1000) });
        std::fs::create_dir_all(folder.path.join("a/b")).unwrap();
        std::fs::write(folder.path.join("a/b/file"), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path.join("a/link")).unwrap();
        folder.make().unwrap();
        for path in ["", "a", "a/b", "a/b/file", "a/link"] {
            assert_eq!(owner_of(&folder.path.join(path)).unwrap(), 1000, "{path}");
        }
        assert_eq!(std::fs::metadata("/etc/passwd").unwrap().uid(), 0, "links are not followed");
    }

    #[test]
    fn of_a_folder_of_files_no_folder_is_given_away() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let base = tempfile::tempdir().unwrap();
        let owner = Owner::Container { id: Some(1000) };
        let folder = DirectoryResource { is_flat: true, ..DirectoryResource::new(base.path().join("keys"), owner) };
        std::fs::create_dir_all(folder.path.join("lost+found/deep")).unwrap();
        std::fs::write(folder.path.join("key"), "").unwrap();
        folder.make().unwrap();
        let of = |path: &str| owner_of(&folder.path.join(path)).unwrap();
        assert_eq!(["", "key", "lost+found", "lost+found/deep"].map(of), [1000, 1000, 0, 0]);
    }
}
