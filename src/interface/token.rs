//! The secret of an interface, and where its callers find it.

use serde::{Deserialize, Serialize};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::error::Error;
use crate::host::disk::{self, Outlasts, replace};
use crate::host::random;
use crate::stack::Layout;

/// What the file of an interface says, while it listens.
#[derive(Clone, Serialize, Deserialize, ZeroizeOnDrop)]
pub(crate) struct Record {
    /// URL of the interface.
    pub(crate) url: String,
    /// The token that requests carry as `Authorization: Bearer TOKEN`.
    pub(crate) token: String,
}

impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Record").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Record {
    /// The interface on that port of this machine, with a token of its own.
    ///
    /// # Errors
    /// [`Error::Environment`] if the system gives no random bytes.
    pub(crate) fn new(port: u16) -> Result<Self, Error> {
        Ok(Self { url: format!("http://127.0.0.1:{port}"), token: secret()?.to_string() })
    }

    /// Keeps it in the stack's folder, for nobody else to read.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn keep(&self, layout: &Layout) -> Result<(), Error> {
        let path = layout.interface();
        let text = Zeroizing::new(serde_json::to_vec_pretty(self).unwrap_or_default());
        replace(&path, &text, Outlasts::Process).map_err(Error::file("write", path))
    }

    /// Removes it, unless another interface has written its own meanwhile.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(crate) fn remove(&self, layout: &Layout) -> Result<(), Error> {
        let there = disk::read(&layout.interface())?;
        let there: Option<Self> = there.and_then(|text| serde_json::from_slice(&text).ok());
        match there {
            Some(there) if there.token == self.token => Ok(disk::remove(&layout.interface())?),
            _ => Ok(()),
        }
    }
}

/// 256 random bits in hex.
///
/// # Errors
/// [`Error::Environment`] if the system gives no random bytes.
pub(super) fn secret() -> Result<Zeroizing<String>, Error> {
    random::hex::<32>().map_err(Error::no_random_bytes)
}
