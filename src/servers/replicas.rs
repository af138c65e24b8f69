//! Calls to every KES server separately, for checks that one answer cannot satisfy.

use std::collections::BTreeMap;
use std::sync::Arc;

use kes_server::client::{Client, ClientError};

/// The servers of KES by their endpoints on this host.
#[derive(Clone)]
pub struct Replicas(BTreeMap<String, Arc<Client>>);

impl Replicas {
    /// One client for each endpoint.
    pub fn new(clients: BTreeMap<String, Arc<Client>>) -> Self {
        Self(clients)
    }

    /// The one at that endpoint.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`] if there is none.
    pub fn at(&self, endpoint: &str) -> Result<&Client, ClientError> {
        self.0.get(endpoint).map(Arc::as_ref).ok_or_else(|| ClientError::Endpoint(endpoint.to_owned()))
    }

    /// Removes a key from the keystore and from the cache of every server: one that keeps it would go on to encrypt with
    /// a key that nobody has. All are asked, whichever of them fails. True if there was such a key; one that is gone
    /// already is not an error, so a call that failed can be repeated.
    ///
    /// # Errors
    /// That of the first server that does not do it.
    pub async fn delete_key(&self, name: &str) -> Result<bool, ClientError> {
        let (mut existed, mut failed) = (false, None);
        for kes in self.0.values() {
            match kes.delete_key(name).await {
                Ok(()) => existed = true,
                Err(error) if error.is_key_not_found() => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(existed), Err)
    }
}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
