//! `kestack inventory`

use std::fmt::Write as _;

use clap::Args;

use super::Globals;
use super::output::{Output, table};
use super::session::{Intent, Opened};
use crate::data::drive::Count;
use crate::error::Error;
use crate::operate::inventory::{self, Report};

#[derive(Debug, Args)]
pub(super) struct Inventory {}

impl Inventory {
    /// Reads the drive alone: the stack may run or not, KES is not asked.
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let options = Opened::of(globals, Intent::Read).await?.options;
        output.result(&inventory::take(&options).await?, human)?;
        Ok(())
    }
}

fn human(report: &Report) -> String {
    let inventory = &report.inventory;
    let mut rows = Vec::new();
    for (key, used) in &inventory.keys {
        rows.extend(used.buckets.iter().map(|(bucket, count)| row(key, bucket, *count)));
        for (count, what) in [(used.uploads, "(unfinished uploads)"), (used.minio_files, "(MinIO's configuration)")] {
            if count > 0 {
                rows.push(vec![key.clone(), what.into(), count.to_string(), "-".into(), "-".into()]);
            }
        }
    }
    for (protection, buckets) in [("(client's)", &inventory.client_keys), ("NONE", &inventory.unencrypted)] {
        rows.extend(buckets.iter().map(|(bucket, count)| row(protection, bucket, *count)));
    }
    let mut text = table(&["key", "bucket", "objects", "versions", "size"], &rows);
    for key in &report.unused_keys {
        let default = inventory.keys.get(key).map(|used| used.default_of.iter().cloned().collect::<Vec<_>>());
        let default = default.filter(|buckets| !buckets.is_empty()).map(|buckets| buckets.join(", "));
        let default = default.map(|buckets| format!(" yet; it is the default key of {buckets}")).unwrap_or_default();
        let _ = write!(text, "\nkey '{key}' protects nothing{default}");
    }
    if inventory.not_understood > 0 {
        let _ = write!(text, "\nkestack does not understand the form of {} versions", inventory.not_understood);
    }
    text
}

fn row(key: &str, bucket: &str, count: Count) -> Vec<String> {
    let size = indicatif::BinaryBytes(count.bytes).to_string();
    vec![key.to_owned(), bucket.to_owned(), count.objects.to_string(), count.versions.to_string(), size]
}
