//! Writing an export: secrets 0600, nothing of others overwritten.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use futures_util::TryStreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::{Export, refused};
use crate::engine::image::Archive;
use crate::error::Error;
use crate::host::disk::{UNFINISHED, create_private};
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
        write_archive(&path, archive).await.map_err(Error::file("write", &path))?;
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

/// Complete under its name or not at all; a link that lies there is replaced, not followed.
async fn write_archive(path: &Path, archive: Archive) -> std::io::Result<()> {
    let part = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(path.parent().unwrap_or(path))?;
    part.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
    let mut file = tokio::fs::File::from_std(part.as_file().try_clone()?);
    let mut chunks = std::pin::pin!(archive.into_stream());
    while let Some(chunk) = chunks.try_next().await? {
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    part.persist(path)?;
    Ok(())
}
