//! Steps with their times.

use std::time::Instant;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::now;
use crate::error::Error;

/// Something that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "its name in the file")]
pub(crate) struct Step {
    /// What was done.
    pub(crate) step: String,
    /// When it began.
    #[schemars(with = "String")]
    pub(crate) started: Timestamp,
    /// How long it took.
    pub(crate) milliseconds: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

/// All steps so far.
#[derive(Debug, Default)]
pub(crate) struct Steps(pub(crate) Vec<Step>);

impl Steps {
    /// Does something and notes how long it took, also if it fails.
    ///
    /// # Errors
    /// Those of the work.
    pub(crate) async fn take<T>(
        &mut self,
        step: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let (started, clock) = (now(), Instant::now());
        tracing::info!("{step}");
        let done = work.await;
        let failed = done.as_ref().err().map(ToString::to_string);
        self.0.push(Step { step: step.to_owned(), started, milliseconds: milliseconds(clock), failed });
        done
    }
}

/// The time since then.
pub(crate) fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
