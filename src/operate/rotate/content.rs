//! Content that is next to its metadata file, in a folder with a name of its own. The new folder is brought there while
//! MinIO does not know it yet; a note says so, and which folder goes when the metadata does not name it any more.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Component, Path, PathBuf};

use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use crate::data::drive::{PART, Part};
use crate::error::Error;
use crate::host::disk::{self, clear, is_absent};

/// End of a note's name.
const NOTE: &str = "note";

/// Most bytes of a note.
const LONGEST: u64 = 64 << 10;

/// A metadata file with two folders next to it, of which one is needed.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    /// The metadata file on the drive.
    file: PathBuf,
    folders: [String; 2],
}

/// Writes content next to a metadata file, with its owner and mode, and a note into `notes`.
///
/// # Errors
/// [`Error::File`] if it cannot be written.
pub(super) fn write(drive: &Path, notes: &Path, meta: &Path, former: &Part, part: &Part) -> Result<(), Error> {
    let file = meta.strip_prefix(drive).unwrap_or(meta).to_owned();
    let note = Note { file, folders: [former.folder.clone(), part.folder.clone()] };
    let path = notes.join(&part.folder).with_extension(NOTE);
    let text = serde_json::to_vec(&note).map_err(|error| Error::file("write", &path)(error.into()))?;
    std::fs::write(&path, text).map_err(Error::file("write", &path))?;
    let folder = meta.with_file_name(&part.folder);
    let written = || {
        let above = std::fs::metadata(meta.parent().unwrap_or(drive))?;
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => like(&File::open(&folder)?, &above)?,
        }
        let mut file = File::create(folder.join(PART))?;
        like(&file, &std::fs::metadata(meta)?)?;
        file.write_all(&part.bytes)
    };
    written().map_err(Error::file("write", &folder))
}

/// Gives a file the owner and the mode of another.
pub(super) fn like(file: &File, former: &std::fs::Metadata) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(former.mode() & 0o7777))?;
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (former.uid(), former.gid()) {
        fchown(file, Some(former.uid()), Some(former.gid()))?;
    }
    Ok(())
}

/// Removes the folders that notes name and no metadata does any more, also those of a rotation that was killed. Others write
/// to the drive too, so only notes in a folder of our own are believed.
///
/// # Errors
/// If a note or its metadata cannot be read, or a folder not removed.
pub(super) fn tidy(drive: &Path, notes: &Path) -> Result<(), Error> {
    if !is_ours(notes)? {
        return Ok(());
    }
    for entry in std::fs::read_dir(notes).map_err(Error::file("read", notes))? {
        let path = entry.map_err(Error::file("read", notes))?.path();
        if path.extension().is_none_or(|end| end != NOTE) {
            continue;
        }
        // one that is cut was not written to its end: nothing was brought anywhere
        let text = read(&path).map_err(Error::file("read", &path))?;
        if let Some(note) = text.and_then(|text| serde_json::from_slice::<Note>(&text).ok()) {
            note.tidy(drive)?;
        }
    }
    Ok(())
}

/// True if it is a folder that only we can write to.
fn is_ours(folder: &Path) -> Result<bool, Error> {
    match std::fs::symlink_metadata(folder) {
        Err(error) if is_absent(&error) => Ok(false),
        found => {
            let found = found.map_err(Error::file("look at", folder))?;
            let is_private = found.mode() & 0o7777 == disk::PRIVATE && found.uid() == geteuid().as_raw();
            Ok(found.is_dir() && is_private)
        }
    }
}

/// What a note says; `None` if it is none of ours.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut text)?;
    Ok(Some(text).filter(|text| text.len() as u64 <= LONGEST))
}

/// True if no folder from the drive down to the file is a link, or anything else that leads elsewhere.
fn is_straight(drive: &Path, file: &Path) -> bool {
    let folders = file.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    let mut found = folders.map(|above| std::fs::symlink_metadata(drive.join(above)));
    found.all(|found| found.is_ok_and(|found| found.is_dir()))
}

impl Note {
    fn tidy(&self, drive: &Path) -> Result<(), Error> {
        let is_below = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_below(&self.file) || !is_straight(drive, &self.file) {
            return Ok(());
        }
        let path = drive.join(&self.file);
        let meta = disk::read(&path)?;
        for folder in &self.folders {
            // metadata of whatever form has the name of a folder in it, as sixteen bytes
            let Some(id) = hex::decode(folder.replace('-', "")).ok().filter(|id| id.len() == 16) else { continue };
            if !meta.iter().any(|meta| meta.windows(id.len()).any(|bytes| bytes == id)) {
                clear(&path.with_file_name(folder))?;
            }
        }
        if let Some(folder) = path.parent().filter(|_| meta.is_none()) {
            // MinIO deleted the file and left its folder because of ours; only if nothing else is in it
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMER: &str = "d00dec52-e8fb-4015-adcd-99827f1487b6";
    const NEW: &str = "5631fbf6-0b0d-4702-9af9-800a5cf19166";

    #[test]
    fn the_folder_that_the_metadata_names_stays() {
        for (named, left) in [(Some(FORMER), vec![FORMER]), (Some(NEW), vec![NEW]), (None, vec![])] {
            let drive = tempfile::tempdir().unwrap();
            let notes = drive.path().join("notes");
            let meta = drive.path().join("config.json/xl.meta");
            disk::create_private(&notes).unwrap();
            std::fs::create_dir_all(meta.with_file_name(FORMER)).unwrap();
            std::fs::write(&meta, "before").unwrap();
            std::fs::set_permissions(&meta, Permissions::from_mode(0o640)).unwrap();
            let part = |folder: &str| Part { folder: folder.into(), bytes: b"content".to_vec() };
            write(drive.path(), &notes, &meta, &part(FORMER), &part(NEW)).unwrap();
            let written = meta.with_file_name(NEW).join(PART);
            assert_eq!(std::fs::read(&written).unwrap(), b"content");
            assert_eq!(std::fs::metadata(&written).unwrap().mode() & 0o777, 0o640);
            match named {
                Some(name) => {
                    let id = hex::decode(name.replace('-', "")).unwrap();
                    std::fs::write(&meta, [b"DDir\xc4\x10", id.as_slice(), b"MTime"].concat()).unwrap();
                }
                None => std::fs::remove_file(&meta).unwrap(),
            }
            std::fs::write(notes.join("cut.note"), "{\"fi").unwrap();
            tidy(drive.path(), &notes).unwrap();
            let found: Vec<_> = [FORMER, NEW].into_iter().filter(|name| meta.with_file_name(name).exists()).collect();
            assert_eq!(found, left, "{named:?}");
            assert_eq!(meta.parent().unwrap().exists(), named.is_some());
        }
    }

    #[test]
    fn a_note_that_leads_elsewhere_removes_nothing() {
        let outer = tempfile::tempdir().unwrap();
        let drive = outer.path().join("drive");
        std::fs::create_dir_all(outer.path().join(NEW)).unwrap();
        for file in ["../xl.meta", "/xl.meta"] {
            let folders = [NEW, "..."].map(str::to_owned);
            Note { file: file.into(), folders }.tidy(&drive).unwrap();
            assert!(outer.path().join(NEW).exists());
        }
    }

    #[test]
    fn only_notes_of_our_own_are_believed() {
        let outer = tempfile::tempdir().unwrap();
        let (drive, notes) = (outer.path().join("drive"), outer.path().join("drive/notes"));
        disk::create_private(&notes).unwrap();
        let folder = drive.join("bucket").join(NEW);
        let elsewhere = outer.path().join("elsewhere").join(NEW);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::create_dir_all(&elsewhere).unwrap();
        std::os::unix::fs::symlink(outer.path().join("elsewhere"), drive.join("link")).unwrap();
        let note = |file: &str| Note { file: file.into(), folders: [NEW, FORMER].map(str::to_owned) };
        let put = |name: &str, text: &[u8]| std::fs::write(notes.join(name), text).unwrap();
        let text = serde_json::to_vec(&note("bucket/xl.meta")).unwrap();

        put("link.note", &serde_json::to_vec(&note("link/xl.meta")).unwrap());
        put("long.note", &[text.clone(), vec![b' '; usize::try_from(LONGEST).unwrap()]].concat());
        std::fs::write(outer.path().join("foreign"), &text).unwrap();
        std::os::unix::fs::symlink(outer.path().join("foreign"), notes.join("foreign.note")).unwrap();
        tidy(&drive, &notes).unwrap();
        assert!(elsewhere.exists() && folder.exists());

        put("good.note", &text);
        std::fs::set_permissions(&notes, Permissions::from_mode(0o777)).unwrap();
        tidy(&drive, &notes).unwrap();
        assert!(folder.exists(), "anybody can have written it");
        std::fs::set_permissions(&notes, Permissions::from_mode(0o700)).unwrap();
        tidy(&drive, &notes).unwrap();
        assert!(!folder.exists());
    }
}
