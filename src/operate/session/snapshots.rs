//! Snapshots of a stack whose lock is held.

use std::time::Instant;

use super::{Opened, Reached, restore, run_by_others};
use crate::error::Error;
use crate::host::interrupt::Interrupt;
use crate::operate::snapshot::{self, Removed, Restored, Saved, Snapshot, SnapshotName};
use crate::resource::apply::Progress;

impl Opened {
    /// Refuses what only whoever starts and stops the stack can do.
    ///
    /// # Errors
    /// [`Error::Usage`] for an exported stack.
    pub(crate) fn refuse_exported(&self) -> Result<(), Error> {
        self.options.refuse_served()?;
        if !self.options.layout().is_exported() {
            return Ok(());
        }
        Err(run_by_others("take a snapshot of the stack of `kestack up`"))
    }

    /// Removes snapshots, after all of them were found.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none of a name; else if one cannot be removed.
    pub(crate) fn remove_snapshots(&self, names: &[SnapshotName]) -> Result<Removed, Error> {
        let layout = self.options.layout();
        snapshot::refuse_pending(&layout)?;
        for name in names {
            Snapshot::find(&layout, name)?;
        }
        for name in names {
            Snapshot::remove(&layout, name)?;
        }
        Ok(Removed { removed: names.to_vec() })
    }
}

impl Reached {
    /// Takes a snapshot.
    ///
    /// # Errors
    /// As [`snapshot::save`].
    pub(crate) async fn save_snapshot(
        self,
        name: &SnapshotName,
        interrupt: &Interrupt,
        progress: &dyn Progress,
    ) -> Result<Saved, Error> {
        let start = Instant::now();
        self.recover().await?;
        let session = interrupt.ends(self.session()).await?;
        session.stack.check_keystore(session.context.engine.info())?;
        let (snapshot, stopped) = snapshot::save(&session.stack, &session.context, name, interrupt, progress).await?;
        Ok(Saved { snapshot, milliseconds: start.elapsed().as_millis(), stopped_milliseconds: stopped.as_millis() })
    }

    /// Goes back to a snapshot.
    ///
    /// # Errors
    /// As [`restore()`].
    pub(crate) async fn restore_snapshot(
        &self,
        name: &SnapshotName,
        interrupt: &Interrupt,
        progress: &dyn Progress,
    ) -> Result<Restored, Error> {
        let start = Instant::now();
        let started = restore(self, name, interrupt, progress).await?;
        Ok(Restored { name: name.clone(), milliseconds: start.elapsed().as_millis(), started })
    }
}
