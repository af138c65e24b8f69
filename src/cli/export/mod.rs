//! `kestack export`

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

mod cluster;
mod iam;
mod kubernetes;
mod tenant;

use super::Globals;
use super::output::Output;
use super::session::{Intent, Opened, Wish, environment};
use crate::error::Error;
use crate::export::{self, Deployment, DeploymentWish, PodmanVersion};
use crate::stack::Images;
use crate::supply;

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
    /// A Tenant of MinIO's Operator, with KES beside it
    Tenant(Box<tenant::Tenant>),
    /// Plain manifests of Kubernetes, without an Operator
    Kubernetes(Box<kubernetes::Kubernetes>),
    /// What the keystore's side must allow KES, and no more: policies, roles, and the commands that make them
    Iam(iam::Iam),
}

#[derive(Debug, Args)]
pub(super) struct Machine {
    /// Folder to write to; it must be empty or not exist
    #[arg(short = 'd', long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Where that folder will lie on the machine that runs it [default: the same place]
    #[arg(long, value_name = "DIR")]
    at: Option<PathBuf>,
    /// Write the images that are composed here beside it, to take them to another machine
    #[arg(long)]
    images: bool,
    /// Write over what is in the folder; its certificates and credentials are kept
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Quadlet {
    #[command(flatten)]
    machine: Machine,
    /// Version of Podman on the machine that runs it
    #[arg(long, value_name = "VERSION", default_value = "5.0")]
    podman: PodmanVersion,
}

#[derive(Serialize)]
struct Report {
    name: String,
    target: &'static str,
    folder: String,
    files: Vec<String>,
    notes: Vec<String>,
    next: Vec<String>,
}

impl Export {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), Error> {
        let wish = Opened::of(globals, Intent::Read).await?.wish;
        match self {
            Self::Compose(machine) => machine.run(wish, output, export::compose).await,
            Self::Kube(machine) => machine.run(wish, output, export::kube).await,
            Self::Quadlet(Quadlet { machine, podman }) => {
                machine.run(wish, output, |deployment| export::quadlet(deployment, *podman)).await
            }
            Self::Kubernetes(kubernetes) => kubernetes.run(wish, output).await,
            Self::Iam(iam) => iam.run(wish),
            Self::Tenant(tenant) => tenant.run(wish, output).await,
            Self::Systemd(machine) => machine.run(wish, output, export::systemd).await,
        }
    }
}

impl Machine {
    async fn run(
        &self,
        wish: Wish,
        output: &Output,
        make: impl Fn(&Deployment) -> Result<export::Export, Error>,
    ) -> Result<(), Error> {
        let folder = std::path::absolute(&self.output_dir).map_err(Error::file("find", &self.output_dir))?;
        let at = self.at.as_ref().unwrap_or(&folder);
        let name = wish.manifest.name.to_string();
        let images = Images {
            kes: supply::kes_without_engine(&wish.manifest.kes, &environment)?,
            minio: supply::minio_without_engine(&wish.manifest.minio, &environment)?,
        };
        let warning = supply::warning(&images.minio).await?;
        let deployment = Deployment::resolve(
            wish.manifest,
            images,
            &DeploymentWish {
                folder: &folder,
                at,
                base: &wish.base,
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
        output.result(&report, human)?;
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
