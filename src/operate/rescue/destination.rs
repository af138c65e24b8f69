//! Where the objects go. Names of objects are strangers' words: none leads out of the folder.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::Report;
use crate::data::drive::Item;
use crate::error::Error;
use crate::host::digest::sha256;
use crate::host::disk::{Outlasts, create_private, is_absent, replace, room};
use crate::host::ownership::check_stack;

/// Longest name of a file.
const LONGEST: usize = 255;
/// Longest path below a folder that is written as it is.
const DEEPEST: usize = 1024;
/// What stays free on the disk, in bytes.
const RESERVE: u64 = 64 << 20;

/// An empty folder that is the caller's alone.
#[derive(Debug)]
pub(super) struct Destination {
    folder: PathBuf,
    is_made: bool,
}

/// Refuses a folder that is not empty or not the caller's alone, or that another user could replace.
///
/// # Errors
/// [`Error::Occupied`] or [`Error::Environment`].
fn check(folder: &Path) -> Result<(), Error> {
    check_stack(folder)?;
    let mut entries = std::fs::read_dir(folder).map_err(Error::file("read", folder))?;
    if entries.next().is_some() {
        return Err(Error::Occupied {
            what: format!("'{}' is not empty", folder.display()),
            hint: "name an empty folder, or one that does not exist; an interrupted rescue cannot be continued".into(),
        });
    }
    Ok(())
}

impl Destination {
    /// Makes the folder, for its owner alone, and looks at it afterwards: nobody can put another in its place then.
    ///
    /// # Errors
    /// [`Error::Occupied`] if it is not empty; [`Error::Environment`] if it is not the caller's alone. It is as it was then.
    pub(super) fn make(folder: &Path) -> Result<Self, Error> {
        let is_made = std::fs::symlink_metadata(folder).is_err_and(|error| is_absent(&error));
        create_private(folder)?;
        let found = std::fs::canonicalize(folder).map_err(Error::file("find", folder))?;
        let destination = Self { folder: found, is_made };
        check(&destination.folder).inspect_err(|_| destination.abandon())?;
        crate::host::disk::set_private(&destination.folder)?;
        Ok(destination)
    }

    /// Removes the folder if it was made here and nothing is in it.
    pub(super) fn abandon(&self) {
        if self.is_made {
            let _ = std::fs::remove_dir(&self.folder);
        }
    }

    /// Says before anything is written what would otherwise show when the disk is full.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), Error> {
        let free = room(&self.folder)?.bytes;
        if bytes.saturating_add(RESERVE) <= free {
            return Ok(());
        }
        Err(Error::Environment {
            what: format!("the objects have {bytes} bytes, but '{}' has room for {free}", self.folder.display()),
            hint: "name a folder on a larger disk; no object was written".into(),
        })
    }

    /// A file directly below.
    pub(super) fn list(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes the file of a version, for its owner alone; the second part is true if it could not have its own name.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn create(&self, item: &Item) -> Result<(File, PathBuf, bool), Error> {
        if let Some(path) = self.own(item)
            && let Ok(file) = made(&path)
        {
            return Ok((file, path, false));
        }
        let path = self.folder.join("odd").join(odd(item));
        let file = made(&path).map_err(Error::file("write", &path))?;
        Ok((file, path, true))
    }

    /// The path by the object's own name; `None` if no path can be so named.
    fn own(&self, item: &Item) -> Option<PathBuf> {
        let is_plain = |part: &str| {
            !part.is_empty() && part.len() <= LONGEST && part != "." && part != ".." && !part.contains(char::is_control)
        };
        if !is_plain(&item.bucket) || item.object.len() > DEEPEST || !item.object.split('/').all(is_plain) {
            return None;
        }
        let kind = if item.is_current { "objects" } else { "versions" };
        let path = self.folder.join(kind).join(&item.bucket).join(&item.object);
        Some(if item.is_current { path } else { path.join(item.version.as_deref().unwrap_or("null")) })
    }

    /// Writes the report, which says that the rescue is complete.
    pub(super) fn write_report(&self, report: &Report) -> Result<(), Error> {
        let path = self.list("report.json");
        let text = serde_json::to_vec_pretty(report).map_err(io::Error::from);
        text.and_then(|text| replace(&path, &text, Outlasts::Machine)).map_err(Error::file("write", path))
    }
}

/// The name of a file for a version whose own name cannot be one: never twice the same.
fn odd(item: &Item) -> String {
    let version = item.version.as_deref().unwrap_or("null");
    sha256(format!("{}\0{}\0{version}", item.bucket, item.object).as_bytes())
}

/// A new file with the folders above it, for their owner alone.
fn made(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::drive::Opens;

    fn item(object: &str, is_current: bool) -> Item {
        Item {
            bucket: "docs".into(),
            object: object.into(),
            version: Some("id".into()),
            bytes: 0,
            written: 0,
            opens: Opens::Clear,
            is_current,
            meta: PathBuf::new(),
        }
    }

    #[test]
    fn only_a_folder_that_nobody_else_can_replace_is_taken() {
        use std::os::unix::fs::PermissionsExt as _;
        let outer = tempfile::tempdir().unwrap();
        let place = outer.path().join("new");
        Destination::make(&place).unwrap().abandon();
        assert!(!place.exists(), "nothing of it is left");
        std::fs::create_dir(&place).unwrap();
        Destination::make(&place).unwrap().abandon();
        assert!(place.exists(), "it was there before");
        std::fs::remove_dir(&place).unwrap();
        std::fs::set_permissions(outer.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(Destination::make(&place).unwrap_err().exit_code(), 6);
        assert!(!place.exists());
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("new");
        let destination = Destination::make(&place).unwrap();
        let top = destination.folder.clone();
        for (object, expected) in [("a/b c", "objects/docs/a/b c"), ("ü<>&", "objects/docs/ü<>&")] {
            let (_, path, is_odd) = destination.create(&item(object, true)).unwrap();
            assert_eq!((path, is_odd), (top.join(expected), false));
        }
        let (_, path, _) = destination.create(&item("a/b c", false)).unwrap();
        assert_eq!(path, top.join("versions/docs/a/b c/id"));
        let long = "x".repeat(256);
        for odd in ["../../etc/passwd", "/etc/passwd", "a//b", "a/./b", "folder/", "line\nbreak", &long, "a", "a/b c/d"]
        {
            let (_, path, is_odd) = destination.create(&item(odd, true)).unwrap();
            assert!(is_odd && path.parent() == Some(&top.join("odd")), "{odd}: {}", path.display());
        }
        assert!(Destination::make(&place).unwrap_err().to_string().contains("is not empty"));
        destination.abandon();
        assert!(place.exists(), "it holds something");
        assert!(destination.check_room(u64::MAX / 2).is_err());
    }
}
