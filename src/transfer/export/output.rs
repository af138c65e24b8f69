//! Writing an export: secrets 0600, nothing of others overwritten.

use std::path::Path;

use super::{Export, refused};
use crate::error::Error;
use crate::host::disk::create_private;
use crate::host::ownership::check_folder;

/// Writes an export below `folder`.
///
/// # Errors
/// [`Error::Usage`] if the folder holds something and `force` is not given, [`Error::Environment`] if another user owns it
/// or may write to it; then nothing is written.
pub async fn write(export: Export, folder: &Path, force: bool) -> Result<(), Error> {
    if !force && !is_empty(folder)? {
        return Err(refused(
            format!("'{}' is not empty", folder.display()),
            "choose another --output-dir, or give --force to overwrite the files there",
        ));
    }
    create_private(folder)?;
    check_folder(folder)?;
    for folder in &export.folders {
        folder.make()?;
    }
    for file in &export.files {
        if let Some(parent) = file.path.parent() {
            create_private(parent)?;
        }
        file.make()?;
    }
    for (path, archive) in export.images {
        archive.write(&path).await.map_err(Error::file("write", &path))?;
    }
    Ok(())
}

fn is_empty(folder: &Path) -> Result<bool, Error> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(Error::file("read", folder)(error)),
    }
}
