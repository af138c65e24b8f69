//! Where clones were made: in the stack's folder, and in those that the user named. These are on record in the stack's folder,
//! so that whatever a killed process left there is found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::drive::PREFIX;
use crate::error::Error;
use crate::host::disk;
use crate::host::scratch;
use crate::resource::FileResource;
use crate::stack::Layout;

/// A folder on record, until the clone in it is gone.
#[derive(Debug)]
pub(super) struct Noted(Layout);

/// Puts the folder of a clone on record. A stack whose folder cannot be written has no record: its objects are rescued all the
/// same.
pub(super) fn note(layout: &Layout, within: &Path) -> Noted {
    let noted = || {
        let mut places = read(layout)?;
        places.insert(std::fs::canonicalize(within).map_err(Error::file("find", within))?);
        write(layout, &places)
    };
    if let Err(error) = noted() {
        tracing::debug!(%error, "the folder of the clone is not on record");
    }
    Noted(layout.clone())
}

impl Drop for Noted {
    fn drop(&mut self) {
        clear(&self.0);
    }
}

/// Removes the clones that killed processes left of a stack, and forgets the folders that hold none. Clones in use stay, and so
/// do folders on record that cannot be read.
pub(super) fn clear(layout: &Layout) {
    scratch::clear_abandoned(layout.root(), PREFIX);
    let cleared = read(layout).and_then(|mut places| {
        let before = places.len();
        // the disk of one that cannot be read may not be mounted
        places.retain(|place| std::fs::read_dir(place).is_err() || !scratch::clear_abandoned(place, PREFIX));
        if places.len() < before { write(layout, &places) } else { Ok(()) }
    });
    if let Err(error) = cleared {
        tracing::debug!(%error, "the record of clones cannot be kept");
    }
}

fn read(layout: &Layout) -> Result<BTreeSet<PathBuf>, Error> {
    let path = layout.clones();
    let Some(text) = disk::read(&path)? else { return Ok(BTreeSet::new()) };
    serde_json::from_slice(&text).map_err(|error| Error::file("read", path)(error.into()))
}

fn write(layout: &Layout, places: &BTreeSet<PathBuf>) -> Result<(), Error> {
    let path = layout.clones();
    if places.is_empty() {
        return Ok(disk::remove(&path)?);
    }
    FileResource::json(path, places)?.make()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::host::scratch::Scratch;

    #[test]
    fn clones_are_found_in_the_folders_of_the_user_until_they_are_gone() {
        let (base, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let layout = Layout::new(base.path(), "stack");
        disk::create_private(layout.root()).unwrap();
        let noted = note(&layout, work.path());
        let in_use = Scratch::new_in(work.path(), PREFIX).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        let left = |place: &Path| {
            let left = place.join(format!("{PREFIX}left"));
            std::fs::create_dir(&left).unwrap();
            File::open(&left).unwrap().set_modified(long_ago).unwrap();
            left
        };
        let (here, there) = (left(layout.root()), left(work.path()));
        clear(&layout);
        assert!(!here.exists() && !there.exists() && in_use.path().exists() && layout.clones().exists());
        drop(in_use);
        drop(noted);
        assert!(!layout.clones().exists());
        let away = work.path().with_extension("away");
        let noted = note(&layout, work.path());
        let there = left(work.path());
        std::fs::rename(work.path(), &away).unwrap();
        drop(noted);
        assert!(layout.clones().exists(), "its disk is not mounted");
        std::fs::rename(&away, work.path()).unwrap();
        clear(&layout);
        assert!(!there.exists() && !layout.clones().exists());
        drop(note(&Layout::new(base.path(), "absent"), work.path()));
        assert!(!base.path().join("absent").exists());
    }
}
