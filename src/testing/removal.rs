//! The end of a stack that nobody needs any more.

use std::time::Duration;

use super::work::{block_on, reach};
use crate::engine::Engine;
use crate::error::Error;
use crate::host::lock::Hold;
use crate::operate::session::Options;
use crate::operate::snapshot::Snapshot;
use crate::operate::teardown;

/// How long the removal of a dropped stack may take.
const LONGEST: Duration = Duration::from_secs(30);

/// Removes a stack when it is dropped, if it is to.
pub(super) struct Removal {
    pub(super) options: Options,
    /// True if nobody else removes it, and nobody else had it before.
    pub(super) is_due: bool,
}

impl Drop for Removal {
    fn drop(&mut self) {
        if !self.is_due {
            return;
        }
        let options = self.options.clone();
        // on a thread and a runtime of its own: this one may be about to end
        let removed = std::thread::spawn(move || block_on(remove_dropped(options))).join();
        if let Ok(Err(error)) = removed {
            tracing::warn!("stack '{}' stays until its lease is over: {error}", self.options.manifest.name);
        }
    }
}

async fn remove_dropped(options: Options) -> Result<(), Error> {
    let work = async {
        let reached = reach(options, Hold::Change).await?;
        remove(&reached.options, reached.engine().as_ref()).await
    };
    tokio::time::timeout(LONGEST, work).await.unwrap_or_else(|_| {
        Err(Error::Environment {
            what: format!("it could not be removed within {} s", LONGEST.as_secs()),
            hint: "remove it with `kestack gc` once its lease is over".into(),
        })
    })
}

/// Removes the stack with all it has. Its lock is held.
///
/// # Errors
/// Those of the engine and of its files.
pub(super) async fn remove(options: &Options, engine: &dyn Engine) -> Result<(), Error> {
    let layout = options.layout();
    for found in Snapshot::list(&layout)? {
        Snapshot::remove(&layout, &found.name)?;
    }
    teardown::stack(engine, &layout, options.manifest.name.as_str(), true).await.map(drop)
}
