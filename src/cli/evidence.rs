//! Files of evidence, which several verbs write.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::Versioned;
use crate::error::Error;
use crate::host::disk::folder_of;
use crate::operate::evidence::{Document, Target, page};

#[derive(Debug, Args)]
pub(super) struct Evidence {
    /// Write the evidence to this file, as JSON with a schema; it must not exist yet
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// Write the evidence to this file, as an HTML page for people; it must not exist yet
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
}

/// The files that are wanted.
pub(super) struct Targets {
    evidence: Option<Target>,
    page: Option<Target>,
}

impl Evidence {
    /// Makes sure, before there is anything to write, that these files can be written.
    pub(super) fn targets(&self) -> Result<Targets, Error> {
        let target = |path: &Option<PathBuf>| path.as_deref().map(Target::new).transpose();
        if let (Some(evidence), Some(page)) = (&self.evidence, &self.page)
            && place(evidence) == place(page)
        {
            return Err(Error::Usage {
                what: format!("--evidence and --page name the same file '{}'", page.display()),
                hint: "name two files".into(),
            });
        }
        Ok(Targets { evidence: target(&self.evidence)?, page: target(&self.page)? })
    }
}

/// Where a file will be: its folder without links, and its name.
fn place(file: &Path) -> (Option<PathBuf>, Option<&OsStr>) {
    let folder = folder_of(file);
    (folder.canonicalize().ok(), file.file_name())
}

/// The error of the work, which has an exit code of its own; evidence that could not be written is a warning then.
pub(super) fn after(written: Result<(), Error>, error: Error) -> Error {
    if let Err(why) = written {
        tracing::warn!("{why}");
    }
    error
}

impl Targets {
    /// True if anything is to be written.
    pub(super) fn are_wanted(&self) -> bool {
        self.evidence.is_some() || self.page.is_some()
    }

    pub(super) fn write(&self, document: &Document) -> Result<(), Error> {
        if let Some(target) = &self.evidence {
            let text = serde_json::to_string_pretty(&Versioned::new(document));
            let text = text.map_err(|error| Error::Output(error.into()))?;
            target.write(format!("{text}\n").as_bytes())?;
        }
        if let Some(target) = &self.page {
            target.write(page(document)?.as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_for_both_is_refused_before_anything_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| Some(folder.path().join(name));
        for (one, other, fine) in [("a", "b", true), ("a", "a", false), ("a", "./a", false)] {
            let files = Evidence { evidence: path(one), page: path(other) };
            assert_eq!(files.targets().is_ok(), fine, "{one} {other}");
        }
    }

    #[test]
    fn the_error_of_the_work_keeps_its_exit_code() {
        let unwritten = Err(Error::Environment { what: "no room".into(), hint: "make some".into() });
        assert_eq!(after(unwritten, Error::Verification("b".into())).exit_code(), 5);
    }
}
