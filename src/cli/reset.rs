//! `kestack reset`

use std::time::Instant;

use clap::Args;

use super::Globals;
use super::output::{Output, span};
use super::session::{CHANGE, Opened};
use super::up::Up;
use crate::error::Error;
use crate::operate::reset::{self, Report};
use crate::operate::teardown;
use crate::stack::marker::check_removable;

#[derive(Debug, Args)]
pub(super) struct Reset {
    /// Remove everything, keys too, and bring the stack up again
    #[arg(long)]
    hard: bool,
    /// Also remove from a remote keystore, or from a folder that you named, the keys that this stack created and the
    /// manifest does not declare
    #[arg(long, conflicts_with = "hard")]
    keys: bool,
}

impl Reset {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let start = Instant::now();
        if self.hard {
            return Box::pin(hard(globals, output)).await;
        }
        let session = Opened::of(globals, CHANGE).await?.ready_to_reset().await?;
        let progress = output.progress(session.context.engine.info());
        reset::in_place(&session.stack, &session.context, self.keys, progress.as_ref()).await?;
        let name = session.stack.manifest.name.to_string();
        progress.finished();
        output.done(&Report { name, milliseconds: start.elapsed().as_millis() }, |report| {
            format!("stack '{}' is fresh again after {}", report.name, span(report.milliseconds))
        })?;
        Ok(())
    }
}

/// Under one lock: nobody brings up in between what is about to be made again.
async fn hard(globals: &Globals, output: &Output) -> Result<(), Error> {
    let reached = Opened::of(globals, CHANGE).await?.connect().await?;
    let layout = reached.options.layout();
    check_removable(&layout)?;
    let pod = teardown::pod(reached.engine().as_ref(), &layout, reached.options.manifest.name.as_str()).await?;
    teardown::files(&layout, &mut teardown::Removed::default())?;
    Up::default().bring_up_until(pod.and_then(|pod| pod.expires()), &reached, output).await
}
