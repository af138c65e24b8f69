//! Which key protects what on a stack's drive, as the command line and the interface show it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use crate::data::drive;
use crate::data::guard::KeyRecord;
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::operate::session::Options;

/// What each key protects.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Inventory")]
pub(crate) struct Report {
    /// Name of the stack.
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) inventory: drive::Inventory,
    /// Keys of the record that protect nothing.
    pub(crate) unused_keys: Vec<String>,
}

/// What each key protects on a drive, read without holding up other work.
///
/// # Errors
/// What keeps the drive from being read.
pub(crate) async fn of_drive(drive: PathBuf) -> Result<drive::Inventory, Error> {
    let place = drive.clone();
    blocking("read", &drive, move || drive::take(&place).map_err(Error::file("read", place))).await
}

/// Reads the drive alone: the stack may run or not, KES is not asked.
///
/// # Errors
/// [`Error::NotRunning`] if there is no drive.
pub(crate) async fn take(options: &Options) -> Result<Report, Error> {
    let (layout, name) = (options.layout().seen_by_servers(), options.manifest.name.to_string());
    let drive = layout.drive();
    if !drive.is_dir() {
        return Err(Error::NotRunning(name));
    }
    let inventory = of_drive(drive).await?;
    let record = KeyRecord::load(&layout.guard())?.unwrap_or_default();
    let is_unused = |name: &&str| !inventory.keys.get(*name).is_some_and(drive::KeyUse::protects);
    let unused_keys = record.names().filter(is_unused).map(str::to_owned).collect();
    Ok(Report { name, inventory, unused_keys })
}
