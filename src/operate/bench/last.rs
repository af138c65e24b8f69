//! The last measurement of a stack, in a file of its folder: pages show it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Report;
use crate::error::Error;
use crate::host::disk::{self, Outlasts, replace};
use crate::stack::Layout;

/// A measurement, and when it ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// When it ended.
    pub(crate) at: Timestamp,
    #[serde(flatten)]
    pub(crate) report: Report,
}

impl Measured {
    /// The last one; none if nothing was measured, or another kestack wrote it in another form.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn last(layout: &Layout) -> Result<Option<Self>, Error> {
        let text = disk::read(&layout.measured())?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// A measurement that ended now.
    pub(super) fn now(report: Report) -> Self {
        Self { at: Timestamp::now(), report }
    }

    /// Keeps the result. If it cannot be kept, the measurement is still valid.
    pub(super) fn keep(&self, layout: &Layout) {
        let path = layout.measured();
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        if let Err(error) = replace(&path, &text, Outlasts::Process) {
            tracing::warn!("the figures are not kept for the page: cannot write '{}': {error}", path.display());
        }
    }
}
