//! Work while MinIO is stopped: nothing that a client sends is under way then, so the drive shows everything there is.

use std::time::Duration;

use crate::error::Error;
use crate::resource::Context;
use crate::resource::apply::{self, Progress, Stage};
use crate::stack::Stack;

/// How long MinIO may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// Stops MinIO if it runs, does the work, and starts it again whatever came of that. The stack's lock is held. Others start
/// and stop the MinIO of an exported stack, so that one goes on.
///
/// # Errors
/// Those of the engine; else those of the work.
pub(crate) async fn without_minio<T>(
    stack: &Stack,
    context: &Context,
    progress: &dyn Progress,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let pod = context.engine.pod(stack.manifest.name.as_str()).await?;
    if stack.layout.is_exported() || !stack.minio_runs(pod.as_ref()) {
        return work.await;
    }
    let stopped = context.engine.stop_container(&stack.minio_container(), STOP).await;
    let done = match stopped {
        Ok(()) => work.await,
        Err(error) => Err(error.into()),
    };
    apply::up(&[Stage(vec![stack.minio_service()])], context, progress).await?;
    done
}
