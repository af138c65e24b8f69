//! Who can say whether a key is the one that sealed something: KES, or its keystore as KES's own backend reads it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kes_server::client::Client;
use kes_server::crypto::Key;
use kes_server::keystore::{Backend, Environment, KeyStore as _, KeyStoreError};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::keystore;
use crate::manifest::Manifest;

/// The answer to a ciphertext.
#[derive(Debug)]
pub enum Answer {
    /// The key opened it.
    Opened(Zeroizing<Vec<u8>>),
    /// There is no key of that name.
    Missing,
    /// The key of that name did not make it.
    NotAuthentic,
    /// It cannot be found out; why.
    Unknown(String),
}

/// Opens what a key sealed.
#[async_trait]
pub trait Opener: Send + Sync {
    /// Opens a ciphertext that is bound to `context` with the key of that name.
    async fn open(&self, key: &str, ciphertext: &[u8], context: &[u8]) -> Answer;
}

#[async_trait]
impl Opener for Client {
    async fn open(&self, key: &str, ciphertext: &[u8], context: &[u8]) -> Answer {
        match self.decrypt(key, ciphertext, context).await {
            Ok(plaintext) => Answer::Opened(plaintext),
            Err(error) if error.is_key_not_found() => Answer::Missing,
            Err(error) if error.is_not_authentic() => Answer::NotAuthentic,
            Err(error) => Answer::Unknown(error.to_string()),
        }
    }
}

/// One that is asked for so long altogether; what it has not said by then is unknown. Reading the drive does not count.
pub(crate) struct Patient<'a> {
    opener: &'a dyn Opener,
    left: Mutex<Duration>,
}

impl<'a> Patient<'a> {
    pub(crate) fn new(opener: &'a dyn Opener, left: Duration) -> Self {
        Self { opener, left: Mutex::new(left) }
    }

    fn left(&self) -> MutexGuard<'_, Duration> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Opener for Patient<'_> {
    async fn open(&self, key: &str, ciphertext: &[u8], context: &[u8]) -> Answer {
        let (begun, left) = (Instant::now(), *self.left());
        let answer = tokio::time::timeout(left, self.opener.open(key, ciphertext, context)).await;
        *self.left() = left.saturating_sub(begun.elapsed());
        answer.unwrap_or_else(|_| Answer::Unknown("it does not answer".into()))
    }
}

/// A keystore that is asked without KES.
#[derive(Debug)]
pub struct Keystore(Backend);

impl Keystore {
    /// Opens the keystore of a manifest, whose fs keystore is in `folder`, sealed under the key in `master_key` if the
    /// manifest names none; `None` if it cannot be reached. Makes nothing: a folder that is gone holds no keys.
    pub async fn open(
        manifest: &Manifest,
        folder: PathBuf,
        master_key: PathBuf,
        environment: &Environment,
    ) -> Option<Self> {
        let opened = if !manifest.keystore_is_fs() {
            keystore::open(&manifest.keystore, environment).await
        } else if folder.is_dir() {
            Box::pin(keystore::open_folder(&manifest.keystore, &folder, &master_key, environment)).await
        } else {
            Ok(Backend::Memory(kes_server::keystore::Memory::default()))
        };
        opened.inspect_err(|why| tracing::debug!(why, "the keystore cannot be asked from here")).ok().map(Self)
    }

    /// The key of that name, as KES has it.
    ///
    /// # Errors
    /// Why the keystore does not give it.
    pub async fn key(&self, name: &str) -> Result<Key, String> {
        let stored = self.0.get(name).await.map_err(|error| error.to_string())?;
        Key::decode(&stored).map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Opener for Keystore {
    async fn open(&self, key: &str, ciphertext: &[u8], context: &[u8]) -> Answer {
        let stored = match self.0.get(key).await {
            Ok(stored) => stored,
            Err(KeyStoreError::NotFound) => return Answer::Missing,
            Err(error) => return Answer::Unknown(error.to_string()),
        };
        match Key::decode(&stored).map(|key| key.decrypt(ciphertext, context)) {
            Ok(Ok(plaintext)) => Answer::Opened(plaintext),
            // damaged, truncated or foreign: it opens nothing any more
            Ok(Err(_)) | Err(_) => Answer::NotAuthentic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Slow;

    #[async_trait]
    impl Opener for Slow {
        async fn open(&self, _: &str, _: &[u8], _: &[u8]) -> Answer {
            tokio::time::sleep(Duration::from_secs(7)).await;
            Answer::Missing
        }
    }

    #[tokio::test(start_paused = true)]
    async fn patience_is_for_all_answers_together() {
        let opener = Patient::new(&Slow, Duration::from_secs(10));
        let begun = Instant::now();
        assert!(matches!(opener.open("one", b"", b"").await, Answer::Missing));
        for _ in 0..3 {
            assert!(matches!(opener.open("two", b"", b"").await, Answer::Unknown(_)));
        }
        assert!(begun.elapsed() < Duration::from_secs(11));
    }
}
