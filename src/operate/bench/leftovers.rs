//! The buckets of a measurement by name, in a file of the stack's folder: whoever comes after a killed one removes them, and
//! no others.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Bucket, Scheme};
use crate::error::Error;
use crate::host::disk::{self, Outlasts, replace};
use crate::host::random;
use crate::operate::session::Reached;
use crate::servers::s3::S3Client;
use crate::stack::{Layout, Stack, own_pod};

/// What the names of these buckets begin with.
const PREFIX: &str = "kestack-bench-";

/// The buckets that there are or may be.
#[derive(Serialize, Deserialize)]
pub(super) struct BenchRecord {
    buckets: Vec<String>,
}

/// A name that nobody else has.
///
/// # Errors
/// [`Error::Environment`] if the system gives no random bytes.
pub(super) fn name(scheme: Scheme) -> Result<String, Error> {
    let id = random::hex::<8>().map_err(Error::no_random_bytes)?;
    Ok(format!("{PREFIX}{scheme}-{}", *id))
}

impl BenchRecord {
    /// Those of this measurement, and those that a killed one left a moment ago: a write that MinIO was working on may bring
    /// one back after its removal.
    pub(super) fn of(buckets: &[Bucket], former: Vec<String>) -> Self {
        Self { buckets: buckets.iter().map(|bucket| bucket.name.clone()).chain(former).collect() }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.buckets.iter().map(String::as_str)
    }

    /// Keeps it before anything is made.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn keep(&self, layout: &Layout) -> Result<(), Error> {
        let (path, text) = (layout.bench(), serde_json::to_vec_pretty(self).unwrap_or_default());
        replace(&path, &text, Outlasts::Process).map_err(Error::file("write", path))
    }
}

/// Removes what a killed measurement left, and returns the names of the buckets. The stack's lock is held.
///
/// # Errors
/// Those of MinIO; then they are still on record.
pub(crate) async fn sweep(layout: &Layout, s3: &S3Client) -> Result<Vec<String>, Error> {
    let Some(text) = disk::read(&layout.bench())? else { return Ok(vec![]) };
    let record: Option<BenchRecord> = serde_json::from_slice(&text).ok();
    // one that was written by half names buckets that were never made
    let mut names = record.map(|record| record.buckets).unwrap_or_default();
    names.retain(|name| name.starts_with(PREFIX));
    drop_buckets(layout, s3, names.iter().map(String::as_str)).await?;
    Ok(names)
}

/// The same of a stack that may run or not; of one that does not, nothing can be removed. The stack's lock is held.
///
/// # Errors
/// Those of the engine and of MinIO.
pub(crate) async fn sweep_of(reached: &Reached) -> Result<(), Error> {
    let (options, engine) = (&reached.options, reached.engine());
    let layout = options.layout();
    if !layout.bench().exists() {
        return Ok(());
    }
    let pod = own_pod(engine.as_ref(), &layout, options.manifest.name.as_str()).await?;
    if !pod.as_ref().is_some_and(|pod| pod.running) {
        return Ok(());
    }
    let stack = Stack::existing(options.manifest.clone(), &options.base, pod.as_ref())?;
    sweep(&layout, &stack.context(Arc::clone(engine))?.s3).await.map(drop)
}

/// Removes those buckets with all that is in them, then the record.
///
/// # Errors
/// Those of MinIO.
pub(super) async fn drop_buckets<'a>(
    layout: &Layout,
    s3: &S3Client,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), Error> {
    for name in names {
        s3.remove_for_good(name).await?;
    }
    Ok(disk::remove(&layout.bench())?)
}
