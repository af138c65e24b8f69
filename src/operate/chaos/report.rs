//! What the command line and the interface say of a fault, and the end of one that anybody began.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use super::{Fault, FaultRecord, heal};
use crate::error::Error;
use crate::host::lock::Hold;
use crate::operate::session::{Intent, Opened, Options};

/// A fault that is over.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FaultHealed")]
pub(crate) struct Report {
    /// The fault that was active; null if there was none.
    pub(crate) fault: Option<Fault>,
    /// The seed that repeats it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// How long it lasted.
    pub(crate) milliseconds: u128,
    /// How long it took until both servers answered again.
    pub(crate) healed_after_milliseconds: u128,
}

/// Ends the fault in force, also one of another kestack, which is then asked to end it. KES may be down, so the stack
/// need not run. Waits for the lock no longer than `patience`, if there is one.
///
/// # Errors
/// Those of the engine and of both servers.
pub(crate) async fn end_any(options: Options, patience: Option<Duration>) -> Result<Report, Error> {
    let start = Instant::now();
    let layout = options.layout();
    let played = FaultRecord::read(&layout)?.map(|record| record.fault);
    if played.is_some() {
        FaultRecord::ask_to_end(&layout)?;
    }
    let opened = Opened::within(options, Intent::Write(Hold::Fault), patience).await?;
    let session = opened.connect().await?.session().await?;
    let fault = heal(&session.stack, &session.context).await?.or(played);
    let healed_after_milliseconds = start.elapsed().as_millis();
    Ok(Report { fault, seed: None, milliseconds: 0, healed_after_milliseconds })
}
