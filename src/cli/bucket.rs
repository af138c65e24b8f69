//! `kestack bucket`

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use kes_server::auth::KeyName;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::{Output, table};
use super::session::{ADD, CHANGE, Intent, Session};
use crate::error::Error;
use crate::manifest::BucketName;
use crate::operate::coverage::Coverage;
use crate::operate::encrypt::{self, Existing, Versions};
use crate::operate::guard;
use crate::resource::plan::{Decision, decide};
use crate::resource::{BucketResource, KeyResource, Resource as _};
use crate::servers::s3::Encryption;

pub(super) mod delete;

/// Objects that are shown by their names; JSON has all of them.
const SHOWN: usize = 10;

#[derive(Debug, Subcommand)]
pub(super) enum Bucket {
    /// Create a bucket with a default encryption; an existing bucket gets this encryption
    Create(Create),
    /// List the buckets
    #[command(visible_alias = "ls")]
    List,
    /// Set the default encryption of an existing bucket; objects already in it stay as they are without --existing
    Encrypt(Encrypt),
    /// Delete buckets; one that holds objects only with --force
    #[command(visible_aliases = ["rm", "remove"])]
    Delete(delete::Delete),
    /// Show one bucket
    Info {
        /// Name of the bucket
        name: BucketName,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Name of the bucket
    name: BucketName,
    /// Key for SSE-KMS, created if it does not exist [default: the stack's default key]
    #[arg(short, long, conflicts_with = "sse_s3")]
    key: Option<KeyName>,
    /// SSE-S3 instead of SSE-KMS
    #[arg(long)]
    sse_s3: bool,
}

#[derive(Debug, Args)]
pub(super) struct Encrypt {
    #[command(flatten)]
    options: Create,
    /// Encrypt the objects that lie in it in clear as well: MinIO copies each onto itself, with its metadata and tags; their
    /// `ETag`s and times change, and earlier versions stay in clear
    #[arg(long)]
    existing: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Encrypted {
    #[serde(flatten)]
    bucket: Entry,
    /// What was done with the objects in it; absent without --existing.
    #[serde(skip_serializing_if = "Option::is_none")]
    existing: Option<Existing>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Entry {
    /// Name of the bucket.
    name: String,
    /// Its default encryption: `sse-kms`, `sse-s3` or `none`.
    encryption: String,
    /// The key that encrypts new objects.
    key: Option<String>,
    /// True if the bucket has no encryption of its own, and `auto_encryption` encrypts new objects.
    automatic: bool,
    /// True if it keeps versions.
    versioning: bool,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Listed {
    /// All buckets.
    buckets: Vec<Entry>,
}

impl Bucket {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let intent = match self {
            // copies of objects take long, and nobody else has to wait for them
            Self::Create(_) | Self::Encrypt(_) => ADD,
            Self::Delete(_) => CHANGE,
            Self::List | Self::Info { .. } => Intent::Read,
        };
        let session = Session::running(globals, intent).await?;
        match self {
            Self::Create(options) => output.result(&options.settle(&session).await?, default),
            Self::List => list(&session, output).await,
            Self::Delete(delete) => delete.run(&session, output).await,
            Self::Encrypt(encrypt) => encrypt.run(&session, output).await,
            Self::Info { name } => {
                output.result(&entry(&session, name.as_str()).await?, |bucket| {
                    format!(
                        "name        {}\nencryption  {}\nkey         {}\nversioning  {}",
                        bucket.name,
                        bucket.encryption,
                        bucket.key.as_deref().unwrap_or("-"),
                        bucket.versioning
                    )
                })?;
                Ok(())
            }
        }
    }
}

impl Create {
    /// The encryption that is wanted; its key exists then.
    async fn encryption(&self, session: &Session) -> Result<Encryption, Error> {
        let context = &session.context;
        if self.sse_s3 {
            return Ok(Encryption::SseS3);
        }
        let key = self.key.clone().unwrap_or_else(|| session.stack.manifest.default_key.clone());
        KeyResource { key: key.clone() }.create(context).await?;
        guard::remember(&session.stack, context, key.as_str()).await?;
        Ok(Encryption::SseKms(key.to_string()))
    }

    async fn settle(&self, session: &Session) -> Result<Entry, Error> {
        let context = &session.context;
        let name = self.name.as_str();
        let encryption = self.encryption(session).await?;
        let versioning = context.s3.bucket_versioning(name).await.unwrap_or_default();
        let bucket = BucketResource { bucket: name.to_owned(), encryption: Some(encryption), versioning };
        let decision = decide(&bucket.wanted(), &bucket.observe(context).await?);
        match decision {
            Decision::Keep => {}
            Decision::Replace => bucket.replace(context).await?,
            Decision::Create | Decision::Ensure => bucket.create(context).await?,
        }
        entry(session, name).await
    }
}

impl Encrypt {
    async fn run(&self, session: &Session, output: &Output) -> Result<(), Error> {
        let (s3, name) = (&session.context.s3, self.options.name.as_str());
        // says NoSuchBucket before anything is changed
        s3.bucket_encryption(name).await?;
        if self.existing {
            encrypt::require_unlocked(s3, name).await?;
        }
        let bucket = self.options.settle(session).await?;
        let existing = if self.existing {
            let encryption = self.options.encryption(session).await?;
            Some(encrypt::existing(&session.stack, s3, name, &encryption).await?)
        } else {
            None
        };
        let report = Encrypted { bucket, existing };
        output.result(&report, human)?;
        match report.existing.iter().flat_map(|existing| &existing.refused).next() {
            None => Ok(()),
            Some(first) => Err(Error::Verification(format!(
                "object '{}' lies in clear: {}\n  run the same command again once this is settled: it goes on",
                first.object, first.reason
            ))),
        }
    }
}

fn default(bucket: &Entry) -> String {
    let key = bucket.key.as_ref().map(|key| format!(" with key '{key}'")).unwrap_or_default();
    format!("bucket '{}' encrypts by default: {}{key}", bucket.name, bucket.encryption)
}

fn human(report: &Encrypted) -> String {
    let mut text = default(&report.bucket);
    let Some(existing) = &report.existing else { return text };
    let size = indicatif::BinaryBytes(existing.bytes);
    let _ = write!(text, "\n{} objects of {size} were encrypted; their ETags and times are new", existing.objects);
    for Versions { object, versions } in existing.versions_in_clear.iter().take(SHOWN) {
        let _ = write!(text, "\n  {versions} earlier versions of '{object}' stay in clear");
    }
    if existing.versions_in_clear.len() > SHOWN {
        let more = existing.versions_in_clear.len() - SHOWN;
        let _ = write!(text, "\n  and {more} more objects have such versions, which --json lists");
    }
    text
}

async fn entry(session: &Session, name: &str) -> Result<Entry, Error> {
    let s3 = &session.context.s3;
    let found = Coverage::new(&session.stack, name.to_owned(), s3.bucket_encryption(name).await?);
    let (encryption, key) = match found.encryption {
        Some(Encryption::SseKms(key)) => ("sse-kms", Some(key)),
        Some(Encryption::SseS3) => ("sse-s3", Some(session.stack.manifest.default_key.to_string())),
        None => ("none", None),
    };
    let versioning = s3.bucket_versioning(name).await?;
    let (name, encryption, automatic) = (name.to_owned(), encryption.to_owned(), found.automatic);
    Ok(Entry { name, encryption, key, automatic, versioning })
}

async fn list(session: &Session, output: &Output) -> Result<(), Error> {
    let mut buckets = Vec::new();
    for name in session.context.s3.list_buckets().await? {
        buckets.push(entry(session, &name).await?);
    }
    output.result(&Listed { buckets }, |listed| {
        let rows: Vec<_> = listed
            .buckets
            .iter()
            .map(|bucket| {
                let key = bucket.key.clone().unwrap_or_else(|| "-".into());
                vec![bucket.name.clone(), bucket.encryption.clone(), key, bucket.versioning.to_string()]
            })
            .collect();
        table(&["bucket", "encryption", "key", "versioning"], &rows)
    })?;
    Ok(())
}
