//! Going back to a snapshot.

use std::sync::Arc;

use super::{Options, Reached, bring_up, keystore_environment};
use crate::engine::{Engine, PodState};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::manifest::Seed;
use crate::operate::reset;
use crate::operate::snapshot::{self, Prepared, Servers, SnapshotName};
use crate::resource::apply::Progress;
use crate::stack::{Stack, own_pod};

/// Restores keystore, drive and configuration, and starts the stack again if it ran before; true if it did. Its lock is
/// held. An interrupted restore is rolled back or, once files are being swapped, completed by the next `up`.
///
/// # Errors
/// Those of [`snapshot::prepare`], before anything is changed; then those of the engine and of both servers.
pub(crate) async fn restore(
    reached: &Reached,
    name: &SnapshotName,
    interrupt: &Interrupt,
    progress: &dyn Progress,
) -> Result<bool, Error> {
    reached.recover().await?;
    let engine = reached.engine();
    let mut options = reached.options.clone();
    // the stack is as it was then, not as it would be made
    options.manifest.seed = Seed { is_left_alone: true, ..Seed::default() };
    // whoever listens goes on, and one that does not start must not keep the data from being there
    options.launch = None;
    let layout = options.layout();
    let (starts, committed) = swap(&options, engine, name, interrupt).await?;
    // also after a failure: either everything was exchanged or nothing
    let up = Box::pin(async {
        if starts && !snapshot::is_pending(&layout) {
            bring_up(options, engine.clone(), None, progress).await?;
        }
        Ok(())
    });
    match committed {
        Ok(()) => reset::clearing(&layout.trash(), up).await?,
        Err(error) => return up.await.and(Err(error)),
    }
    Ok(starts)
}

/// Puts a snapshot in the place of what is there, with the servers stopped for which it changes anything: whether MinIO ran,
/// and whether all is exchanged or nothing.
///
/// # Errors
/// Those of [`snapshot::prepare`]: nothing is stopped then.
pub(super) async fn swap(
    options: &Options,
    engine: &Arc<dyn Engine>,
    name: &SnapshotName,
    interrupt: &Interrupt,
) -> Result<(bool, Result<(), Error>), Error> {
    let pod = own_pod(engine.as_ref(), &options.layout(), options.manifest.name.as_str()).await?;
    let prepared = prepare(options, engine, pod.as_ref(), name, interrupt).await?;
    let running = Running::of(options, pod.as_ref());
    let committed = prepared.commit(engine.as_ref(), running.servers(), interrupt).await;
    Ok((running.minio.is_some(), committed))
}

/// Copies the snapshot next to what it will replace, and asks the keystore whether it holds the keys that it needs.
async fn prepare(
    options: &Options,
    engine: &Arc<dyn Engine>,
    pod: Option<&PodState>,
    name: &SnapshotName,
    interrupt: &Interrupt,
) -> Result<Prepared, Error> {
    let former = match Stack::existing(options.manifest.clone(), &options.base, pod) {
        Err(Error::NotRunning(_)) => None,
        former => Some(former?),
    };
    let context = former.as_ref().map(|stack| stack.context(engine.clone())).transpose()?;
    // one with another keystore says nothing of the keys in the keystore that is wanted
    let answers = match &former {
        Some(stack) if stack.kes_runs(pod) => stack.is_configured_keystore(engine.info())? == Some(true),
        _ => false,
    };
    let kes = context.as_ref().filter(|_| answers).map(|context| context.kes.as_ref());
    let keystores = keystore_environment(&options.manifest);
    snapshot::prepare(&options.manifest, &options.layout(), name, kes, &keystores, interrupt).await
}

/// The containers of a stack that run.
struct Running {
    kes: Vec<String>,
    minio: Option<String>,
}

impl Running {
    fn of(options: &Options, pod: Option<&PodState>) -> Self {
        let server = format!("{}-minio-server", options.manifest.name);
        let containers = pod.into_iter().flat_map(|pod| &pod.containers).filter(|container| container.running);
        let (minio, kes): (Vec<_>, _) =
            containers.map(|container| container.name.clone()).partition(|name| *name == server);
        Self { kes, minio: minio.into_iter().next() }
    }

    fn servers(&self) -> Servers<'_> {
        Servers { kes: &self.kes, minio: self.minio.as_deref() }
    }
}
