//! The keystore of `kes server --dev`: all is lost when the process ends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zeroize::Zeroizing;

use super::{KeyStore, KeyStoreError};

/// A map in memory.
#[derive(Default)]
pub struct Memory {
    entries: Mutex<BTreeMap<String, Zeroizing<Vec<u8>>>>,
}

impl Memory {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Zeroizing<Vec<u8>>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory(..)")
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("In Memory")
    }
}

impl KeyStore for Memory {
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        Ok(Duration::from_millis(1))
    }

    async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
        let mut entries = self.entries();
        if entries.contains_key(name) {
            return Err(KeyStoreError::Exists);
        }
        entries.insert(name.to_owned(), Zeroizing::new(value.to_vec()));
        Ok(())
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        self.entries().get(name).cloned().ok_or(KeyStoreError::NotFound)
    }

    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        self.entries().remove(name).map(drop).ok_or(KeyStoreError::NotFound)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        Ok(self.entries().keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }
}
