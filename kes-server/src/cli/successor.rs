//! Files that take the place of others: there is no moment without a complete one, and who could read the former file can
//! read the new one.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// A file next to its place, complete and on the disk.
#[derive(Debug)]
pub(super) struct Successor {
    made: NamedTempFile,
    place: PathBuf,
}

impl Successor {
    /// For `file`, or the file that this link leads to. If there is one, the new one gets its owner, its group and its
    /// mode, without what `never` has of that; else `mode`.
    ///
    /// # Errors
    /// Also if this user may not give away files, and the former is somebody else's.
    pub(super) fn of(file: &Path, content: &[u8], mode: u32, never: u32) -> io::Result<Self> {
        let place = resolved(file)?;
        let former = fs::metadata(&place).ok();
        let private = fs::Permissions::from_mode(0o600);
        let mut made = tempfile::Builder::new().permissions(private).tempfile_in(folder(&place))?;
        made.write_all(content)?;
        if let Some(former) = &former {
            give(made.as_file(), former)?;
        }
        let mode = former.map_or(mode, |former| former.mode() & 0o777 & !never);
        made.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        made.as_file().sync_all()?;
        Ok(Self { made, place })
    }

    /// Puts it in its place, for good.
    pub(super) fn put(self) -> io::Result<()> {
        self.made.persist(&self.place).map_err(|refused| refused.error)?;
        sync(&self.place)
    }

    /// Puts it in a place next to that one: the first of these endings that no file has. Returns where.
    pub(super) fn put_aside(self, endings: impl IntoIterator<Item = String>) -> io::Result<PathBuf> {
        let mut made = self.made;
        for ending in endings {
            let mut name = self.place.clone().into_os_string();
            name.push(ending);
            match made.persist_noclobber(&name) {
                Ok(_) => {
                    sync(&self.place)?;
                    return Ok(name.into());
                }
                Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => made = refused.file,
                Err(refused) => return Err(refused.error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Where a link leads to. The system refuses the links of others in folders like `/tmp`.
fn resolved(file: &Path) -> io::Result<PathBuf> {
    if !file.is_symlink() || !file.exists() {
        return Ok(file.to_owned());
    }
    fs::File::options().append(true).open(file)?;
    fs::canonicalize(file)
}

fn give(file: &fs::File, former: &fs::Metadata) -> io::Result<()> {
    let made = file.metadata()?;
    if (made.uid(), made.gid()) == (former.uid(), former.gid()) {
        return Ok(());
    }
    let owner = format!("{}:{}", former.uid(), former.gid());
    fchown(file, Some(former.uid()), Some(former.gid())).map_err(|error| {
        let text =
            format!("the new file cannot have the owner {owner} of the old one ({error}): run this as its owner");
        io::Error::other(text)
    })
}

fn sync(file: &Path) -> io::Result<()> {
    fs::File::open(folder(file))?.sync_all()
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn it_is_as_the_file_was_whose_place_it_takes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("real")).unwrap();
        fs::write(path("real/file"), "one").unwrap();
        fs::set_permissions(path("real/file"), fs::Permissions::from_mode(0o646)).unwrap();
        // only root can give files away
        let _: io::Result<()> = std::os::unix::fs::chown(path("real/file"), Some(12345), Some(23456));
        let former = fs::metadata(path("real/file")).unwrap();
        symlink("real/file", path("link")).unwrap();
        Successor::of(&path("link"), b"two", 0o600, 0o007).unwrap().put().unwrap();
        let found = fs::metadata(path("real/file")).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (former.uid(), former.gid(), 0o640));
        assert_eq!(fs::read(path("link")).unwrap(), b"two");
        assert!(fs::symlink_metadata(path("link")).unwrap().is_symlink());
        Successor::of(&path("new"), b"three", 0o644, 0).unwrap().put().unwrap();
        assert_eq!(fs::metadata(path("new")).unwrap().mode() & 0o777, 0o644);
    }

    #[test]
    fn what_is_put_aside_takes_no_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "one").unwrap();
        let aside = |content: &[u8]| {
            let endings = [".old", ".old.2"].map(str::to_owned);
            Successor::of(&file, content, 0o600, 0).unwrap().put_aside(endings).map(|path| fs::read(path).unwrap())
        };
        assert_eq!((aside(b"two").unwrap(), aside(b"three").unwrap()), (b"two".to_vec(), b"three".to_vec()));
        assert_eq!(aside(b"four").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
