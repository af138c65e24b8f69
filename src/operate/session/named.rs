//! The files that a manifest names.

use super::Options;
use crate::error::Error;
use crate::host::ownership::check_file;
use crate::keystore;

impl Options {
    /// Refuses files that a manifest names, and that somebody else can change, unless the user named that manifest: its
    /// programs are run, and its certificates trusted.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the setting and the file.
    pub(crate) fn check_named_files(&self) -> Result<(), Error> {
        let manifest = &self.manifest;
        for (setting, program) in [("kes.binary", &manifest.kes.binary), ("minio.binary", &manifest.minio.binary)] {
            program.iter().try_for_each(|program| check_file(program, setting))?;
        }
        let run = manifest.seed.run.as_ref().and_then(|run| run.program.as_ref());
        run.iter().try_for_each(|program| check_file(program, "seed.run"))?;
        manifest.seed.policies.iter().try_for_each(|policy| check_file(&policy.file, "seed.policies"))?;
        let files = keystore::files(&manifest.keystore);
        files.iter().try_for_each(|file| check_file(&file.source, "the keystore section"))?;
        Ok(())
    }
}
