//! Files of evidence, which several verbs write.

use std::path::PathBuf;

use clap::Args;

use super::output::Versioned;
use crate::error::Error;
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
        Ok(Targets { evidence: target(&self.evidence)?, page: target(&self.page)? })
    }
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
