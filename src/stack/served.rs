//! A stack in the foreground: its servers are children of `kestack serve`, which gives them their arguments itself.

use std::path::PathBuf;

use async_trait::async_trait;

use super::files::Access;
use super::view::{View, shown};
use super::{Stack, seed};
use crate::engine::EngineInfo;
use crate::error::Error;
use crate::host::disk;
use crate::resource::apply::Stage;
use crate::resource::plan::Observed;
use crate::resource::{Context, FileResource, GuardRecord, Owner, Resource};

impl Stack {
    /// Makes the folders and files that KES and MinIO read.
    ///
    /// # Errors
    /// Those of the file system; [`Error::Environment`] if somebody else owns one of them.
    pub(crate) fn write_served(&self, engine: &EngineInfo) -> Result<(), Error> {
        let view = View::of(self, engine)?;
        // who takes the drive has made its folders
        let made = [self.layout.drive(), self.layout.keys()];
        for folder in self.directories(Owner::Caller).into_iter().filter(|folder| !made.contains(&folder.path)) {
            folder.make()?;
        }
        // the servers need neither the authority's key nor an environment file
        let unused = [self.layout.minio_env(), self.layout.ca_key(), self.layout.digest_key()];
        let files = self.files(Owner::Caller, &view)?;
        files.iter().filter(|file| !unused.contains(&file.path)).try_for_each(FileResource::make)
    }

    /// Makes the files with which KES serves the keys of somebody else to a MinIO that tries them: nobody makes or deletes a
    /// key, and nothing outside of the stack's own folder is made.
    ///
    /// # Errors
    /// As [`Self::write_served`].
    pub(crate) fn write_read_only(&self, engine: &EngineInfo) -> Result<(), Error> {
        let (view, layout) = (View::of(self, engine)?, &self.layout);
        let own = |path: &PathBuf| path.starts_with(layout.root()) && *path != layout.drive();
        for folder in self.directories(Owner::Caller).into_iter().filter(|folder| own(&folder.path)) {
            folder.make()?;
        }
        let unused =
            [layout.minio_env(), layout.ca_key(), layout.digest_key(), layout.admin_cert(), layout.admin_key()];
        let files = self.files_with(Owner::Caller, &view, Access { minio: true, read_only: true })?;
        files.iter().filter(|file| !unused.contains(&file.path)).try_for_each(FileResource::make)
    }

    /// The variables by which MinIO finds KES, with the key that it takes where nobody names one.
    pub(crate) fn kes_variables(&self, key: &str) -> Vec<(&'static str, String)> {
        let path = |path: PathBuf| shown(&path);
        vec![
            ("MINIO_KMS_KES_ENDPOINT", self.kes_endpoints()),
            ("MINIO_KMS_KES_CERT_FILE", path(self.layout.minio_cert())),
            ("MINIO_KMS_KES_KEY_FILE", path(self.layout.minio_key())),
            ("MINIO_KMS_KES_CAPATH", path(self.layout.ca_cert())),
            ("MINIO_KMS_KES_KEY_NAME", key.to_owned()),
        ]
    }

    /// The folder of a keystore on this host, for people; `None` if the keys are elsewhere.
    pub(crate) fn served_keys(&self) -> Option<PathBuf> {
        self.manifest.keystore_is_fs().then(|| self.keys_folder())
    }

    /// Buckets with their encryption, the record of the keys, and the declared content, once both servers answer. A full drive
    /// keeps none of them from being served, unless a bucket would be without encryption: MinIO may not encrypt everything.
    pub(crate) fn served_stages(&self, encrypts_all: bool) -> Vec<Stage> {
        let mut first = self.bucket_resources();
        if encrypts_all {
            first = first.into_iter().map(|bucket| Box::new(IfRoom(bucket)) as Box<dyn Resource>).collect();
        }
        first.push(Box::new(IfRoom(Box::new(GuardRecord::new(self.guarded(), &self.manifest)))));
        let mut stages = vec![Stage(first)];
        stages.extend(seed::stages(self));
        stages
    }
}

/// Something that the next start makes if the drive is full now: what is there can be read and deleted meanwhile.
#[derive(Debug)]
struct IfRoom(Box<dyn Resource>);

#[async_trait]
impl Resource for IfRoom {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn name(&self) -> String {
        self.0.name()
    }

    fn wanted(&self) -> String {
        self.0.wanted()
    }

    fn within(&self) -> Option<&str> {
        self.0.within()
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        self.0.observe(context).await
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        self.unless_full(self.0.create(context).await)
    }

    async fn remove(&self, context: &Context) -> Result<(), Error> {
        self.0.remove(context).await
    }

    async fn replace(&self, context: &Context) -> Result<(), Error> {
        self.unless_full(self.0.replace(context).await)
    }
}

impl IfRoom {
    fn unless_full(&self, done: Result<(), Error>) -> Result<(), Error> {
        match done {
            Err(error) if is_full(&error) => {
                tracing::warn!("the drive is full: {} '{}' is not as declared: {error}", self.kind(), self.name());
                Ok(())
            }
            done => done,
        }
    }
}

fn is_full(error: &Error) -> bool {
    match error {
        Error::File { source, .. } => disk::is_full(source),
        Error::S3(error) => error.is_full(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::data::guard::Guarded;
    use crate::manifest::Manifest;

    #[test]
    fn only_a_full_drive_is_a_reason_to_go_on() {
        let manifest = Manifest::default();
        let guarded = Guarded::at(&manifest, "/drive".into(), "/drive/guard.json".into(), "/keys".into());
        let record = || Box::new(GuardRecord::new(guarded.clone(), &manifest));
        let failed = |kind: ErrorKind| Err(Error::file("write", "/drive/guard.json")(kind.into()));
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            assert!(IfRoom(record()).unless_full(failed(kind)).is_ok(), "{kind}");
        }
        for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
            assert!(IfRoom(record()).unless_full(failed(kind)).is_err(), "{kind}");
        }
    }
}
