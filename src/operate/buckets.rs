//! Buckets and their default encryption, as the command line and the interface show, make and delete them.

use kes_server::auth::KeyName;
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::Error;
use crate::manifest::BucketName;
use crate::operate::coverage::Coverage;
use crate::operate::guard;
use crate::operate::present::present;
use crate::operate::sandbox::SandboxName;
use crate::resource::plan::{Decision, decide};
use crate::resource::{BucketResource, Context, Kept, KeyResource, Resource as _};
use crate::servers::s3::{Encryption, S3Error};
use crate::stack::Stack;

/// One bucket.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Bucket")]
pub(crate) struct Entry {
    /// Name of the bucket.
    pub(crate) name: String,
    /// Its default encryption: `sse-kms`, `sse-s3` or `none`.
    pub(crate) encryption: String,
    /// The key that encrypts new objects.
    pub(crate) key: Option<String>,
    /// True if the bucket has no encryption of its own, and `auto_encryption` encrypts new objects.
    pub(crate) automatic: bool,
    /// True if it keeps versions.
    pub(crate) versioning: bool,
}

/// All buckets.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Buckets")]
pub(crate) struct Listed {
    /// All buckets.
    pub(crate) buckets: Vec<Entry>,
}

/// Buckets that are gone.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "BucketsDeleted")]
pub(crate) struct Deleted {
    /// Names of the buckets that were deleted.
    pub(crate) deleted: Vec<String>,
    /// Those of them that kestack.yaml declares: `kestack up` creates them again.
    pub(crate) declared: Vec<String>,
}

/// The default encryption that a bucket is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// SSE-KMS.
    SseKms {
        /// The key, which is created if it does not exist; without one the stack's default key.
        key: Option<KeyName>,
    },
    /// SSE-S3.
    SseS3,
    /// None of its own.
    None,
}

impl Wanted {
    /// The encryption, whose key exists then.
    ///
    /// # Errors
    /// Those of KES.
    pub(crate) async fn made(self, stack: &Stack, context: &Context) -> Result<Option<Encryption>, Error> {
        let key = match self {
            Self::None => return Ok(None),
            Self::SseS3 => return Ok(Some(Encryption::SseS3)),
            Self::SseKms { key } => key.unwrap_or_else(|| stack.manifest.default_key.clone()),
        };
        KeyResource { key: key.clone() }.create(context).await?;
        guard::remember(stack, context, key.as_str()).await?;
        Ok(Some(Encryption::SseKms(key.to_string())))
    }
}

/// Makes a bucket, or gives an existing one that encryption; without `versioning` that stays as it is. The stack's lock is
/// held.
///
/// # Errors
/// Those of MinIO.
pub(crate) async fn settle(
    stack: &Stack,
    context: &Context,
    name: &BucketName,
    encryption: Option<Encryption>,
    versioning: Option<bool>,
) -> Result<Entry, Error> {
    let versioning = match versioning {
        Some(versioning) => versioning,
        None => versioning_of(context, name).await?.unwrap_or_default(),
    };
    let bucket = BucketResource { bucket: name.to_string(), encryption, versioning, keeps: Kept::default() };
    match decide(&bucket.wanted(), &bucket.observe(context).await?) {
        Decision::Keep => {}
        Decision::Replace => bucket.replace(context).await?,
        Decision::Create | Decision::Ensure => bucket.create(context).await?,
    }
    Ok(entry(stack, bucket.bucket, bucket.encryption, versioning))
}

/// Whether a bucket keeps versions; `None` if there is no such bucket.
async fn versioning_of(context: &Context, name: &BucketName) -> Result<Option<bool>, S3Error> {
    match context.s3.bucket_versioning(name.as_str()).await {
        Err(error) if error.is_no_bucket() => Ok(None),
        versioning => versioning.map(Some),
    }
}

/// Checks that a bucket does not exist yet. The stack's lock is held.
///
/// # Errors
/// [`Error::Occupied`] if it does; else those of MinIO.
pub(crate) async fn check_new(context: &Context, name: &BucketName) -> Result<(), Error> {
    match versioning_of(context, name).await? {
        None => Ok(()),
        Some(_) => Err(Error::Occupied {
            what: format!("bucket '{name}' exists already"),
            hint: "open its page to change its encryption".into(),
        }),
    }
}

/// One bucket.
///
/// # Errors
/// Those of MinIO.
pub(crate) async fn one(stack: &Stack, context: &Context, name: &str) -> Result<Entry, Error> {
    let (s3, name) = (&context.s3, name.to_owned());
    let (own, versioning) = (s3.bucket_encryption(&name).await?, s3.bucket_versioning(&name).await?);
    Ok(entry(stack, name, own, versioning))
}

/// A bucket with these settings.
fn entry(stack: &Stack, name: String, own: Option<Encryption>, versioning: bool) -> Entry {
    let found = Coverage::new(stack, name, own);
    let (encryption, key) = match found.encryption {
        Some(Encryption::SseKms(key)) => ("sse-kms", Some(key)),
        Some(Encryption::SseS3) => ("sse-s3", Some(stack.manifest.default_key.to_string())),
        None => ("none", None),
    };
    Entry { name: found.bucket, encryption: encryption.to_owned(), key, automatic: found.automatic, versioning }
}

/// All buckets.
///
/// # Errors
/// Those of MinIO; a bucket that is removed meanwhile is left out.
pub(crate) async fn list(stack: &Stack, context: &Context) -> Result<Listed, Error> {
    let names = context.s3.list_buckets().await?;
    let buckets = present(names, Error::is_gone, async |name| one(stack, context, &name).await).await?;
    Ok(Listed { buckets })
}

/// How full a bucket is, if it may be deleted.
///
/// # Errors
/// [`Error::Usage`] if it belongs to a sandbox, or holds objects and `force` is not given.
pub(crate) async fn check_deletable(context: &Context, name: &BucketName, force: bool) -> Result<String, Error> {
    if let Some(sandbox) = SandboxName::of_resource(name.as_str()) {
        return Err(Error::Usage {
            what: format!("bucket '{name}' belongs to sandbox '{sandbox}'"),
            hint: format!("`kestack sandbox drop {sandbox}` removes it with its key and its user"),
        });
    }
    let s3 = &context.s3;
    // says NoSuchBucket before anything is deleted
    s3.bucket_encryption(name.as_str()).await?;
    let names = s3.object_names(name.as_str(), "").await?;
    match names.len() {
        0 => Ok("empty".to_owned()),
        _ if !force => Err(not_empty(name.as_str())),
        1 => Ok("1 object".to_owned()),
        count @ 2..1000 => Ok(format!("{count} objects")),
        _ => Ok("1000 objects or more".to_owned()),
    }
}

/// Deletes buckets that were checked. The stack's lock is held.
///
/// # Errors
/// [`Error::Occupied`] if somebody has written to one meanwhile; else those of MinIO.
pub(crate) async fn delete(
    stack: &Stack,
    context: &Context,
    names: &[BucketName],
    force: bool,
) -> Result<Deleted, Error> {
    for name in names {
        delete_one(context, name.as_str(), force).await?;
    }
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let is_declared = |name: &&String| stack.manifest.buckets.iter().any(|bucket| bucket.name.as_str() == *name);
    let declared = names.iter().filter(is_declared).cloned().collect();
    Ok(Deleted { deleted: names, declared })
}

async fn delete_one(context: &Context, name: &str, force: bool) -> Result<(), Error> {
    if force {
        return Ok(context.s3.remove_bucket_with_objects(name).await?);
    }
    match context.s3.delete_bucket(name).await {
        Err(error) if is_not_empty(&error) => Err(not_empty(name)),
        deleted => Ok(deleted?),
    }
}

fn is_not_empty(error: &S3Error) -> bool {
    error.code() == "BucketNotEmpty"
}

fn not_empty(name: &str) -> Error {
    Error::Occupied {
        what: format!("bucket '{name}' is not empty; nothing in it was deleted"),
        hint: format!("`kestack bucket delete --force {name}` deletes its objects and versions too, forever"),
    }
}
