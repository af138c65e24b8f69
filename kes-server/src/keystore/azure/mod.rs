//! Azure Key Vault (docs/keystores-protocol.md §7, §8): a key is a secret of the vault, its value the text of §1.2.
//!
//! Key Vault has no "create if absent": creating a name twice makes a second version of it. Therefore the oldest
//! version is the key for every reader.

use std::fmt;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use zeroize::Zeroizing;

use super::flight::Flights;
use super::http::{Answer, Listing, between};
use super::{Environment, KeyStore, KeyStoreError};
use crate::config::{AzureConfig, Secret, named};

mod challenge;
mod cli;
mod credential;
mod login;
mod managed;
mod secret;
mod vault;

use vault::Vault;

/// How often purging a deleted entry is tried.
const PURGES_OF_DELETE: u32 = 10;
/// How often purging the former entry of a name is tried.
const PURGES_OF_CREATE: u32 = 25;
/// How often storing a value is tried while the former entry of its name is being purged.
const PUTS: u32 = 7;
/// Longest name of a secret.
const MAX_NAME: usize = 127;
/// Longest value of a secret.
const MAX_VALUE: usize = 25 * 1024;

/// A vault of Azure.
#[derive(Debug)]
pub struct Azure {
    vault: Vault,
    /// One creation of a name at a time: the vault itself would take both.
    creations: Flights,
}

impl Azure {
    /// Prepares everything, and contacts nobody: the first call reports wrong credentials.
    ///
    /// # Errors
    /// If the endpoint is not a URL.
    pub fn connect(config: &AzureConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        Ok(Self { vault: Vault::new(config, environment)?, creations: Flights::default() })
    }

    async fn put(&self, name: &str, value: &str) -> Result<Answer, KeyStoreError> {
        let body = json!({ "value": value });
        self.vault.call(Method::PUT, self.vault.url(&["secrets", name]), Some(&body)).await
    }

    async fn delete_entry(&self, kind: &str, name: &str) -> Result<Answer, KeyStoreError> {
        self.vault.call(Method::DELETE, self.vault.url(&[kind, name]), None).await
    }

    /// Purges a deleted entry, at most so many times while the deletion is in progress. False if it still is.
    async fn purge(&self, name: &str, times: u32) -> Result<bool, KeyStoreError> {
        for made in 1..=times {
            let answer = self.delete_entry("deletedsecrets", name).await?;
            match answer.status {
                StatusCode::NO_CONTENT => return Ok(true),
                _ if secret::is_missing(&answer) => return Ok(true),
                _ if !secret::is_being_deleted(&answer) => return Err(kept(name, &answer)),
                _ if made < times => pause().await,
                _ => (),
            }
        }
        Ok(false)
    }

    /// Stores a value under a name whose former entry is deleted, but not purged.
    async fn put_again(&self, name: &str, value: &str) -> Result<Answer, KeyStoreError> {
        if !self.purge(name, PURGES_OF_CREATE).await? {
            let text = format!("the former entry '{name}' is still being deleted by Azure Key Vault; try again later");
            return Err(KeyStoreError::Other(text));
        }
        let mut answer = self.put(name, value).await?;
        for _ in 1..PUTS {
            if !secret::is_being_deleted(&answer) {
                break;
            }
            pause().await;
            answer = self.put(name, value).await?;
        }
        Ok(answer)
    }
}

impl fmt::Display for Azure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Azure KeyVault: {}", named(self.vault.endpoint().as_str()))
    }
}

impl KeyStore for Azure {
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        self.vault.reach().await
    }

    async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
        check_name(name)?;
        let value = super::text(value)?;
        if value.len() > MAX_VALUE {
            let text =
                format!("Azure Key Vault takes values of {MAX_VALUE} bytes at most; '{name}' has {}", value.len());
            return Err(KeyStoreError::Other(text));
        }
        // the vault does not distinguish `A` from `a`
        let own_name = name.to_ascii_lowercase();
        let creation = self.creations.board(&own_name);
        let _one = creation.turn().await;
        let latest = self.vault.call(Method::GET, self.vault.url(&["secrets", name, ""]), None).await?;
        if !secret::is_missing(&latest) {
            return Err(secret::check(&latest, name).map_or_else(|error| error, |()| KeyStoreError::Exists));
        }
        let mut answer = self.put(name, value).await?;
        if secret::is_deleted(&answer) {
            answer = self.put_again(name, value).await?;
        }
        secret::check(&answer, name)
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        #[derive(serde::Deserialize)]
        struct Valued {
            value: Secret,
        }

        check_name(name)?;
        let answer = self.vault.call(Method::GET, self.vault.url(&["secrets", name, "versions"]), None).await?;
        let Some(version) = secret::oldest(name, &answer)? else { return Err(KeyStoreError::NotFound) };
        let answer = self.vault.call(Method::GET, self.vault.url(&["secrets", name, &version]), None).await?;
        secret::check(&answer, name)?;
        Ok(Zeroizing::new(answer.json::<Valued>()?.value.expose().as_bytes().to_vec()))
    }

    /// Deletes and purges. If Azure still works on it after all tries, that is a success: the name is gone.
    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        check_name(name)?;
        let answer = self.delete_entry("secrets", name).await?;
        if !secret::is_missing(&answer) {
            secret::check(&answer, name)?;
        }
        self.purge(name, PURGES_OF_DELETE).await?;
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        let (mut listing, mut url) = (Listing::default(), Some(self.vault.url(&["secrets"])));
        while let Some(page) = url {
            let answer = listing.page(self.vault.call(Method::GET, page.clone(), None)).await?;
            let (found, next) = secret::page(&answer)?;
            listing.add(&answer, found)?;
            url = next.map(|next| self.vault.page_after(&answer, &next)).transpose()?;
            if url.as_ref() == Some(&page) {
                return Err(answer.unexpected("the next page is the same page"));
            }
        }
        Ok(listing.select(prefix))
    }
}

/// Refuses a name that the vault cannot have, with a clearer message than the vault's.
fn check_name(name: &str) -> Result<(), KeyStoreError> {
    let why = if name.len() > MAX_NAME {
        format!("of {MAX_NAME} characters at most")
    } else if name.is_empty() || name.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-') {
        "of letters, digits and '-' only, no '_'".to_owned()
    } else {
        return Ok(());
    };
    Err(KeyStoreError::Name(format!("Azure Key Vault has names {why}; choose another name than '{name}'")))
}

/// A deleted entry that cannot be purged.
fn kept(name: &str, answer: &Answer) -> KeyStoreError {
    answer.refused().map_text(|text| {
        format!(
            "{text}; the secret '{name}' is deleted, but Azure keeps it and its name: grant the permission 'purge', or, \
             if the vault has purge protection, choose another name"
        )
    })
}

async fn pause() {
    tokio::time::sleep(between(Duration::from_millis(200), Duration::from_secs(1))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_vault_cannot_have_are_refused() {
        assert!(check_name("my-Key-1").is_ok());
        assert!(check_name(&"k".repeat(127)).is_ok());
        for name in ["my_key", "", "a/b", "ü", &"k".repeat(128)] {
            assert!(check_name(name).unwrap_err().to_string().contains("Azure Key Vault has names of"));
        }
    }
}
