//! The key guard at work: before a stack is started, and when keys are made or deleted.

use std::time::Duration;

use kes_server::keystore::Environment;

use crate::data::guard::{Guarded, KeyRecord, Keystore, Patient, Verdict};
use crate::error::Error;
use crate::resource::Context;
use crate::stack::Stack;

mod delete;

pub(crate) use delete::{forget, require_unused};

/// Longest time for a keystore to answer for all keys.
const DEADLINE: Duration = Duration::from_secs(60);

/// Asks for all keys that the data on the drive needs: KES if it stays as it runs, else the keystore itself, because a KES
/// that is about to be replaced may have another one. Starts, makes and changes nothing.
///
/// # Errors
/// [`Error::Guard`] if a key that protects something is gone or has other material.
pub(crate) async fn require(
    stack: &Stack,
    context: &Context,
    kes_stays: bool,
    environment: &Environment,
) -> Result<Verdict, Error> {
    let all = stack.all_guarded();
    if !all.iter().any(Guarded::has_data) {
        return Ok(Verdict::Good);
    }
    if kes_stays && Guarded::check_all(&all, context.kes.as_ref()).await? == Verdict::Good {
        return Ok(Verdict::Good);
    }
    let open = Keystore::open(&stack.manifest, stack.keys_folder(), stack.layout.master_key(), environment);
    match tokio::time::timeout(DEADLINE, open).await {
        Ok(Some(keystore)) => Guarded::check_all(&all, &Patient::new(&keystore, DEADLINE)).await,
        Ok(None) | Err(_) => Ok(Verdict::Unknown),
    }
}

/// Adds a key that was just made to the record. That of an exported stack is not kept here: others start it.
///
/// # Errors
/// Those of KES and of the record's file.
pub(crate) async fn remember(stack: &Stack, context: &Context, key: &str) -> Result<(), Error> {
    if stack.layout.is_exported() {
        return Ok(());
    }
    let path = stack.layout.guard();
    let mut record = KeyRecord::load(&path)?.unwrap_or_else(|| KeyRecord::of(stack.manifest.keystore_name()));
    if !record.knows(key) {
        record.add(key, &context.kes).await?;
        record.save(&path)?;
    }
    Ok(())
}
