//! A stack in the foreground: its servers are children of `kestack serve`, which gives them their arguments itself.

use std::path::PathBuf;

use super::view::{View, shown};
use super::{Stack, seed};
use crate::engine::EngineInfo;
use crate::error::Error;
use crate::resource::apply::Stage;
use crate::resource::{FileResource, GuardRecord, Owner};

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

    /// The variables by which MinIO finds KES.
    pub(crate) fn kes_variables(&self) -> Vec<(&'static str, String)> {
        let path = |path: PathBuf| shown(&path);
        vec![
            ("MINIO_KMS_KES_ENDPOINT", self.kes_endpoints()),
            ("MINIO_KMS_KES_CERT_FILE", path(self.layout.minio_cert())),
            ("MINIO_KMS_KES_KEY_FILE", path(self.layout.minio_key())),
            ("MINIO_KMS_KES_CAPATH", path(self.layout.ca_cert())),
            ("MINIO_KMS_KES_KEY_NAME", self.manifest.default_key.to_string()),
        ]
    }

    /// The folder of a keystore on this host, for people; `None` if the keys are elsewhere.
    pub(crate) fn served_keys(&self) -> Option<PathBuf> {
        self.manifest.keystore_is_fs().then(|| self.keys_folder())
    }

    /// Buckets with their encryption, the record of the keys, and the declared content, once both servers answer.
    pub(crate) fn served_stages(&self) -> Vec<Stage> {
        let mut first = self.bucket_resources();
        first.push(Box::new(GuardRecord::new(self.layout.guard(), &self.manifest)));
        let mut stages = vec![Stage(first)];
        stages.extend(seed::stages(self));
        stages
    }
}
