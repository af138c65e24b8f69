//! `/v1/buckets`

use axum::extract::State;
use kes_server::auth::KeyName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Interface;
use super::answer::{Answered, found, made};
use super::call::Patience;
use super::given::{Asked, Given, Named, invalid, named};
use super::problem::Problem;
use super::reach::Reach;
use crate::host::lock::Hold;
use crate::manifest::BucketName;
use crate::operate::buckets::{self, Deleted, Entry, Listed};

/// A bucket as it is to be.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Its name.
    #[schemars(regex(pattern = super::surface::BUCKET))]
    pub(super) name: String,
    /// Its default encryption.
    #[serde(default)]
    pub(super) encryption: Encryption,
    /// Key for SSE-KMS, created if it does not exist; without one the stack's default key.
    #[schemars(regex(pattern = super::surface::KEY))]
    pub(super) key: Option<String>,
    /// Whether it keeps versions; without a value that stays as it is.
    pub(super) versioning: Option<bool>,
}

/// Default encryption of a bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Encryption {
    /// SSE-KMS.
    #[default]
    SseKms,
    /// SSE-S3.
    SseS3,
    /// None.
    None,
}

/// How a bucket is deleted.
#[derive(Deserialize)]
pub(super) struct Deletion {
    #[serde(default)]
    pub(super) force: bool,
}

impl Wanted {
    fn encryption(&self) -> Result<buckets::Wanted, Problem> {
        let key: Option<KeyName> = self.key.as_deref().map(named).transpose()?;
        match (self.encryption, key) {
            (Encryption::SseKms, key) => Ok(buckets::Wanted::SseKms { key }),
            (Encryption::SseS3, None) => Ok(buckets::Wanted::SseS3),
            (Encryption::None, None) => Ok(buckets::Wanted::None),
            (_, Some(_)) => Err(invalid("only sse-kms has a key of its own".into())),
        }
    }
}

pub(super) async fn list(State(interface): State<Interface>) -> Answered<Listed> {
    let reach = interface.0.known.running().await?;
    found(buckets::list(reach.stack(), reach.context()).await)
}

pub(super) async fn one(State(interface): State<Interface>, Named(name): Named<BucketName>) -> Answered<Entry> {
    let reach = interface.0.known.running().await?;
    found(buckets::one(reach.stack(), reach.context(), name.as_str()).await)
}

pub(super) async fn create(
    State(interface): State<Interface>,
    patience: Patience,
    Given(wanted): Given<Wanted>,
) -> Answered<Entry> {
    settle(interface, patience, wanted, false).await
}

/// Makes a bucket; one that exists gets these settings, unless it has to be `new`.
pub(super) async fn settle(interface: Interface, patience: Patience, wanted: Wanted, new: bool) -> Answered<Entry> {
    let (name, encryption): (BucketName, _) = (named(&wanted.name)?, wanted.encryption()?);
    let create = async move |reach: Reach| {
        let (stack, context) = (reach.stack(), reach.context());
        if new {
            buckets::check_new(context, &name).await?;
        }
        let encryption = encryption.made(stack, context).await?;
        buckets::settle(stack, context, &name, encryption, wanted.versioning).await
    };
    let created = interface.change(Hold::Add, patience, create).await;
    interface.tell_all("bucket", "created", created.iter().map(|bucket| &bucket.name));
    made(created)
}

pub(super) async fn delete(
    State(interface): State<Interface>,
    Named(name): Named<BucketName>,
    Asked(Deletion { force }): Asked<Deletion>,
    patience: Patience,
) -> Answered<Deleted> {
    let names = [name];
    let delete = async move |reach: Reach| {
        for name in &names {
            buckets::check_deletable(reach.context(), name, force).await?;
        }
        buckets::delete(reach.stack(), reach.context(), &names, force).await
    };
    let deleted = interface.change(Hold::Change, patience, delete).await;
    interface.tell_all("bucket", "deleted", deleted.iter().flat_map(|deleted| &deleted.deleted));
    found(deleted)
}
