//! The key in clear: out of the keystore, and into the file that the user named.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use kes_server::auth::KeyName;
use zeroize::Zeroizing;

use crate::data::guard::Keystore;
use crate::error::Error;
use crate::host::disk::folder_of;
use crate::host::ownership::check_folder;
use crate::keystore::StaticKey;
use crate::operate::session::keystore_environment;
use crate::stack::Stack;

/// The key as the stack's keystore has it.
///
/// # Errors
/// [`Error::Environment`] if the keystore does not give it; [`Error::Usage`] if MinIO could not use it.
pub(super) async fn of(stack: &Stack, name: &KeyName) -> Result<StaticKey, Error> {
    let keystores = keystore_environment(&stack.manifest);
    let refused = |why: String| Error::Environment {
        what: format!("the keystore ({}) does not give key '{name}': {why}", stack.manifest.keystore_name()),
        hint: "allow this user to read it there; `kestack doctor` says what is missing".into(),
    };
    let opened = Keystore::open(&stack.manifest, stack.keys_folder(), stack.layout.master_key(), &keystores).await;
    let keystore = opened.ok_or_else(|| refused("it cannot be opened from here".into()))?;
    let key = keystore.key(name.as_str()).await.map_err(refused)?;
    StaticKey::of(name.clone(), &key).map_err(|why| Error::Usage {
        what: format!("MinIO cannot use key '{name}' without KES: {why}"),
        hint: format!("replace it first, on a machine whose processor has AES: `kestack key rotate {name}`"),
    })
}

/// Refuses a place that is taken, or where others may look or change something.
///
/// # Errors
/// [`Error::Occupied`] or [`Error::Environment`] naming it.
pub(crate) fn check_place(file: &Path) -> Result<(), Error> {
    if std::fs::symlink_metadata(file).is_ok() {
        return Err(taken(file));
    }
    let folder = folder_of(file);
    if !folder.is_dir() {
        return Err(Error::Usage {
            what: format!("there is no folder '{}' for the key", folder.display()),
            hint: "make it, for its owner alone: `mkdir -m 700`".into(),
        });
    }
    Ok(check_folder(folder)?)
}

/// Writes the variable as a line of an environment file, which only its owner may read from the first moment.
///
/// # Errors
/// [`Error::Occupied`] if something is there by now; those of the file system, and then nothing is left.
pub(super) fn write(file: &Path, key: &StaticKey) -> Result<(), Error> {
    let line = Zeroizing::new(format!("MINIO_KMS_SECRET_KEY={}\n", *key.value()));
    let mut open = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(taken(file)),
        opened => opened.map_err(Error::file("write", file))?,
    };
    let written = open.write_all(line.as_bytes()).and_then(|()| open.sync_all());
    written.map_err(|error| {
        let _ = std::fs::remove_file(file);
        Error::file("write", file)(error)
    })
}

fn taken(file: &Path) -> Error {
    Error::Occupied {
        what: format!("'{}' already exists, and a key never replaces anything", file.display()),
        hint: "name another file with --write-key-in-clear, or remove this one".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_for_its_owner_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.env");
        let key: StaticKey = "my-key:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=".parse().unwrap();
        check_place(&file).unwrap();
        write(&file, &key).unwrap();
        let line = std::fs::read_to_string(&file).unwrap();
        assert_eq!(line, "MINIO_KMS_SECRET_KEY=my-key:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        for refused in [check_place(&file), write(&file, &key)] {
            assert!(refused.unwrap_err().to_string().contains("already exists"));
        }
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        check_place(&folder.path().join("link")).unwrap_err();
        check_place(&folder.path().join("absent/key")).unwrap_err();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = check_place(&folder.path().join("other")).unwrap_err();
        assert!(error.to_string().contains("can be written by other users"), "{error}");
    }
}
