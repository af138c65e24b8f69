//! The fault that is in force, recorded for the command that has to repair it.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Fault;
use super::system::FileSize;
use crate::error::Error;
use crate::host::disk;
use crate::resource::FileResource;
use crate::stack::Layout;

/// A fault that may be in force, and what was before. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// Which fault.
    pub fault: Fault,
    /// When it is to be over; `None` if it lasts until it is undone.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// The keystore's folder and its permission bits, if they were changed.
    pub(super) keys: Option<(PathBuf, u32)>,
    /// True if the folder was marked as immutable.
    #[serde(default)]
    pub(super) immutable: bool,
    /// KES's limit for the size of files and the most it may be raised to, if it was lowered.
    pub(super) file_size: Option<FileSize>,
    /// KES's own certificate, if another was put in its place.
    pub(super) certificate: Option<String>,
}

impl FaultRecord {
    pub(super) fn new(fault: Fault, until: Option<Timestamp>) -> Self {
        Self { fault, until, keys: None, immutable: false, file_size: None, certificate: None }
    }

    /// The record of a stack; `None` if all is well.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(layout: &Layout) -> Result<Option<Self>, Error> {
        let path = layout.fault();
        let Some(text) = disk::read(&path)? else { return Ok(None) };
        let record = serde_json::from_slice(&text).map_err(std::io::Error::from);
        record.map(Some).map_err(Error::file("read", &path))
    }

    /// Keeps it completely or not at all.
    pub(super) fn write(&self, layout: &Layout) -> Result<(), Error> {
        FileResource::json(layout.fault(), self)?.make()
    }

    /// All is well again.
    pub(crate) fn remove(layout: &Layout) -> Result<(), Error> {
        disk::remove(&layout.fault())?;
        Ok(disk::remove(&layout.fault_end())?)
    }

    /// Asks whoever plays the fault to end it, and returns at once.
    ///
    /// # Errors
    /// If that cannot be written down.
    pub fn ask_to_end(layout: &Layout) -> Result<(), Error> {
        FileResource::private(layout.fault_end(), b"").make()
    }
}

impl std::fmt::Display for FaultRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.until.map(|until| until.strftime("%H:%M:%S UTC")) {
            Some(until) => write!(f, "the fault {} is in force until {until}", self.fault),
            None => write!(f, "the fault {} is in force", self.fault),
        }
    }
}
