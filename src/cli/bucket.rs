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
use crate::host::interrupt::Interrupt;
use crate::manifest::BucketName;
use crate::operate::buckets::{self, Entry, Wanted};
use crate::operate::encrypt::{self, Existing, Versions};
use crate::servers::s3::Encryption;

mod delete;

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
    /// Delete buckets; a bucket with objects only with --force
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
    /// Also encrypt the objects in it that are in clear: MinIO copies each onto itself, with its metadata and tags; their
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

impl Bucket {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let intent = match self {
            // copies of objects take long, and nobody else has to wait for them
            Self::Create(_) | Self::Encrypt(_) => ADD,
            Self::Delete(_) => CHANGE,
            Self::List | Self::Info { .. } => Intent::Read,
        };
        let session = interrupt.ends(Session::running(globals, intent)).await?;
        match self {
            Self::Create(options) => output.done(&options.settle(&session).await?.0, default),
            Self::List => list(&session, output).await,
            Self::Delete(delete) => delete.run(&session, output).await,
            Self::Encrypt(encrypt) => encrypt.run(&session, output).await,
            Self::Info { name } => {
                output.result(&buckets::one(&session.stack, &session.context, name.as_str()).await?, |bucket| {
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
    /// The bucket, and the encryption that it has now.
    async fn settle(&self, session: &Session) -> Result<(Entry, Option<Encryption>), Error> {
        let wanted = if self.sse_s3 { Wanted::SseS3 } else { Wanted::SseKms { key: self.key.clone() } };
        let Session { stack, context, .. } = session;
        let encryption = wanted.made(stack, context).await?;
        Ok((buckets::settle(stack, context, &self.name, encryption.clone(), None).await?, encryption))
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
        let (bucket, encryption) = self.options.settle(session).await?;
        let existing = match encryption.filter(|_| self.existing) {
            Some(encryption) => Some(encrypt::existing(&session.stack, s3, name, &encryption).await?),
            None => None,
        };
        let report = Encrypted { bucket, existing };
        output.done(&report, human)?;
        match report.existing.iter().flat_map(|existing| &existing.refused).next() {
            None => Ok(()),
            Some(first) => Err(Error::Verification(format!(
                "object '{}' is in clear: {}\n  solve this, then run the same command again: it continues",
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

async fn list(session: &Session, output: &Output) -> Result<(), Error> {
    output.result(&buckets::list(&session.stack, &session.context).await?, |listed| {
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
