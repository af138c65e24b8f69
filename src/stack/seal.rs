//! Whether the keys of a stack's own folder are sealed, and the master key (docs/sealed-keys.md §6).

use std::path::Path;

use kes_server::crypto::MasterKey;
use kes_server::keystore::fs;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Layout, Stack, material};
use crate::error::Error;
use crate::manifest::Manifest;
use crate::resource::apply::Stage;
use crate::resource::{FileResource, Resource, SealedKeys};

impl Stack {
    /// The file of the master key, then the keys, sealed or in clear as the manifest says. Nothing where the keys lie in
    /// clear and may stay so, or are not the stack's own.
    pub(super) fn seal_stages(&self, files: &[FileResource]) -> Vec<Stage> {
        let manifest = &self.manifest;
        let encryption = manifest.keystore.pointer("/fs/encryption");
        let keys = self.layout.keys();
        if !manifest.keys_are_own() || (encryption.is_none() && !fs::is_sealed(&keys).unwrap_or(false)) {
            return vec![];
        }
        let keystore = encryption.map(|_| manifest.keystore.clone());
        let master_key = self.layout.master_key();
        let file = files.iter().find(|file| file.path == master_key).cloned();
        let seal = SealedKeys { folder: keys, keystore, master_key };
        let first = file.map(|file| Stage(vec![Box::new(file) as Box<dyn Resource>]));
        first.into_iter().chain([Stage(vec![Box::new(seal)])]).collect()
    }
}

/// Names the master key of the stack at `layout` in the keystore section, if the keys of the stack at `from` are or will be
/// sealed under one that kestack makes.
pub(crate) fn declare(manifest: &mut Manifest, from: &Layout, layout: &Layout) {
    if is_wanted(manifest, from)
        && let Some(fs) = manifest.keystore.get_mut("fs").and_then(|fs| fs.as_object_mut())
    {
        fs.insert("encryption".into(), json!({ "masterKeyPath": layout.master_key() }));
    }
}

/// What the manifest says; a folder of which it says nothing stays as it is.
fn is_wanted(manifest: &Manifest, layout: &Layout) -> bool {
    let is_named = manifest.keystore.pointer("/fs/encryption").is_some();
    // a folder that may not be read is the units', which have their configuration
    let stays = || fs::is_sealed(&layout.keys()).unwrap_or(false);
    manifest.keys_are_own() && !is_named && manifest.kes.seal.unwrap_or_else(stays)
}

/// Refuses a master key that KES cannot read in a container: its image has no program but KES, and no systemd.
///
/// # Errors
/// [`Error::Usage`] naming the setting.
pub(crate) fn check_in_containers(manifest: &Manifest) -> Result<(), Error> {
    let named = |name: &str| manifest.keystore.pointer(&format!("/fs/encryption/{name}")).is_some();
    match ["masterKeyCommand", "masterKeyCredential"].into_iter().find(|name| named(name)) {
        Some(name) => Err(Error::Usage {
            what: format!("keystore.fs.encryption.{name}: KES runs in a container, which has nothing but KES"),
            hint: "name a file with masterKeyPath, or run KES without containers: `engine: process` or `kestack export systemd`"
                .into(),
        }),
        None => Ok(()),
    }
}

/// Refuses a folder that the user named and that is sealed although the manifest names no master key, or the other way
/// round: a folder of the user's is sealed by the user. One that cannot be read is not judged.
///
/// # Errors
/// [`Error::Usage`] naming the folder.
pub(crate) fn check_folder(manifest: &Manifest, folder: &Path) -> Result<(), Error> {
    let is_sealed = fs::is_sealed(folder).unwrap_or(false);
    let has_keys = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    let what = match manifest.keystore.pointer("/fs/encryption") {
        None if is_sealed => "is sealed, and keystore.fs names no master key",
        Some(_) if !is_sealed && has_keys => "holds keys in clear, and keystore.fs names a master key",
        _ => return Ok(()),
    };
    let folder = folder.display();
    Err(Error::Usage {
        what: format!("'{folder}' {what}"),
        hint: format!(
            "run `kes seal {folder}` or `kes unseal {folder}`, or change keystore.fs.encryption in kestack.yaml"
        ),
    })
}

/// The master key in the file of the stack at `layout`, else a new one; `None` if `manifest` names no master key there.
///
/// # Errors
/// [`Error::Guard`] if the keys are sealed under one that is not there any more.
pub(super) fn master_key(manifest: &Manifest, layout: &Layout) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    if !is_wanted(manifest, layout) {
        return Ok(None);
    }
    let (file, keys) = (layout.master_key(), layout.keys());
    match material::read(&file)? {
        Some(text) => Ok(Some(Zeroizing::new(text.as_bytes().to_vec()))),
        None if fs::is_sealed(&keys).unwrap_or(false) => Err(gone(&file, &keys)),
        None => {
            let digits = MasterKey::generate().map_err(|error| Error::Environment {
                what: format!("a master key cannot be made: {error}"),
                hint: "the kernel log may say why".into(),
            })?;
            Ok(Some(Zeroizing::new(format!("{}\n", *digits).into_bytes())))
        }
    }
}

fn gone(file: &Path, keys: &Path) -> Error {
    Error::Guard(format!(
        "the keys in '{}' are sealed, and their master key '{}' is gone\n  write the digits of its recovery sheet, or a \
         copy of the file, to '{}'; without it nobody can open these keys",
        keys.display(),
        file.display(),
        file.display()
    ))
}
