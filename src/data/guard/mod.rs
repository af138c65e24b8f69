//! The key guard: data is never started with other keys than those it was written under (docs/architecture.md §3.12).
//!
//! MinIO would start with an empty keystore, make a new key of the old name, and leave the old data unreadable
//! (docs/minio-kms-client.md §2.3). So a [`Record`] of each key's material lies next to the data, and [`require`] asks
//! the keystore, before anything is started or made, whether it still holds what the data needs. Where the record is
//! lost, the data keys that MinIO itself keeps on the drive tell.

use std::time::Duration;

use kes_server::keystore::Environment;

use crate::data::drive;
use crate::error::Error;
use crate::resource::Context;
use crate::stack::Stack;

mod ask;
mod check;
mod delete;
mod record;
mod resource;

pub use ask::{Answer, Keystore, Opener};
pub use check::Guarded;
pub use delete::{forget, require_unused};
pub use record::Record;
pub use resource::{GuardCheck, GuardRecord};

/// Longest time for a keystore to answer for all keys.
const DEADLINE: Duration = Duration::from_secs(60);

/// The result of asking for the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All are there, or there is no data that needs them.
    Good,
    /// The keystore could not be asked from here: KES must be, once it runs.
    Unknown,
}

/// Asks for all keys that the data on the drive needs: KES if it runs, else the keystore itself. Starts, makes and
/// changes nothing.
///
/// # Errors
/// [`Error::Guard`] if a key that protects something is gone or has other material.
pub async fn require(
    stack: &Stack,
    context: &Context,
    kes_runs: bool,
    environment: &Environment,
) -> Result<Verdict, Error> {
    if !drive::holds_data(&stack.layout.drive()) {
        return Ok(Verdict::Good);
    }
    let guarded = Guarded::of(stack);
    if kes_runs && guarded.check(context.kes.as_ref()).await? == Verdict::Good {
        return Ok(Verdict::Good);
    }
    let ask = async {
        match Keystore::open(&stack.manifest, stack.keys_folder(), environment).await {
            Some(keystore) => guarded.check(&keystore).await,
            None => Ok(Verdict::Unknown),
        }
    };
    tokio::time::timeout(DEADLINE, ask).await.unwrap_or(Ok(Verdict::Unknown))
}

/// Adds a key that was just made to the record. That of an exported stack is not kept here: others start it.
///
/// # Errors
/// Those of KES and of the record's file.
pub async fn remember(stack: &Stack, context: &Context, key: &str) -> Result<(), Error> {
    if stack.layout.exported().exists() {
        return Ok(());
    }
    let path = stack.layout.guard();
    let mut record = Record::load(&path)?.unwrap_or_else(|| Record::of(stack.manifest.keystore_name()));
    if !record.knows(key) {
        record.add(key, &context.kes).await?;
        record.save(&path)?;
    }
    Ok(())
}
