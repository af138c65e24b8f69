//! Another MinIO on the same data: it is announced, a snapshot is taken before, and the oldest object under every key must
//! open after it. Whoever brings the stack up goes back otherwise (docs/upgrades.md).
//!
//! The record next to the drive says which MinIO was seen to serve it, and which change is under way: an `up` that was
//! killed is continued by the next one, with the same snapshot.

use std::time::Duration;

use crate::data::drive::{self, Item};
use crate::error::Error;
use crate::host::blocking::blocking;
use crate::host::interrupt::Interrupt;
use crate::operate::session::environment;
use crate::operate::snapshot::{self, Snapshot, SnapshotName};
use crate::resource::apply::{self, Progress, Stage};
use crate::resource::{Context, probe};
use crate::servers::s3::S3Client;
use crate::stack::{Layout, Stack};
use crate::supply::{ImageSource, Release};

mod prove;
mod record;

use prove::prove;
use record::{Change, Record};

/// How long a MinIO that is ready may take to say so.
const GLANCE: Duration = Duration::from_secs(3);
/// How long MinIO may take to stop.
const STOP: Duration = Duration::from_secs(10);

/// Which MinIO had the drive, and which will have it.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    layout: Layout,
    source: ImageSource,
    record: Option<Record>,
    now: Release,
}

/// A change that has begun: the former MinIO is stopped, and its data saved.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    exchange: Exchange,
    /// The former one.
    pub(crate) from: Release,
    /// The new one.
    pub(crate) to: Release,
    /// The snapshot that holds the data from before the change.
    pub(crate) snapshot: Option<SnapshotName>,
    /// What must open afterwards.
    oldest: Vec<Item>,
}

impl Exchange {
    /// Looks at the record and at what a source gives. Nothing is changed.
    ///
    /// # Errors
    /// Those of the record and of the engine.
    pub(crate) async fn of(layout: &Layout, source: &ImageSource, context: &Context) -> Result<Self, Error> {
        let record = Record::load(layout)?;
        let known = record.as_ref().map(|record| &record.minio);
        let now = Release::of(source, context.engine.as_ref(), known, &environment).await?;
        Ok(Self { layout: layout.clone(), source: source.clone(), record, now })
    }

    /// If the data was another MinIO's, or a change is not proven: stops that one, takes the snapshot if `with_snapshot`,
    /// and writes down that the change begins.
    ///
    /// # Errors
    /// [`Error::Environment`] if there is no room for the snapshot; then the former MinIO goes on.
    pub(crate) async fn begin(
        self,
        stack: &Stack,
        context: &Context,
        with_snapshot: bool,
        progress: &dyn Progress,
    ) -> Result<Option<Begun>, Error> {
        let Some(record) = self.record.clone().filter(|_| drive::holds_data(&self.layout.drive())) else {
            return Ok(None);
        };
        if record.change.is_none() && !record.minio.differs(&self.now) {
            return Ok(None);
        }
        tracing::info!("another MinIO on this data: {} instead of {}", self.now, record.minio);
        let former = record.change.clone().and_then(|change| change.snapshot);
        let snapshot = former.or_else(|| with_snapshot.then(|| SnapshotName::before("minio")));
        let change = Change { to: self.now.clone(), snapshot: snapshot.clone() };
        let (from, to) = (record.minio.clone(), self.now.clone());
        Record::changing(from.clone(), change).save(&self.layout)?;
        match self.save(stack, context, snapshot.as_ref(), progress).await {
            Ok(oldest) => Ok(Some(Begun { exchange: self, from, to, snapshot, oldest })),
            Err(error) => {
                // with the snapshot of an earlier one that was killed
                record.save(&self.layout)?;
                Err(error)
            }
        }
    }

    /// Stops the former MinIO, so that nothing is written which the snapshot has not, and looks for the oldest objects.
    async fn save(
        &self,
        stack: &Stack,
        context: &Context,
        name: Option<&SnapshotName>,
        progress: &dyn Progress,
    ) -> Result<Vec<Item>, Error> {
        let pod = context.engine.pod(stack.manifest.name.as_str()).await?;
        let ran = stack.minio_runs(pod.as_ref());
        if ran {
            context.engine.stop_container(&stack.minio_container(), STOP).await?;
        }
        let saved = self.saved(stack, context, name, progress).await;
        if saved.is_err() && ran {
            apply::up(&[Stage(vec![stack.minio_service()])], context, progress).await?;
        }
        saved
    }

    async fn saved(
        &self,
        stack: &Stack,
        context: &Context,
        name: Option<&SnapshotName>,
        progress: &dyn Progress,
    ) -> Result<Vec<Item>, Error> {
        let mut drive = self.layout.drive();
        if let Some(name) = name {
            // a killed `up` took its snapshot before the change, too
            if !self.layout.snapshots().join(name.to_string()).exists() {
                let taken = snapshot::save(stack, context, name, &Interrupt::default(), progress).await;
                taken.map_err(|error| not_saved(&error))?;
            }
            drive = Snapshot::find(&self.layout, name)?.drive(&self.layout);
        }
        let place = drive.clone();
        let look = move || drive::oldest(&place).map_err(Error::file("read", place));
        blocking("read", &drive, look).await
    }

    /// Writes down that this MinIO serves the data, as the engine knows it now.
    ///
    /// # Errors
    /// Those of the engine; [`Error::File`] if the record cannot be written.
    pub(crate) async fn settled(&self, context: &Context) -> Result<(), Error> {
        if self.record.as_ref() == Some(&Record::new(self.now.clone())) {
            return Ok(());
        }
        let now = Release::of(&self.source, context.engine.as_ref(), Some(&self.now), &environment).await?;
        Record::new(now).save(&self.layout)
    }
}

impl Begun {
    /// Reads the oldest object under every key by the new MinIO.
    ///
    /// # Errors
    /// [`Error::Verification`] naming the object that does not open.
    pub(crate) async fn prove(&self, context: &Context) -> Result<(), Error> {
        let Self { from, to, snapshot, oldest, .. } = self;
        for item in oldest {
            prove(&context.s3, item).await?;
        }
        let kept = snapshot.as_ref().map(|name| {
            format!("; snapshot '{name}' has the data from before, until `kestack snapshot remove {name}`")
        });
        let count = oldest.len();
        tracing::info!(
            "{to} reads the data of {from}: the oldest object under each key, {count} in all{}",
            kept.unwrap_or_default()
        );
        Ok(())
    }

    /// Looks whose failure it is that kept the stack from coming up. A new MinIO that opens everything stays, whatever else
    /// failed; clients may have written already. The change goes on with the next `up` if nobody knows.
    ///
    /// # Errors
    /// Why the new MinIO does not serve the data.
    pub(crate) async fn judge(&self, cause: Error, container: &str, context: &Context) -> Result<Error, Error> {
        if is_of_minio(&cause, container) {
            return Err(cause);
        }
        if !matches!(tokio::time::timeout(GLANCE, context.s3.health("ready")).await, Ok(Ok(()))) {
            tracing::warn!("{} is not proven yet: the next `kestack up` goes on with the change", self.to);
            return Ok(cause);
        }
        self.prove(context).await?;
        if let Err(error) = self.exchange.settled(context).await {
            tracing::debug!(%error, "the next `up` proves it again");
        }
        Ok(cause)
    }

    /// Forgets the change, once the former MinIO may have its data again.
    ///
    /// # Errors
    /// [`Error::File`] if the record cannot be written.
    pub(crate) fn given_up(&self) -> Result<(), Error> {
        Record::new(self.from.clone()).save(&self.exchange.layout)
    }
}

/// The MinIO that was last seen to serve the data of a stack; `None` if the stack's folder does not say so.
///
/// # Errors
/// Those of the record.
#[cfg(feature = "cli")]
pub(crate) fn serving(layout: &Layout) -> Result<Option<Release>, Error> {
    Ok(Record::load(layout)?.map(|record| record.minio))
}

/// True if the new MinIO does not start, does not become ready, or does not open an object.
fn is_of_minio(cause: &Error, container: &str) -> bool {
    match cause {
        Error::Verification(_) => true,
        Error::NotReady { what, .. } | Error::Ended { what, .. } => what == "MinIO" || what == container,
        Error::Engine(error) => error.refuses(container),
        _ => false,
    }
}

fn not_saved(error: &Error) -> Error {
    Error::Environment {
        what: format!("MinIO was not changed, because the snapshot before it could not be taken: {error}"),
        hint: "make room, or continue without a snapshot: `kestack up --no-snapshot`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineError, Obstacle};

    #[test]
    fn only_failures_of_minio_are_its_own() {
        let refused = |call: &str| {
            let (obstacle, message) = (Obstacle::Other, "exec format error".to_owned());
            Error::Engine(EngineError::Refused { call: call.to_owned(), obstacle, message, hint: None })
        };
        let late = |what: &str| Error::NotReady { what: what.into(), after: GLANCE, last: "503".into() };
        let ended = |what: &str| Error::Ended { what: what.into(), code: 3, said: String::new() };
        let container = "mine-minio-server";
        for cause in [
            Error::Verification("object 'o' does not open".into()),
            late("MinIO"),
            ended("MinIO"),
            ended(container),
            refused("podman start mine-minio-server"),
        ] {
            assert!(is_of_minio(&cause, container), "{cause}");
        }
        for cause in [
            late("KES"),
            ended("KES"),
            late("MinIO's console"),
            refused("podman start mine-kes-server"),
            Error::Usage { what: "the seed command ended with 1".into(), hint: String::new() },
        ] {
            assert!(!is_of_minio(&cause, container), "{cause}");
        }
    }
}
