//! Writing an export: secrets 0600, nothing of others overwritten.

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use futures_util::TryStreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::{Export, refused};
use crate::error::Error;
use crate::image::Archive;

/// Writes an export below `folder`.
///
/// # Errors
/// [`Error::Usage`] if the folder holds something and `force` is not given; then nothing is written.
pub async fn write(export: Export, folder: &Path, force: bool) -> Result<(), Error> {
    if !force && !is_empty(folder)? {
        return Err(refused(
            format!("'{}' is not empty", folder.display()),
            "choose another --output-dir, or give --force to write the export's files over those there",
        ));
    }
    std::fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    for folder in &export.folders {
        folder.make()?;
    }
    for file in &export.files {
        if let Some(parent) = file.path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
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

async fn write_archive(path: &Path, archive: Archive) -> std::io::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    let mut file = tokio::fs::File::from_std(file);
    let mut chunks = std::pin::pin!(archive.into_stream());
    while let Some(chunk) = chunks.try_next().await? {
        file.write_all(&chunk).await?;
    }
    file.flush().await
}
