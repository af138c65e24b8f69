//! Checks whether a keystore can do everything that KES needs. KES's own backend asks it, before anything is started.

use std::time::Duration;

use kes_server::auth::Identity;
use kes_server::config::KeyStoreConfig;
use kes_server::crypto::{Algorithm, Key};
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};

use super::Finding;
use crate::error::Error;
use crate::keystore::{self, Call};
use crate::manifest::Manifest;

/// Longest time for all questions together. Azure takes its time to forget the probe.
const DEADLINE: Duration = Duration::from_secs(60);

/// The depth of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Depth {
    /// What the stack needs to start: its key is read, and made if it is not there, in the name of this identity. A
    /// policy may allow that name and no other.
    Start(Identity),
    /// Everything: a probe is created, read and deleted, and names are listed.
    Everything,
}

/// Tries the keystore of a manifest. Of a folder there is nothing to ask.
///
/// # Errors
/// If KES would not take the section at all.
pub async fn examine(manifest: &Manifest, depth: Depth, environment: Environment) -> Result<Vec<Finding>, Error> {
    if manifest.keystore_is_fs() {
        return Ok(Vec::new());
    }
    let config = keystore::parse(&manifest.keystore)
        .map_err(|what| Error::Usage { what, hint: "correct it in kestack.yaml".into() })?;
    let name = config.display();
    let questions = ask(&config, manifest, depth, &environment);
    let answered = tokio::time::timeout(DEADLINE, questions).await;
    Ok(answered.unwrap_or_else(|_| {
        let seen = format!("{name} did not answer all requests within {} s", DEADLINE.as_secs());
        vec![Finding::bad("keystore", seen, "check whether it is overloaded, and whether the network drops packets")]
    }))
}

/// Fails with the first thing that keeps KES from working with the keystore.
///
/// # Errors
/// [`Error::Environment`] that names it.
pub async fn require(manifest: &Manifest, maker: Identity, environment: Environment) -> Result<(), Error> {
    let findings = examine(manifest, Depth::Start(maker), environment).await?;
    match findings.into_iter().find(Finding::is_bad) {
        None => Ok(()),
        Some(Finding { seen, advice, .. }) => Err(Error::Environment { what: seen, hint: advice.unwrap_or_default() }),
    }
}

async fn ask(config: &KeyStoreConfig, manifest: &Manifest, depth: Depth, environment: &Environment) -> Vec<Finding> {
    let name = config.display();
    let backend = match Backend::connect(config, environment).await {
        Ok(backend) => backend,
        Err(error) => return vec![no_connection(&name, &error)],
    };
    if let Err(error) = backend.status().await {
        return vec![no_connection(&name, &error)];
    }
    let mut probe =
        StoreProbe { backend, manifest, findings: vec![Finding::good("keystore", format!("{name} answers"))] };
    let key = manifest.default_key.as_str();
    let found = probe.backend.get(key).await;
    match (&found, &depth) {
        (Ok(value), _) => probe.stored_key(key, value),
        (Err(KeyStoreError::NotFound), Depth::Start(maker)) => probe.make(key, maker).await,
        (Err(KeyStoreError::NotFound), Depth::Everything) => {
            probe.findings.push(Finding::good("key", format!("'{key}' does not exist yet; `kestack up` creates it")));
        }
        (Err(error), _) => {
            probe.refused(Call::Get, error);
            return probe.findings;
        }
    }
    if depth == Depth::Everything {
        probe.write().await;
        probe.list().await;
    }
    probe.findings
}

fn no_connection(name: &str, error: &KeyStoreError) -> Finding {
    match error {
        KeyStoreError::Unreachable(why) => Finding::bad(
            "keystore",
            format!("{name} cannot be reached: {why}"),
            "check the endpoint, the network and, for Vault, that it is unsealed",
        ),
        other => Finding::bad(
            "keystore",
            format!("{name} refuses KES: {other}"),
            "check the credentials and the TLS files of the keystore section",
        ),
    }
}

/// A keystore that answers.
struct StoreProbe<'a> {
    backend: Backend,
    manifest: &'a Manifest,
    findings: Vec<Finding>,
}

impl StoreProbe<'_> {
    fn refused(&mut self, call: Call, error: &KeyStoreError) {
        if matches!((call, error), (Call::Create | Call::Get, KeyStoreError::Unreachable(_))) {
            return self.findings.push(no_connection(&self.backend.to_string(), error));
        }
        let seen = format!("the keystore does not allow KES to {}: {error}", call.verb());
        let advice = match error {
            KeyStoreError::Name(_) => "choose another name under `keys:`".to_owned(),
            _ => format!("grant {}", keystore::right(&self.manifest.keystore, call)),
        };
        // a stack works without listing, and without deleting
        self.findings.push(match call {
            Call::Create | Call::Get => Finding::bad("keystore", seen, advice),
            Call::List | Call::Delete => Finding::warning("keystore", seen, advice),
        });
    }

    fn stored_key(&mut self, name: &str, value: &[u8]) {
        self.findings.push(match Key::decode(value) {
            Ok(key) => Finding::good("key", format!("'{name}' exists, {}", key.algorithm())),
            Err(error) => Finding::bad(
                "key",
                format!("'{name}' is in the keystore, but it is not a key of KES: {error}"),
                "choose another name under `keys:`, or restore the entry",
            ),
        });
    }

    /// Makes the stack's key, as KES would at its start.
    async fn make(&mut self, name: &str, maker: &Identity) {
        let Ok(key) = Key::generate(Algorithm::preferred(), maker.as_str()) else { return };
        match self.backend.create(name, &key.encode()).await {
            Ok(()) | Err(KeyStoreError::Exists) => {
                self.findings.push(Finding::good("key", format!("'{name}' is created")));
            }
            Err(error) => self.refused(Call::Create, &error),
        }
    }

    /// Makes a key that nobody uses, reads it, and removes it.
    async fn write(&mut self) {
        let mut id = [0; 8];
        let made = aws_lc_rs::rand::fill(&mut id).ok().and_then(|()| Key::generate(Algorithm::preferred(), "").ok());
        let Some(key) = made else { return };
        let name = format!("kestack-probe-{}", hex::encode(id));
        let value = key.encode();
        if let Err(error) = self.backend.create(&name, &value).await {
            // GCP may have made half of it, under a name that nobody else uses
            let _: Result<(), KeyStoreError> = self.backend.delete(&name).await;
            let seen = format!("the keystore does not allow KES to create the probe '{name}': {error}");
            let advice = format!(
                "none needed if its policy allows the stack's own keys; else grant {}",
                keystore::right(&self.manifest.keystore, Call::Create)
            );
            return self.findings.push(Finding::warning("keystore", seen, advice));
        }
        match self.backend.get(&name).await {
            Ok(read) if *read == *value => self.findings.push(Finding::good("keystore", "a key was stored and read")),
            Ok(_) => {
                self.findings.push(Finding::bad("keystore", "a key reads back changed", "do not use this keystore"));
            }
            Err(error) => self.refused(Call::Get, &error),
        }
        if let Err(error) = self.backend.delete(&name).await {
            self.refused(Call::Delete, &error);
            let seen = format!("the probe '{name}' is still in the keystore");
            self.findings.push(Finding::warning("keystore", seen, "remove it"));
        }
    }

    async fn list(&mut self) {
        match self.backend.list("").await {
            Ok(names) => self.findings.push(Finding::good("keystore", format!("{} names are listed", names.len()))),
            Err(error) => self.refused(Call::List, &error),
        }
    }
}
