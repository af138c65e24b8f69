//! Whether KES, as it runs, has the keystore that is wanted: kestack.yaml and `--keystore` may have changed since it was
//! started.

use kes_server::config::{Config, KeyStoreConfig};
use zeroize::Zeroizing;

use super::{Images, Parts, Replica, Stack, kes_config};
use crate::data::guard::KeyRecord;
use crate::engine::{EngineInfo, LABEL_DIGEST, PodState};
use crate::error::Error;
use crate::host::disk;

impl Stack {
    /// True if a server of KES runs, and `up` would neither replace one that runs nor write it another configuration:
    /// what KES says of keys then holds for the keystore that is wanted.
    ///
    /// # Errors
    /// If a file of the stack cannot be read.
    pub(crate) fn kes_stays(
        &self,
        engine: &EngineInfo,
        images: &Images,
        pod: Option<&PodState>,
    ) -> Result<bool, Error> {
        let Some(found) = pod.filter(|pod| self.kes_runs(Some(pod))) else { return Ok(false) };
        let Parts { view, files, pod, .. } = self.parts(engine)?;
        let config = self.layout.kes_config();
        let written = disk::read(&config)?.map(Zeroizing::new);
        let is_configured = files.iter().any(|file| file.path == config && written.as_ref() == Some(&file.content));
        let wanted = self.containers(&pod, &files, images, &view);
        let stays = |replica: &Replica| {
            let mut running = found.containers.iter().filter(|found| found.name == replica.container && found.running);
            running.all(|found| {
                let digest = found.labels.get(LABEL_DIGEST);
                wanted.iter().any(|wanted| wanted.name() == found.name && Some(&wanted.wanted()) == digest)
            })
        };
        Ok(is_configured && self.replicas().iter().all(stays))
    }

    /// True if KES's configuration names the keystore that is wanted; `None` if there is none that can be read. In a
    /// container it does not name a folder of keys.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub(crate) fn is_configured_keystore(&self, engine: &EngineInfo) -> Result<Option<bool>, Error> {
        let Some(written) = disk::read(&self.layout.kes_config())?.map(Zeroizing::new) else { return Ok(None) };
        let Some(written) = keystore(&String::from_utf8_lossy(&written)) else { return Ok(None) };
        let wanted = keystore(&kes_config(self, engine, true)?);
        Ok(wanted.map(|wanted| wanted.is_same_place(&written)))
    }

    /// Refuses to work on the keys of a stack that was brought up with another keystore: what is meant for the one would be
    /// done to the other.
    ///
    /// # Errors
    /// [`Error::Usage`] naming both.
    pub(crate) fn check_keystore(&self, engine: &EngineInfo) -> Result<(), Error> {
        if self.layout.is_exported() {
            return Ok(());
        }
        let wanted = self.manifest.keystore_name();
        let recorded = KeyRecord::load(&self.layout.guard())?.map(|record| record.keystore);
        let recorded = recorded.filter(|recorded| !recorded.is_empty() && *recorded != wanted);
        let is_mounted = engine.has_containers() && self.manifest.keystore_is_fs();
        if self.is_configured_keystore(engine)? != Some(false) && !(is_mounted && recorded.is_some()) {
            return Ok(());
        }
        let has = recorded.map_or_else(|| "other settings of it".to_owned(), |recorded| format!("'{recorded}'"));
        Err(Error::Usage {
            what: format!(
                "this is for keystore '{wanted}', and stack '{}' was brought up with {has}; nothing was changed",
                self.manifest.name
            ),
            hint:
                "name the stack's keystore, with --keystore or in kestack.yaml; `kestack up` changes to another one if \
                   that holds the keys of the data"
                    .into(),
        })
    }
}

/// The keystore of a configuration of KES, whatever its variables hold.
fn keystore(config: &str) -> Option<KeyStoreConfig> {
    Config::parse(config, &|name| Some(name.to_owned())).ok().map(|config| config.keystore)
}
