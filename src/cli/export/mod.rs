//! `kestack export`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

mod cluster;
mod iam;
mod kubernetes;
mod tenant;

use super::Globals;
use super::output::Output;
use super::session::{Intent, Options, environment};
use crate::error::Error;
use crate::stack::Images;
use crate::supply;
use crate::transfer::export::{self, Deployment, DeploymentOptions, PodmanVersion};

#[derive(Debug, Subcommand)]
pub(super) enum Export {
    /// One file for Compose, with Docker or Podman
    Compose(Machine),
    /// One Pod for `podman kube play`, Podman 4.3 and later
    Kube(Machine),
    /// Units for Podman's systemd generator, Podman 4.4 and later
    Quadlet(Quadlet),
    /// Units of systemd on bare metal
    Systemd(Machine),
    /// A Tenant of MinIO's Operator, with KES next to it
    Tenant(Box<tenant::Tenant>),
    /// Plain manifests of Kubernetes, without an Operator
    Kubernetes(Box<kubernetes::Kubernetes>),
    /// The minimal permissions of KES at the keystore: policies, roles, and the commands that create them
    Iam(iam::Iam),
}

#[derive(Debug, Args)]
pub(super) struct Machine {
    /// Folder to write to; it must be empty or not exist
    #[arg(short = 'd', long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Path of that folder on the machine that runs the stack [default: the same]
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// Also write the images that are composed here, to take them to another machine
    #[arg(long)]
    images: bool,
    /// Overwrite the files in the folder; its certificates and credentials are kept
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Quadlet {
    #[command(flatten)]
    machine: Machine,
    /// Version of Podman on the machine that runs the stack
    #[arg(long, value_name = "VERSION", default_value = "5.0")]
    podman: PodmanVersion,
}

#[derive(Serialize, JsonSchema)]
pub(in crate::cli) struct Report {
    /// Name of the stack.
    name: String,
    /// The kind of the export.
    target: &'static str,
    /// The folder that was written.
    folder: String,
    /// Files in it.
    files: Vec<String>,
    /// Things to know.
    notes: Vec<String>,
    /// Commands to run next.
    next: Vec<String>,
}

/// An export that was not written into a folder.
#[derive(Serialize, JsonSchema)]
pub(in crate::cli) struct Printed {
    /// The kind of the export.
    target: &'static str,
    /// The documents. Some hold credentials.
    documents: Vec<Named>,
    /// Things to know.
    notes: Vec<String>,
    /// Commands to run next.
    next: Vec<String>,
}

/// A document and its name.
#[derive(Serialize, JsonSchema)]
struct Named {
    /// Name of its file.
    name: String,
    /// Its text.
    text: String,
}

fn printed(documents: &[export::Document]) -> Vec<Named> {
    documents.iter().map(|document| Named { name: document.name.clone(), text: document.text.to_string() }).collect()
}

impl Export {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let options = Options::load(globals, Intent::Read)?;
        match self {
            Self::Compose(machine) => machine.run(options, output, export::compose).await,
            Self::Kube(machine) => machine.run(options, output, export::kube).await,
            Self::Quadlet(Quadlet { machine, podman }) => {
                machine.run(options, output, |deployment| export::quadlet(deployment, *podman)).await
            }
            Self::Kubernetes(kubernetes) => kubernetes.run(options, output).await,
            Self::Iam(iam) => iam.run(options, output),
            Self::Tenant(tenant) => tenant.run(options, output).await,
            Self::Systemd(machine) => machine.run(options, output, export::systemd).await,
        }
    }
}

impl Machine {
    async fn run(
        &self,
        options: Options,
        output: &Output,
        make: impl Fn(&Deployment) -> Result<export::Export, Error>,
    ) -> Result<(), Error> {
        let folder = std::path::absolute(&self.output_dir).map_err(Error::file("find", &self.output_dir))?;
        let at = self.at.as_ref().unwrap_or(&folder);
        let name = options.manifest.name.to_string();
        let images = Images {
            kes: supply::kes_without_engine(&options.manifest.kes, &environment)?,
            minio: supply::minio_without_engine(&options.manifest.minio, &environment)?,
        };
        let warning = supply::warning(&images.minio, &environment).await?;
        let deployment = Deployment::resolve(
            options.manifest,
            images,
            &DeploymentOptions {
                folder: &folder,
                at,
                base: &options.base,
                archives: self.images,
                caller: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            },
        )?;
        let mut export = make(&deployment)?;
        export
            .notes
            .extend(warning.map(|warning| format!("{warning}; name another with `minio.image` in kestack.yaml")));
        let report = report(name, &folder, &export);
        export::write(export, &folder, self.force).await?;
        output.done(&report, human)?;
        Ok(())
    }
}

fn report(name: String, folder: &Path, export: &export::Export) -> Report {
    let shown = |path: &Path| path.strip_prefix(folder).unwrap_or(path).display().to_string();
    let images = export.images.iter().map(|(path, _)| shown(path));
    Report {
        name,
        target: export.target,
        folder: folder.display().to_string(),
        files: export.files.iter().map(|file| shown(&file.path)).chain(images).collect(),
        notes: export.notes.clone(),
        next: export.next.clone(),
    }
}

fn human(report: &Report) -> String {
    let head = [format!("'{}' for {} is in {}", report.name, report.target, report.folder)];
    let files = report.files.iter().map(|file| format!("  {file}"));
    let notes = report.notes.iter().map(|note| format!("note: {note}"));
    let next = report.next.iter().map(|command| format!("  {command}"));
    let lines: Vec<_> = head.into_iter().chain(files).chain(notes).chain(["next:".into()]).chain(next).collect();
    lines.join("\n")
}
