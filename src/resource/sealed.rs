//! The keys of a stack's own folder, sealed or in clear (docs/sealed-keys.md §6).

use std::fs::File;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use kes_server::crypto::Fingerprint;
use kes_server::keystore::fs;
use kes_server::keystore::{Environment, MasterKeys};
use serde_json::Value;

use super::plan::Observed;
use super::{Context, Resource};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::keystore;

/// All keys of a folder in the form that KES will serve.
#[derive(Debug)]
pub struct SealedKeys {
    /// The folder.
    pub folder: PathBuf,
    /// The section with the master keys; `None` if the keys are to lie in clear.
    pub keystore: Option<Value>,
    /// File of the master key that kestack made, under which they may be sealed until now.
    pub master_key: PathBuf,
}

impl SealedKeys {
    async fn keys(&self) -> Result<MasterKeys, Error> {
        let loaded = match &self.keystore {
            Some(section) => keystore::master_keys(section, &self.folder, &Environment::empty()).await,
            None => MasterKeys::read_file(&self.master_key)
                .map(|key| MasterKeys::new(key, vec![]))
                .map_err(|error| error.to_string()),
        };
        loaded.map_err(refused)
    }
}

#[async_trait]
impl Resource for SealedKeys {
    fn kind(&self) -> &'static str {
        "keys"
    }

    fn name(&self) -> String {
        if self.keystore.is_some() { "sealed under a master key".into() } else { "in clear".into() }
    }

    fn wanted(&self) -> String {
        if self.keystore.is_some() { "sealed".into() } else { "clear".into() }
    }

    /// A folder that is sealed under other master keys as well is sealed again.
    async fn observe(&self, _: &Context) -> Result<Observed, Error> {
        if !self.folder.is_dir() {
            return Ok(Observed::Absent);
        }
        let sealed_under = fs::sealed_under(&self.folder).map_err(|error| refused(error.to_string()))?;
        Ok(match (sealed_under, &self.keystore) {
            (Some(found), Some(_)) => {
                let current = self.keys().await?.current().fingerprint().clone();
                Observed::ready(if found == [current] { "sealed" } else { "sealed otherwise" })
            }
            (Some(_), None) => Observed::ready("sealed"),
            (None, _) if fs::is_sealed(&self.folder).unwrap_or(true) => {
                Observed::Present { digest: "interrupted".into(), usable: false }
            }
            (None, _) => Observed::ready("clear"),
        })
    }

    async fn create(&self, _: &Context) -> Result<(), Error> {
        let keys = self.keys().await?;
        let (folder, master_key, seals) = (self.folder.clone(), self.master_key.clone(), self.keystore.is_some());
        let converted = move || {
            if seals {
                lasts(&master_key)?;
                fs::seal(&folder, &keys)
            } else {
                fs::unseal(&folder, &keys)
            }
            .map(|_| keys.current().fingerprint().clone())
            .map_err(|error| refused(error.to_string()))
        };
        let fingerprint = blocking("seal the keys in", &self.folder, converted).await?;
        self.tell(&fingerprint);
        Ok(())
    }

    /// Keys are never removed on the way to another state.
    async fn remove(&self, _: &Context) -> Result<(), Error> {
        Ok(())
    }

    async fn replace(&self, context: &Context) -> Result<(), Error> {
        self.create(context).await
    }
}

impl SealedKeys {
    fn tell(&self, fingerprint: &Fingerprint) {
        if self.keystore.is_some() {
            tracing::warn!(
                "the keys are sealed under master key {fingerprint} in '{}': keep a copy of that file elsewhere; \
                 without it nobody can read the data",
                self.master_key.display()
            );
        } else {
            tracing::warn!("the keys in '{}' are in clear now", self.folder.display());
        }
    }
}

/// Makes the master key last before anything is sealed under it. One of the user's is where the user says.
fn lasts(master_key: &Path) -> Result<(), Error> {
    match File::open(master_key) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        file => {
            let failed = Error::file("sync", master_key);
            let folder = master_key.parent().unwrap_or(master_key);
            file.and_then(|file| file.sync_all()).and_then(|()| File::open(folder)?.sync_all()).map_err(failed)
        }
    }
}

fn refused(what: String) -> Error {
    Error::Environment { what, hint: "`kestack doctor` looks at the folder and its master key".into() }
}
