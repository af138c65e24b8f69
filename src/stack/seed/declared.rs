//! Policies, users, access keys and rules of buckets: the content of MinIO other than objects.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::record::{Item, SeedRecord};
use crate::error::Error;
use crate::host::digest::{self, SecretKey};
use crate::manifest::{LifecycleRule, NotificationRule, Seed};
use crate::resource::plan::Observed;
use crate::resource::{Context, Resource};
use crate::servers::admin;
use crate::servers::s3::{S3Client, S3Error};
use crate::stack::{Layout, Stack};

/// A thing that MinIO holds as declared. What it says of the thing is compared with what it said right after the thing was
/// made: so a change by hand is seen, whatever form MinIO stores it in.
#[derive(Debug)]
pub(super) struct Declared {
    layout: Layout,
    secrets: SecretKey,
    how: How,
}

/// One declared item, and the call that makes it.
pub(super) enum How {
    Policy { name: String, policy: Value },
    User { name: String, secret: Zeroizing<String>, policies: String },
    AccessKey { name: String, secret: Zeroizing<String>, user: String, policy: Option<Value> },
    Lifecycle { bucket: String, rules: Vec<LifecycleRule> },
    Notifications { bucket: String, rules: Vec<NotificationRule> },
}

/// The lifecycle of each bucket, whose rules MinIO takes all at once.
pub(super) fn lifecycle(seed: &Seed) -> impl Iterator<Item = How> {
    let mut all: BTreeMap<String, Vec<LifecycleRule>> = BTreeMap::new();
    for rule in &seed.lifecycle {
        all.entry(rule.bucket.to_string()).or_default().push(rule.clone());
    }
    all.into_iter().map(|(bucket, rules)| How::Lifecycle { bucket, rules })
}

/// The notifications of each bucket, the same.
pub(super) fn notifications(seed: &Seed) -> impl Iterator<Item = How> {
    let mut all: BTreeMap<String, Vec<NotificationRule>> = BTreeMap::new();
    for rule in &seed.notifications {
        all.entry(rule.bucket.to_string()).or_default().push(rule.clone());
    }
    all.into_iter().map(|(bucket, rules)| How::Notifications { bucket, rules })
}

impl std::fmt::Debug for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.id())
    }
}

impl How {
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Policy { name, .. } => ("policy", name),
            Self::User { name, .. } => ("user", name),
            Self::AccessKey { name, .. } => ("access-key", name),
            Self::Lifecycle { bucket, .. } => ("lifecycle", bucket),
            Self::Notifications { bucket, .. } => ("notifications", bucket),
        }
    }

    /// Its name in the record.
    pub(super) fn id(&self) -> String {
        let (kind, name) = self.parts();
        format!("{kind} {name}")
    }

    /// All that is declared of it; secrets too.
    fn content(&self) -> Zeroizing<String> {
        let content = match self {
            Self::Policy { policy, .. } => json!(policy),
            Self::User { secret, policies, .. } => json!([secret.as_str(), policies]),
            Self::AccessKey { secret, user, policy, .. } => json!([secret.as_str(), user, policy]),
            Self::Lifecycle { rules, .. } => json!(format!("{rules:?}")),
            Self::Notifications { rules, .. } => json!(format!("{rules:?}")),
        };
        Zeroizing::new(content.to_string())
    }

    /// What MinIO says of it; `None` if it is not there.
    async fn look(&self, s3: &S3Client) -> Result<Option<String>, S3Error> {
        match self {
            Self::Policy { name, .. } => s3.policy(name).await,
            Self::User { name, secret, .. } => {
                let Some(said) = s3.user(name).await? else { return Ok(None) };
                Ok(Some(format!("{said} {:?}", s3.lets_in(name, secret).await?)))
            }
            Self::AccessKey { name, secret, .. } => {
                Ok(s3.lets_in(name, secret).await?.map(|has_its_secret| format!("{has_its_secret}")))
            }
            Self::Lifecycle { bucket, .. } => s3.bucket_lifecycle(bucket).await,
            Self::Notifications { bucket, .. } => s3.bucket_notifications(bucket).await.map(Some),
        }
    }

    async fn make(&self, s3: &S3Client) -> Result<(), Error> {
        match self {
            Self::Policy { name, policy } => self.import(s3, &[("policies.json", json!({ name: policy }))]).await,
            Self::User { name, secret, policies } => {
                let mut files =
                    vec![("users.json", json!({ name: { "secretKey": secret.as_str(), "status": "enabled" } }))];
                if !policies.is_empty() {
                    files.push(("user_mappings.json", json!({ name: { "version": 1, "policy": policies } })));
                } else if s3.user(name).await?.is_some() {
                    // MinIO takes no mapping to nothing: with the user all that it had goes
                    s3.remove_user(name).await?;
                }
                self.import(s3, &files).await
            }
            Self::AccessKey { name, secret, user, policy } => {
                let account = json!({
                    "parent": user, "accessKey": name, "secretKey": secret.as_str(), "groups": null, "claims": {},
                    "sessionPolicy": policy, "status": "on", "name": name, "description": "declared in kestack.yaml",
                });
                self.import(s3, &[("svcaccts.json", json!({ name: account }))]).await
            }
            Self::Lifecycle { bucket, rules } => Ok(s3.put_bucket_lifecycle(bucket, rules).await?),
            Self::Notifications { bucket, rules } => Ok(s3.put_bucket_notifications(bucket, rules).await?),
        }
    }

    async fn import(&self, s3: &S3Client, files: &[(&str, Value)]) -> Result<(), Error> {
        let archive = admin::archive(files).map_err(Error::file("pack", "iam-assets.zip"))?;
        if s3.import_iam(archive).await?.whole() {
            return Ok(());
        }
        let (kind, name) = self.parts();
        Err(Error::Environment {
            what: format!("MinIO refused {kind} '{name}' of `seed:`"),
            hint: "choose another name, if the root user or someone else has it; `kestack logs` shows more".into(),
        })
    }
}

impl Declared {
    pub(super) fn new(stack: &Stack, how: How) -> Self {
        Self { layout: stack.layout.clone(), secrets: stack.material.digests(), how }
    }

    async fn settle(&self, context: &Context) -> Result<(), Error> {
        self.how.make(&context.s3).await?;
        let found = self.how.look(&context.s3).await?.ok_or_else(|| Error::Environment {
            what: format!("MinIO accepted {} of `seed:`, but does not have it", self.how.id()),
            hint: "`kestack logs` shows what MinIO says".into(),
        })?;
        SeedRecord::add(&self.layout, [(self.how.id(), Item { declared: self.wanted(), found: digest::of(&found) })])
    }
}

#[async_trait]
impl Resource for Declared {
    fn kind(&self) -> &'static str {
        self.how.parts().0
    }

    fn name(&self) -> String {
        self.how.parts().1.to_owned()
    }

    fn wanted(&self) -> String {
        self.secrets.tag(self.how.content().as_bytes())
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let found = match self.how.look(&context.s3).await {
            Err(error) if error.is_connection() => return Ok(Observed::Unknown),
            Err(error) if error.is_no_bucket() => None,
            found => found?,
        };
        let Some(found) = found else { return Ok(Observed::Absent) };
        let item = SeedRecord::load(&self.layout)?.items.remove(&self.how.id()).unwrap_or_default();
        let digest = if item.found == digest::of(&found) { item.declared } else { "changed by hand".into() };
        Ok(Observed::ready(digest))
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        self.settle(context).await
    }

    /// Whatever is declared lives and dies with the drive.
    async fn remove(&self, _: &Context) -> Result<(), Error> {
        Ok(())
    }

    async fn replace(&self, context: &Context) -> Result<(), Error> {
        self.settle(context).await
    }
}
