//! A file of an earlier start that must not be there any more.

use std::path::PathBuf;

use async_trait::async_trait;

use super::directory::shown;
use super::{Context, Resource};
use crate::error::Error;
use crate::host::disk;
use crate::resource::plan::Observed;

/// A file that is removed.
#[derive(Debug)]
pub struct AbsentFile {
    /// Absolute path.
    pub path: PathBuf,
}

#[async_trait]
impl Resource for AbsentFile {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn name(&self) -> String {
        shown(&self.path)
    }

    fn wanted(&self) -> String {
        "absent".into()
    }

    async fn observe(&self, _: &Context) -> Result<Observed, Error> {
        Ok(Observed::ready(if self.path.exists() { "present" } else { "absent" }))
    }

    async fn create(&self, _: &Context) -> Result<(), Error> {
        Ok(disk::remove(&self.path)?)
    }

    async fn remove(&self, _: &Context) -> Result<(), Error> {
        Ok(disk::remove(&self.path)?)
    }
}
