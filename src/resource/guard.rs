//! The guard among a stack's resources: the record is kept right wherever the stack is brought up.

use std::collections::BTreeSet;

use async_trait::async_trait;
use kes_server::auth::KeyName;

use super::plan::Observed;
use super::{Context, Resource};
use crate::data::guard::{Guarded, KeyRecord};
use crate::error::Error;
use crate::manifest::Manifest;

/// The record of the keys, up to date.
#[derive(Debug)]
pub struct GuardRecord {
    guarded: Guarded,
    keystore: String,
    declared: Vec<String>,
    /// Whether all keys of the keystore are recorded: in a folder, whoever made them. Of a remote keystore, which many share,
    /// only the declared ones are, and those that kestack makes.
    all: bool,
}

impl GuardRecord {
    /// The record of that data, with the keys that a manifest declares.
    pub fn new(guarded: Guarded, manifest: &Manifest) -> Self {
        Self {
            guarded,
            keystore: manifest.keystore_name(),
            declared: manifest.keys.iter().map(ToString::to_string).collect(),
            all: manifest.keystore_is_fs(),
        }
    }

    /// Names of keys that the record does not have yet.
    async fn missing(&self, record: &KeyRecord, context: &Context) -> Result<BTreeSet<String>, Error> {
        let mut names: BTreeSet<_> = self.declared.iter().filter(|name| !record.knows(name)).cloned().collect();
        if !self.all {
            return Ok(names);
        }
        for name in context.kes.list_keys("").await? {
            let is_new = !record.knows(&name) && !names.contains(&name) && name.parse::<KeyName>().is_ok();
            // an entry of the folder that is not a key concerns nobody
            if is_new && context.kes.describe_key(&name).await.is_ok() {
                names.insert(name);
            }
        }
        Ok(names)
    }

    /// The record as it is, without keys that are no longer there and those whose material changed. One that protects data
    /// is never dropped: without its fingerprint nobody could tell the right key from another one.
    async fn current(&self, context: &Context) -> Result<KeyRecord, Error> {
        let mut record = KeyRecord::load(self.guarded.record())?.unwrap_or_default();
        let mut wrong = Vec::new();
        for proof in record.clone().proofs() {
            match context.kes.decrypt(&proof.key, &proof.ciphertext, &proof.context).await {
                Err(error) if error.is_key_not_found() || error.is_not_authentic() => wrong.push(proof.key),
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
        }
        if !wrong.is_empty() {
            self.guarded.check(context.kes.as_ref()).await?;
        }
        for key in &wrong {
            record.drop_key(key);
        }
        record.keystore.clone_from(&self.keystore);
        Ok(record)
    }
}

#[async_trait]
impl Resource for GuardRecord {
    fn kind(&self) -> &'static str {
        "guard"
    }

    fn name(&self) -> String {
        "fingerprints of the keys".into()
    }

    fn wanted(&self) -> String {
        "up to date".into()
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let Some(found) = KeyRecord::load(self.guarded.record())? else { return Ok(Observed::Absent) };
        let whole =
            async { Ok(self.current(context).await? == found && self.missing(&found, context).await?.is_empty()) };
        match whole.await {
            Ok(usable) => Ok(Observed::Present { digest: self.wanted(), usable }),
            Err(Error::Kes(error)) if error.is_connection() => Ok(Observed::Unknown),
            Err(error) => Err(error),
        }
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        let mut record = self.current(context).await?;
        for name in self.missing(&record, context).await? {
            record.add(&name, &context.kes).await?;
        }
        record.save(self.guarded.record())
    }

    async fn remove(&self, _: &Context) -> Result<(), Error> {
        KeyRecord::forget(self.guarded.record())
    }

    /// What is right of it stays.
    async fn replace(&self, context: &Context) -> Result<(), Error> {
        self.create(context).await
    }
}

/// The question to KES whether it has the keys of the data, for when its keystore could not be asked from here.
#[derive(Debug)]
pub struct GuardCheck {
    guarded: Guarded,
}

impl GuardCheck {
    /// The question for that data.
    pub fn new(guarded: Guarded) -> Self {
        Self { guarded }
    }
}

#[async_trait]
impl Resource for GuardCheck {
    fn kind(&self) -> &'static str {
        "guard"
    }

    fn name(&self) -> String {
        "keys of the data".into()
    }

    fn wanted(&self) -> String {
        "right".into()
    }

    async fn observe(&self, _: &Context) -> Result<Observed, Error> {
        Ok(Observed::Unknown)
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        self.guarded.check(context.kes.as_ref()).await.map(drop)
    }

    async fn remove(&self, _: &Context) -> Result<(), Error> {
        Ok(())
    }
}
