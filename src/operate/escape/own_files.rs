//! MinIO's own files: configuration, users, policies, targets of replication. A clone does not have them, because its MinIO
//! would act on them; their data keys are opened with the key itself.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kes_server::crypto::{Algorithm, Key};

use crate::data::drive::{self, SYSTEM, Sealings};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::keystore::StaticKey;

/// Opens the data key of each of them that needs the key, and says how many there are.
///
/// # Errors
/// [`Error::Guard`] naming the first that does not open.
pub(super) async fn open(drive: &Path, key: &StaticKey) -> Result<u64, Error> {
    let opener = key.import(Algorithm::Aes256).map_err(|error| Error::Environment {
        what: format!("the key cannot be used: {error}"),
        hint: "the kernel log may say why".into(),
    })?;
    let (place, name) = (drive.to_owned(), key.name().to_string());
    blocking("read", drive, move || {
        let found = Mutex::new(Vec::new());
        let own = place.join(SYSTEM);
        let visit = |path: &Path| {
            if path.starts_with(&own)
                && let Ok(mut found) = found.lock()
            {
                found.push(path.to_owned());
            }
            Ok(())
        };
        drive::needing(&place, &name, visit).map_err(Error::file("read", &place))?;
        let found: Vec<PathBuf> = found.into_inner().unwrap_or_default();
        let mut opened = 0;
        for path in found {
            opened += one(&place, &path, &name, &opener)?;
        }
        Ok(opened)
    })
    .await
}

/// The data keys of one file.
fn one(drive: &Path, path: &Path, name: &str, key: &Key) -> Result<u64, Error> {
    let refused = |why: &str| Error::Guard(format!("'{}' does not open under key '{name}': {why}", path.display()));
    let file = match Sealings::read(drive, path) {
        // MinIO replaces them now and then
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        read => read.map_err(Error::file("read", path))?.map_err(|obstacle| refused(&obstacle.to_string()))?,
    };
    let mut opened = 0;
    for found in file.found().iter().filter(|found| found.sealed.key == name) {
        let sealed = &found.sealed;
        key.decrypt(&sealed.ciphertext, &sealed.context).map_err(|error| refused(&error.to_string()))?;
        opened += 1;
    }
    Ok(opened)
}
