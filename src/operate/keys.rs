//! Encryption keys, as the command line and the interface show, make and delete them.

use kes_server::auth::KeyName;
use schemars::JsonSchema;
use serde::Serialize;

use crate::data::guard::KeyRecord;
use crate::error::Error;
use crate::operate::guard;
use crate::operate::present::present;
use crate::operate::without_minio::without_minio;
use crate::resource::apply::Silent;
use crate::resource::plan::{Decision, decide};
use crate::resource::{Context, KeyResource, Resource as _};
use crate::stack::Stack;

/// All keys.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Keys")]
pub(crate) struct Listed {
    /// All keys, by name.
    pub(crate) keys: Vec<Entry>,
}

/// One key.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub(crate) struct Entry {
    /// Name of the key.
    pub(crate) name: String,
    /// Its algorithm.
    pub(crate) algorithm: String,
    /// When it was created.
    pub(crate) created_at: String,
    /// The identity that created it.
    pub(crate) created_by: String,
}

/// Keys that are there now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KeysCreated")]
pub(crate) struct Created {
    /// True if at least one of the keys is new.
    pub(crate) created: bool,
    /// The keys, in the order of the command line.
    pub(crate) keys: Vec<New>,
}

/// A key that is there now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KeyCreated")]
pub(crate) struct New {
    /// Name of the key.
    pub(crate) name: String,
    /// False if it existed.
    pub(crate) created: bool,
}

/// Keys that are gone.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KeysDeleted")]
pub(crate) struct Deleted {
    /// Names of the keys that were deleted.
    pub(crate) deleted: Vec<String>,
}

/// Creates keys; existing ones stay as they are. The stack's lock is held.
///
/// # Errors
/// Those of KES.
pub(crate) async fn create(stack: &Stack, context: &Context, names: &[KeyName]) -> Result<Created, Error> {
    let mut keys = Vec::new();
    for name in names {
        let key = KeyResource { key: name.clone() };
        let decision = decide(&key.wanted(), &key.observe(context).await?);
        if decision != Decision::Keep {
            key.create(context).await?;
        }
        guard::remember(stack, context, name.as_str()).await?;
        keys.push(New { name: name.to_string(), created: decision != Decision::Keep });
    }
    Ok(Created { created: keys.iter().any(|key| key.created), keys })
}

/// Deletes keys that protect nothing. The stack's lock is held. MinIO is stopped meanwhile: it has the data key of an object
/// sealed when the upload begins, and the drive shows that only when the upload ends.
///
/// # Errors
/// [`Error::Guard`] for a key that protects something, before any is deleted.
pub(crate) async fn delete(stack: &Stack, context: &Context, names: &[KeyName]) -> Result<Deleted, Error> {
    // MinIO goes on if a key is refused anyway
    guard::require_unused(stack, names)?;
    require_known(stack, context, names).await?;
    let work = async {
        guard::require_unused(stack, names)?;
        delete_unused(stack, context, names).await
    };
    without_minio(stack, context, &Silent, work).await
}

/// Makes sure that KES answers, and that it or the record knows one of the keys at least.
async fn require_known(stack: &Stack, context: &Context, names: &[KeyName]) -> Result<(), Error> {
    let record = KeyRecord::load(&stack.layout.guard())?;
    let (mut is_known, mut missing) = (false, None);
    for name in names {
        match context.kes.describe_key(name.as_str()).await {
            Err(error) if error.is_key_not_found() => {
                is_known |= record.as_ref().is_some_and(|record| record.knows(name.as_str()));
                missing = Some(error);
            }
            described => is_known |= described.map(|_| true)?,
        }
    }
    missing.filter(|_| !is_known).map_or(Ok(()), |error| Err(error.into()))
}

async fn delete_unused(stack: &Stack, context: &Context, names: &[KeyName]) -> Result<Deleted, Error> {
    let mut deleted = Vec::new();
    for name in names {
        let existed = context.replicas.delete_key(name.as_str()).await?;
        // the record knows a key that an earlier call removed from the keystore, but not from every server
        if !guard::forget(stack, name)? && !existed {
            context.kes.describe_key(name.as_str()).await?;
        }
        deleted.push(name.to_string());
    }
    Ok(Deleted { deleted })
}

/// All keys.
///
/// # Errors
/// Those of KES; a key that is deleted meanwhile is left out.
pub(crate) async fn list(stack: &Stack, context: &Context) -> Result<Listed, Error> {
    let mut names = context.kes.list_keys("").await?;
    // Foreign entries of the keystore cannot be asked for.
    names.retain(|name| name.parse::<KeyName>().is_ok());
    let keys = present(names, Error::is_gone, async |name| one(stack, context, &name).await).await?;
    Ok(Listed { keys })
}

/// One key.
///
/// # Errors
/// Those of KES.
pub(crate) async fn one(stack: &Stack, context: &Context, name: &str) -> Result<Entry, Error> {
    let key = context.kes.describe_key(name).await?;
    Ok(Entry {
        name: name.to_string(),
        algorithm: key.algorithm,
        created_at: key.created_at,
        created_by: owner(stack, key.created_by)?,
    })
}

/// Who made a key, in words where it is one of the stack's own identities.
fn owner(stack: &Stack, identity: String) -> Result<String, Error> {
    let material = &stack.material;
    Ok(if identity == material.admin_identity()?.to_string() {
        "admin".into()
    } else if identity == material.minio_identity()?.to_string() {
        "minio".into()
    } else {
        identity
    })
}
