//! Content that lies next to its metadata file, in a folder with a name of its own. The new folder is brought there while
//! MinIO does not know it yet; a note says so, and which folder goes when the metadata does not name it any more.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::drive::{PART, Part};
use crate::error::Error;
use crate::host::disk::{self, clear, is_absent};

/// End of a note's name.
const NOTE: &str = "note";

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

/// Removes the folders that notes name and no metadata does any more, also those of a rotation that was killed.
///
/// # Errors
/// If a note or its metadata cannot be read, or a folder not removed.
pub(super) fn tidy(drive: &Path, notes: &Path) -> Result<(), Error> {
    let entries = match std::fs::read_dir(notes) {
        Err(error) if is_absent(&error) => return Ok(()),
        entries => entries.map_err(Error::file("read", notes))?,
    };
    for entry in entries {
        let path = entry.map_err(Error::file("read", notes))?.path();
        if path.extension().is_none_or(|end| end != NOTE) {
            continue;
        }
        // one that is cut was not written to its end: nothing was brought anywhere
        if let Some(note) = disk::read(&path)?.and_then(|text| serde_json::from_slice::<Note>(&text).ok()) {
            note.tidy(drive)?;
        }
    }
    Ok(())
}

impl Note {
    fn tidy(&self, drive: &Path) -> Result<(), Error> {
        let is_below = |path: &Path| path.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_below(&self.file) {
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
            std::fs::create_dir(&notes).unwrap();
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
}
