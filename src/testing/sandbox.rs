//! A sandbox of a stack.

use super::{Credentials, Error};
use crate::operate::sandbox::{self, SandboxUser, Sandboxes};

/// A bucket, the key that encrypts it, and a user that may use these two and nothing else, inside a stack. Without a
/// call of [`Sandbox::remove`] it is removed with its stack or when its lease is over.
#[derive(Debug)]
pub struct Sandbox {
    pub(super) all: Sandboxes,
    pub(super) this: sandbox::Sandbox,
    pub(super) user: SandboxUser,
}

impl Sandbox {
    /// Its bucket; objects that are put there are encrypted.
    pub fn bucket(&self) -> &str {
        &self.this.bucket
    }

    /// Its key in KES.
    pub fn key(&self) -> &str {
        &self.this.key
    }

    /// Its user, who may use bucket and key and nothing else.
    pub fn credentials(&self) -> Credentials {
        Credentials { access_key: self.user.access_key.clone(), secret_key: self.user.secret_key.clone() }
    }

    /// The variables that `kestack sandbox env` prints. They hold secrets.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.this.variables(&self.user)
    }

    /// Removes it with all it holds.
    ///
    /// # Errors
    /// Those of KES and MinIO; the next attempt finishes it.
    pub async fn remove(self) -> Result<(), Error> {
        self.all.drop(&self.this.name).await?;
        Ok(())
    }
}
