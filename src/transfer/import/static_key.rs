//! A deployment whose MinIO has one key in its environment and no KES: the key goes into the keystore of the stack.

use std::path::{Path, PathBuf};

use kes_server::crypto::{Algorithm, Key};
use kes_server::keystore::fs;
use zeroize::Zeroizing;

use super::kes_env::open;
use super::variables::is_open;
use super::{Found, refused};
use crate::data::drive::{self, Sealed};
use crate::error::Error;
use crate::host::disk;
use crate::keystore::StaticKey;
use crate::resource::FileResource;
use crate::stack::Layout;

/// The variable with the key, and the one that names a file with it.
const KEY: &str = "MINIO_KMS_SECRET_KEY";
const KEY_FILE: &str = "MINIO_KMS_SECRET_KEY_FILE";

impl Found {
    /// True if MinIO has a key in its environment.
    pub(super) fn has_static_key(&self) -> bool {
        self.variable(KEY).or(self.variable(KEY_FILE)).is_some()
    }

    /// Takes the key out of MinIO's environment; it becomes the default key.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none, or MinIO would not take it. The secret is not shown.
    pub(super) fn take_static_key(&mut self) -> Result<(), Error> {
        let given = self.minio.remove(KEY).filter(|value| !value.is_empty());
        let file = self.minio.remove(KEY_FILE).filter(|value| !value.is_empty());
        let text = match (given, file) {
            (Some(value), _) => value,
            (None, Some(file)) => self.secret(&file)?,
            (None, None) => return Err(refused(format!("{KEY} is not set"), "set it as MinIO has it")),
        };
        if is_open(&text) {
            return Err(open(KEY));
        }
        let key: StaticKey = text.trim().parse().map_err(|why| {
            refused(
                format!("{KEY} is not a key: {why}"),
                "MinIO takes `NAME:SECRET`, where SECRET is 32 bytes in base64",
            )
        })?;
        self.minio.insert("MINIO_KMS_KES_KEY_NAME".into(), Zeroizing::new(key.name().to_string()));
        self.notes
            .push(format!("key '{}' of {KEY} goes into the stack's keystore, and MinIO asks KES for it", key.name()));
        self.static_key = Some(key);
        Ok(())
    }

    /// A secret of the container: a path, or a name below `/run/secrets`.
    fn secret(&self, file: &str) -> Result<Zeroizing<String>, Error> {
        let places: [PathBuf; 2] = [file.into(), Path::new("/run/secrets").join(file)];
        let text = places.iter().find_map(|path| self.minio_files.text(path));
        text.unwrap_or_else(|| {
            Err(refused(
                format!("{KEY_FILE} names '{file}', which is not a file of this host"),
                "correct the path of the secret or the mount, then import again",
            ))
        })
    }
}

/// The key as a keystore has it.
///
/// # Errors
/// [`Error::Usage`] if data on the drive does not open under it.
pub(super) fn made(key: &StaticKey, drive: Option<&Path>) -> Result<Key, Error> {
    let sealed = drive.map(|drive| samples(drive, key)).transpose()?.unwrap_or_default();
    imported(key, &sealed)
}

/// The file of the key in the keystore of the stack.
///
/// # Errors
/// [`Error::Usage`] if data on the drive does not open under it; [`Error::Occupied`] if the keystore has another key of that
/// name, or is sealed: a key is never replaced, because data may need it.
pub(super) fn stored(key: &StaticKey, drive: Option<&Path>, layout: &Layout) -> Result<FileResource, Error> {
    let made = made(key, drive)?;
    let folder = layout.keys();
    let path = folder.join(key.name().as_str());
    let content = match disk::read(&path)?.map(Zeroizing::new) {
        // an earlier import made the same key, whose other half is by chance
        Some(stored) if is_same(&stored, &made) => stored,
        Some(_) => return Err(occupied(format!("another key '{}' is already in '{}'", key.name(), folder.display()))),
        None if fs::is_sealed(&folder).unwrap_or(true) => {
            return Err(occupied(format!("the keys in '{}' are sealed, and this one is in clear", folder.display())));
        }
        None => made.encode(),
    };
    Ok(FileResource::private(path, &content))
}

fn occupied(what: String) -> Error {
    let hint = "import under another --name or --output-dir, also with --force: a key is never replaced";
    Error::Occupied { what, hint: hint.into() }
}

/// Data keys that MinIO sealed under the key.
fn samples(drive: &Path, key: &StaticKey) -> Result<Vec<Sealed>, Error> {
    let failed = |error| Error::file("read", drive)(error);
    let mut all = drive::configuration(drive).or_else(none).map_err(failed)?;
    all.extend(drive::samples(drive).or_else(none).map_err(failed)?);
    all.retain(|sealed| sealed.key == key.name().as_str());
    Ok(all)
}

/// A drive that is not there yet holds nothing.
fn none(error: std::io::Error) -> std::io::Result<Vec<Sealed>> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(vec![]) } else { Err(error) }
}

/// The key of the algorithm that opens the data: MinIO takes one by the processor, as KES does.
fn imported(key: &StaticKey, sealed: &[Sealed]) -> Result<Key, Error> {
    let first = Algorithm::preferred();
    let other = if first == Algorithm::Aes256 { Algorithm::ChaCha20 } else { Algorithm::Aes256 };
    for algorithm in [first, other] {
        let made = key
            .import(algorithm)
            .map_err(|error| refused(format!("the key cannot be used: {error}"), "the kernel log may say why"))?;
        if sealed.iter().all(|one| made.decrypt(&one.ciphertext, &one.context).is_ok()) {
            return Ok(made);
        }
    }
    let of = sealed.first().map(|one| one.of.as_str()).unwrap_or_default();
    Err(refused(
        format!("{KEY} is not the key '{}' of the data: '{of}' does not open under it", key.name()),
        "give the value that MinIO had when it wrote the data",
    ))
}

fn is_same(stored: &[u8], made: &Key) -> bool {
    Key::decode(stored).is_ok_and(|key| key.secret() == made.secret() && key.algorithm() == made.algorithm())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_keystore_is_never_replaced() {
        let base = tempfile::tempdir().unwrap();
        let layout = Layout::new(base.path(), "s");
        let key: StaticKey = "my-key:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".parse().unwrap();
        let other: StaticKey = "my-key:CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=".parse().unwrap();
        let file = stored(&key, None, &layout).unwrap();
        std::fs::create_dir_all(layout.keys()).unwrap();
        file.make().unwrap();
        let before = std::fs::read(&file.path).unwrap();
        stored(&key, None, &layout).unwrap().make().unwrap();
        assert_eq!(std::fs::read(&file.path).unwrap(), before, "the same key stays as it is");
        let error = stored(&other, None, &layout).err().unwrap();
        assert!(error.to_string().contains("a key is never replaced"), "{error}");
        // a sealed one is not readable here
        std::fs::write(&file.path, "sealed").unwrap();
        assert!(stored(&key, None, &layout).err().unwrap().to_string().contains("another key 'my-key'"));
        assert_eq!(std::fs::read(&file.path).unwrap(), b"sealed");
    }
}
