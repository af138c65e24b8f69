//! `kestack import`

use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::Globals;
use super::output::Output;
use super::rehearse::Rehearsal;
use crate::error::Error;
use crate::host::disk::create_private;
use crate::host::interrupt::Interrupt;
use crate::host::ownership::check_folder;
use crate::transfer::import::{Found, Imported, translate};

#[derive(Debug, Args)]
pub(super) struct Import {
    /// A folder of the documented procedure, a Compose file with MinIO and KES, or the YAML of a Tenant
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// Folder for kestack.yaml; a folder of the procedure keeps its own
    #[arg(long, value_name = "DIR", default_value = ".")]
    output_dir: PathBuf,
    /// Overwrite an earlier import
    #[arg(long, conflicts_with = "rehearse")]
    force: bool,
    #[command(flatten)]
    rehearse: Rehearsal,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Report {
    /// Name of the stack.
    name: String,
    /// The manifest that was written.
    manifest: String,
    /// All files that were written.
    files: Vec<String>,
    /// Things to know.
    notes: Vec<String>,
    /// Commands to run next.
    next: Vec<String>,
}

impl Import {
    pub(super) async fn run(&self, globals: &Globals, output: &Output, interrupt: &Interrupt) -> Result<(), Error> {
        let folder = std::path::absolute(&self.output_dir).map_err(Error::file("find", &self.output_dir))?;
        let mut found = Found::read(&self.source, &variable)?;
        if let Some(name) = &globals.stack {
            if found.in_place.is_some() {
                return Err(Error::Usage {
                    what: "a folder of the procedure gives the stack its own name".into(),
                    hint: "leave out --name, or rename the folder".into(),
                });
            }
            found.name.clone_from(name);
        }
        if self.rehearse.is_wanted() {
            return Box::pin(self.rehearse.run(found, (&self.source, &folder), output, interrupt)).await;
        }
        let imported = translate(&found, &folder, globals.dir.is_some())?;
        self.write(&imported, found.in_place.is_some())?;
        output.done(&report(&imported), human)?;
        Ok(())
    }

    fn write(&self, imported: &Imported, in_place: bool) -> Result<(), Error> {
        let there = imported.files.iter().find(|file| file.path.exists());
        if let Some(file) = there.filter(|_| !self.force) {
            return Err(Error::Usage {
                what: format!("'{}' already exists", file.path.display()),
                hint: if in_place {
                    "give --force to write it again from the files of before `kestack up`, which config/imported keeps"
                } else {
                    "choose another --output-dir, or give --force to overwrite it"
                }
                .into(),
            });
        }
        for file in &imported.files {
            if let Some(folder) = file.path.parent() {
                create_private(folder)?;
                check_folder(folder)?;
            }
            file.make()?;
        }
        Ok(())
    }
}

/// A variable of the environment, for Compose files: an empty one is set there.
#[expect(clippy::disallowed_methods, reason = "an empty variable differs from one that is not set")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn report(imported: &Imported) -> Report {
    Report {
        name: imported.name.to_string(),
        manifest: imported.manifest.display().to_string(),
        files: imported.files.iter().map(|file| file.path.display().to_string()).collect(),
        notes: imported.notes.clone(),
        next: imported.next.clone(),
    }
}

fn human(report: &Report) -> String {
    let head = format!("'{}' is imported into {}", report.name, report.manifest);
    let notes = report.notes.iter().map(|note| format!("note: {note}"));
    let next = report.next.iter().map(|command| format!("  {command}"));
    [head].into_iter().chain(notes).chain(["next:".into()]).chain(next).collect::<Vec<_>>().join("\n")
}
