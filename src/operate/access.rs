//! Whether MinIO may use KES: faults and proofs take that away for a while.

use std::time::Duration;

use crate::engine::Signal;
use crate::error::Error;
use crate::resource::{Context, probe};
use crate::stack::{Stack, kes_config};

/// Longest time KES may take to apply a configuration.
const DEADLINE: Duration = Duration::from_secs(10);

/// Whether KES's configuration lists MinIO's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It does: MinIO may use its keys.
    Allowed,
    /// It does not: KES refuses every call of MinIO.
    Denied,
}

/// Applies a configuration of KES with that access, and returns once every replica answers accordingly.
///
/// # Errors
/// [`Error::Usage`] if the manifest names another keystore than KES has, which would get that one, too; those of the engine
/// and of KES; [`Error::NotReady`] if a replica goes on with the former configuration.
pub(crate) async fn set_access(stack: &Stack, context: &Context, access: Access) -> Result<(), Error> {
    stack.check_keystore(context.engine.info())?;
    let minio = stack.material.minio_identity()?;
    let text = kes_config(stack, context.engine.info(), access == Access::Allowed)?;
    let path = stack.layout.kes_config();
    // In place: the container has this very file mounted, a renamed one would not reach it.
    std::fs::write(&path, text.as_bytes()).map_err(Error::file("write", &path))?;
    for replica in stack.replicas() {
        context.engine.signal_container(&replica.container, Signal::Hup).await?;
        let kes = context.replicas.at(&replica.endpoint)?;
        probe::until_ready("KES with the changed policy", DEADLINE, || async {
            match (access, kes.describe_identity(minio.as_str()).await) {
                (Access::Allowed, Ok(_)) => Ok(()),
                (Access::Denied, Err(error)) if error.status() == Some(404) => Ok(()),
                (Access::Denied, Ok(_)) => Err("MinIO's identity is still known".to_owned()),
                (_, Err(error)) => Err(error.to_string()),
            }
        })
        .await?;
    }
    Ok(())
}
