//! Removes sandboxes whose lease is over, and the remains of killed commands.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::{Kept, PREFIX, SandboxName, Sandboxes};
use crate::error::Error;

/// How long a sandbox may take to be made or dropped. What is not complete after that never will be.
const GRACE: Duration = Duration::from_secs(600);

/// Why a sandbox was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stale {
    /// Its lease is over.
    Expired,
    /// Whoever made or dropped it was killed.
    Unfinished,
}

/// A sandbox that was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Dropped {
    /// Its name.
    pub name: String,
    /// Why.
    pub why: Stale,
    /// Snapshots that still hold its data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
}

impl Sandboxes {
    /// Drops what is stale at `now`; the rest is left alone, whatever its age.
    pub async fn sweep(&self, now: Timestamp) -> Result<Vec<Dropped>, Error> {
        let all = self.list().await?;
        let whole: BTreeSet<_> =
            all.iter().filter(|sandbox| sandbox.created.is_some()).map(|sandbox| sandbox.name.to_string()).collect();
        let expired = all.iter().filter(|sandbox| sandbox.expired(now)).map(|sandbox| sandbox.name.clone());
        let mut stale: Vec<_> = expired.map(|name| (name, Stale::Expired)).collect();
        for key in self.kes.list_keys(PREFIX).await? {
            let Some(name) = SandboxName::of_resource(&key) else { continue };
            let unfinished = !whole.contains(name.as_str()) && self.abandoned(&key, now).await?;
            if unfinished && self.kept(&key)?.iter().all(|kept| kept.key_inside) {
                stale.push((name, Stale::Unfinished));
            }
        }
        let mut dropped = Vec::new();
        for (name, why) in stale {
            let kept = self.clear(&name.resource()).await?;
            dropped.push(Dropped { name: name.to_string(), why, kept });
        }
        Ok(dropped)
    }

    /// True if the key of a sandbox that is not complete is too old for one that is just being made.
    async fn abandoned(&self, key: &str, now: Timestamp) -> Result<bool, Error> {
        let known = match self.kes.describe_key(key).await {
            Err(error) if error.is_key_not_found() => return Ok(false),
            known => known?,
        };
        let made: Option<Timestamp> = known.created_at.parse().ok();
        Ok(made.is_some_and(|made| now.duration_since(made).unsigned_abs() > GRACE && made < now))
    }
}
