//! Back to the fresh stack: an empty drive, the declared keys and buckets, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use crate::data::guard::KeyRecord;
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::disk::{self, clear, create_private};
use crate::manifest::EngineKind;
use crate::operate::fresh;
use crate::resource::Context;
use crate::resource::apply::{self, Progress, Step};
use crate::stack::Stack;
use crate::stack::seed;

/// A stack that was reset.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "Reset")]
pub(crate) struct Report {
    /// Name of the stack.
    pub(crate) name: String,
    /// How long it took.
    pub(crate) milliseconds: u128,
}

/// Resets a running stack. KES and the pod keep running; MinIO is stopped, because it holds users, policies and
/// its drive's layout in memory, the drive is emptied, and the data stages of the recipe are walked again. Where nothing
/// was written since the last reset, nothing is done.
///
/// Keys that are not declared are removed: all of them in the stack's own folder; in a remote keystore and in a folder that
/// the user named only with `keys`, and then only those that this stack made.
pub async fn in_place(
    stack: &Stack,
    context: &Context,
    keys: bool,
    progress: &dyn Progress,
) -> Result<Vec<Step>, Error> {
    if context.engine.info().kind == EngineKind::Systemd {
        return Err(Error::Usage {
            what: "systemd runs this stack, and kestack does not empty its drive".into(),
            hint: "remove its buckets, or bring up a stack for tests with `kestack up`".into(),
        });
    }
    stack.check_keystore(context.engine.info())?;
    if fresh::is(stack, context).await? {
        return Ok(vec![]);
    }
    // without it a killed reset is done again
    disk::remove(&stack.layout.fresh())?;
    context.engine.stop_container(&stack.minio_container(), Duration::from_secs(10)).await?;
    set_aside(stack)?;
    // whenever this is killed, there are keys without data, never data without its keys
    KeyRecord::forget(&stack.layout.guard())?;
    seed::SeedRecord::forget(&stack.layout)?;
    undeclared_keys(stack, context, keys).await?;
    let steps = clearing(&stack.layout.trash(), apply::up(&stack.data_stages(), context, progress)).await?;
    fresh::remember(stack, context).await?;
    Ok(steps)
}

/// Moves what is on the drive out of MinIO's sight: one rename per entry, whatever is below it. Thousands of
/// objects are then deleted while nobody waits for them. A reset that was killed leaves either a full drive or
/// an empty one, and its trash goes with the next one.
fn set_aside(stack: &Stack) -> Result<(), Error> {
    let (drive, trash) = (stack.layout.drive(), stack.layout.trash());
    clear(&trash)?;
    create_private(&trash)?;
    for entry in std::fs::read_dir(&drive).map_err(Error::file("read", &drive))? {
        let entry = entry.map_err(Error::file("read", &drive))?;
        let target = trash.join(entry.file_name());
        std::fs::rename(entry.path(), &target).map_err(Error::file("move away", entry.path()))?;
    }
    Ok(())
}

/// Clears the trash while something else is done.
pub(crate) async fn clearing<T>(trash: &Path, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let place = trash.to_owned();
    let (cleared, done) = tokio::join!(blocking("remove", trash, move || clear(&place)), work);
    done.and_then(|done| Ok(cleared.map(|()| done)?))
}

async fn undeclared_keys(stack: &Stack, context: &Context, wanted: bool) -> Result<(), Error> {
    let all = stack.manifest.keys_are_own();
    if !all && !wanted {
        return Ok(());
    }
    let ours: BTreeSet<_> =
        [stack.material.admin_identity()?.to_string(), stack.material.minio_identity()?.to_string()].into();
    for name in context.kes.list_keys("").await? {
        // A name that KES could not have made is not ours to delete.
        let Ok(key) = name.parse() else { continue };
        if stack.manifest.keys.contains(&key) {
            continue;
        }
        if !all {
            let known = match context.kes.describe_key(&name).await {
                Err(error) if error.is_key_not_found() => continue,
                known => known?,
            };
            if !ours.contains(&known.created_by) {
                continue;
            }
        }
        context.replicas.delete_key(&name).await?;
    }
    Ok(())
}
