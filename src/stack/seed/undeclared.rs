//! What was declared once and is not any more. It stays, and is named.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::declared::{lifecycle, notifications};
use super::record::SeedRecord;
use crate::error::Error;
use crate::resource::plan::Observed;
use crate::resource::{Context, Resource};
use crate::servers::s3::{S3Client, S3Error};
use crate::stack::{Layout, Stack};

/// How many are named; there may be thousands of objects.
const NAMED: usize = 10;

/// Names what stays.
#[derive(Debug)]
pub(super) struct Undeclared {
    layout: Layout,
    declared: BTreeSet<String>,
}

impl Undeclared {
    pub(super) fn of(stack: &Stack) -> Self {
        let seed = &stack.manifest.seed;
        let mut declared: BTreeSet<_> = lifecycle(seed).chain(notifications(seed)).map(|how| how.id()).collect();
        declared.extend(seed.policies.iter().map(|policy| format!("policy {}", policy.name)));
        declared.extend(seed.users.iter().map(|user| format!("user {}", user.name)));
        declared.extend(seed.access_keys.iter().map(|key| format!("access-key {}", key.name)));
        for folder in &stack.seed.folders {
            let bucket = &folder.declared.bucket;
            declared.extend(folder.files.iter().map(|entry| format!("object {bucket}/{}", entry.key)));
        }
        declared.insert(super::command::ID.to_owned());
        Self { layout: stack.layout.clone(), declared }
    }

    /// What is recorded, not declared, and still there.
    async fn left(&self, s3: &S3Client) -> Result<Vec<String>, Error> {
        let mut left = Vec::new();
        for id in SeedRecord::load(&self.layout)?.items.into_keys().filter(|id| !self.declared.contains(id)) {
            if left.len() > NAMED || is_there(s3, &id).await? {
                left.push(id);
            }
        }
        Ok(left)
    }
}

async fn is_there(s3: &S3Client, id: &str) -> Result<bool, S3Error> {
    let Some((kind, name)) = id.split_once(' ') else { return Ok(false) };
    let found = match (kind, name.split_once('/')) {
        ("object", Some((bucket, key))) => s3.head_object(bucket, key).await.map(|_| true),
        ("policy", _) => s3.policy(name).await.map(|found| found.is_some()),
        ("user", _) => s3.user(name).await.map(|found| found.is_some()),
        ("access-key", _) => s3.lets_in(name, "not known any more").await.map(|found| found.is_some()),
        ("lifecycle", _) => s3.bucket_lifecycle(name).await.map(|found| found.is_some()),
        _ => Ok(true),
    };
    match found {
        Err(error) if error.is_not_found() => Ok(false),
        found => found,
    }
}

#[async_trait]
impl Resource for Undeclared {
    fn kind(&self) -> &'static str {
        "seed"
    }

    fn name(&self) -> String {
        "what is not declared any more".into()
    }

    fn wanted(&self) -> String {
        "named".into()
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let left = match self.left(&context.s3).await {
            Err(Error::S3(error)) if error.is_connection() => return Ok(Observed::ready(self.wanted())),
            left => left?,
        };
        if !left.is_empty() {
            let more = left.len().saturating_sub(NAMED);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let named = left.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
            tracing::warn!(
                "not in `seed:` any more, but still in the stack: {named}{more}; remove them yourself, or with `kestack reset`"
            );
        }
        Ok(Observed::ready(self.wanted()))
    }

    async fn create(&self, _: &Context) -> Result<(), Error> {
        Ok(())
    }

    async fn remove(&self, _: &Context) -> Result<(), Error> {
        Ok(())
    }
}
