//! The new key becomes the default wherever the former one was: in kestack.yaml, of MinIO, of buckets.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};

use kes_server::auth::KeyName;

use crate::error::Error;
use crate::host::disk::{self, Outlasts};
use crate::manifest::{self, Manifest};
use crate::operate::present::present;
use crate::operate::session::{Options, environment};
use crate::servers::s3::{Encryption, S3Client, S3Error};

/// kestack.yaml with the other key.
#[derive(Debug)]
pub(super) struct Edit {
    path: PathBuf,
    text: String,
    manifest: Manifest,
}

impl Edit {
    /// The change to the manifest of a stack; `None` if it does not name the key.
    ///
    /// # Errors
    /// [`Error::Usage`] that says what to write, if kestack cannot.
    pub(super) fn plan(options: &Options, old: &KeyName, new: &KeyName) -> Result<Option<Self>, Error> {
        let Some(path) = &options.path else { return without_a_file(options, old, new) };
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        let edited = manifest::with_key(&text, old, new).map_err(|refused| Error::Usage {
            what: match refused.line {
                Some(line) => format!("'{}' line {line}: key '{old}' cannot be exchanged: {}", path.display(), refused.why),
                None => format!("'{}': key '{old}' cannot be exchanged: {}", path.display(), refused.why),
            },
            hint: format!(
                "write '{new}' in place of '{old}' there yourself, run `kestack up`, then `kestack key rotate {old} {new}`"
            ),
        })?;
        if edited == text {
            return Ok(None);
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        let read = manifest::parse(&edited, folder, &environment);
        let manifest = read.map_err(|mistakes| Error::Manifest(manifest::ManifestError::Mistakes(mistakes)))?;
        Ok(Some(Self { path: path.clone(), text: edited, manifest }))
    }

    /// Writes the file, with its owner and mode, and takes the keys over into the options of the stack.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn make(self, options: &mut Options) -> Result<(), Error> {
        let written = || {
            let former = std::fs::metadata(&self.path)?;
            disk::replace(&self.path, self.text.as_bytes(), Outlasts::Machine)?;
            std::fs::set_permissions(&self.path, former.permissions())?;
            let made = std::fs::metadata(&self.path)?;
            if (made.uid(), made.gid()) != (former.uid(), former.gid()) {
                chown(&self.path, Some(former.uid()), Some(former.gid()))?;
            }
            Ok(())
        };
        written().map_err(Error::file("write", &self.path))?;
        let Manifest { keys, default_key, buckets, .. } = self.manifest;
        (options.manifest.keys, options.manifest.default_key, options.manifest.buckets) = (keys, default_key, buckets);
        Ok(())
    }
}

/// Without a file nothing can be written down: the next `up` would have the former key back.
fn without_a_file(options: &Options, old: &KeyName, new: &KeyName) -> Result<Option<Edit>, Error> {
    if !options.manifest.keys.contains(old) {
        return Ok(None);
    }
    Err(Error::Usage {
        what: format!("key '{old}' is the stack's default key, and there is no kestack.yaml that names another"),
        hint: format!(
            "write `name: {}` and `keys: [{new}]` into a kestack.yaml, run `kestack up --adopt`, then `kestack key rotate {old} {new}`",
            options.manifest.name
        ),
    })
}

/// Gives every bucket that encrypts with the former key the new one.
///
/// # Errors
/// Those of MinIO; a bucket that is removed meanwhile is left out.
pub(super) async fn buckets(s3: &S3Client, old: &KeyName, new: &KeyName) -> Result<(), Error> {
    let (old, new) = (Encryption::SseKms(old.to_string()), Encryption::SseKms(new.to_string()));
    let replaced = present(s3.list_buckets().await?, S3Error::is_no_bucket, async |bucket| {
        match s3.bucket_encryption(&bucket).await? {
            Some(own) if own == old => s3.put_bucket_encryption(&bucket, &new).await,
            _ => Ok(()),
        }
    });
    replaced.await?;
    Ok(())
}
