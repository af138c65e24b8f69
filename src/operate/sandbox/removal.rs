//! The end of a sandbox: user, bucket and key go, unless a snapshot needs the key.

use serde::Serialize;

use super::{SandboxName, Sandboxes};
use crate::error::Error;
use crate::operate::snapshot::{Snapshot, SnapshotName};

/// A snapshot in which the data of a dropped sandbox is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Kept {
    /// Name of the snapshot.
    pub snapshot: SnapshotName,
    /// Name of the sandbox's key.
    pub key: String,
    /// True if the snapshot holds the key itself. Else the key stays in the keystore for it.
    pub key_inside: bool,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { snapshot, key, key_inside } = self;
        if *key_inside {
            return write!(f, "snapshot '{snapshot}' still holds its data and the key '{key}'");
        }
        write!(
            f,
            "the key '{key}' stays in the keystore, because snapshot '{snapshot}' needs it; `kestack gc` removes it after \
             that snapshot was removed"
        )
    }
}

impl Sandboxes {
    /// Drops a sandbox: its user first, so that nobody writes any more, then the bucket with all objects and
    /// versions, then the key, unless a snapshot without keys needs it. A drop that was killed is finished by the next.
    /// Returns the snapshots that still hold its data.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none of that name.
    pub async fn drop(&self, name: &SandboxName) -> Result<Vec<Kept>, Error> {
        let id = name.resource();
        match self.kes.describe_key(&id).await {
            Err(error) if error.is_key_not_found() => {
                self.find(name).await?;
            }
            known => drop(known.map_err(|error| self.unreached(error))?),
        }
        self.clear(&id).await
    }

    pub(super) async fn clear(&self, id: &str) -> Result<Vec<Kept>, Error> {
        self.s3.remove_user(id).await?;
        self.s3.remove_for_good(id).await?;
        let kept = self.kept(id)?;
        if kept.iter().all(|kept| kept.key_inside) {
            self.replicas.delete_key(id).await?;
        }
        Ok(kept)
    }

    /// The snapshots that hold anything of a sandbox's bucket.
    pub(super) fn kept(&self, id: &str) -> Result<Vec<Kept>, Error> {
        let holds = |snapshot: &Snapshot| {
            let bucket = snapshot.drive(&self.layout).join(id);
            std::fs::read_dir(bucket).is_ok_and(|mut entries| entries.next().is_some())
        };
        let snapshots = Snapshot::list(&self.layout)?.into_iter().filter(holds);
        let kept = snapshots.map(|snapshot| Kept {
            key_inside: snapshot.keys.is_some(),
            snapshot: snapshot.name,
            key: id.to_owned(),
        });
        Ok(kept.collect())
    }
}
