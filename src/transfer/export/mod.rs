//! The same stack past `kestack up`: files for an orchestrator that the user already has.
//!
//! Two models carry all targets. A [`Cluster`] is the stack in Kubernetes: [`tenant()`] for MinIO's Operator,
//! [`kubernetes()`] without it. A [`Deployment`] is the stack on one machine, resolved exactly as `up` resolves it:
//! same folder tree, same containers, so that `kestack verify --dir` proves what others started. A target is one file
//! here and one folder of templates: [`compose()`], [`kube()`], [`quadlet()`] for container engines, [`systemd()`] for bare
//! metal.

use std::path::{Path, PathBuf};

use crate::engine::image::{Archive, ImageError};
use crate::error::Error;
use crate::host::quote::shell_word;
use crate::resource::{DirectoryResource, FileResource};

mod certificates;
mod cluster;
mod compose;
mod deployment;
mod document;
mod iam;
mod identity;
mod kube;
mod kubernetes;
mod monitoring;
mod output;
mod quadlet;
mod schema;
mod systemd;
mod tenant;

pub use crate::keystore::Fleet;
pub use cluster::{Certificates, Cluster, ClusterOptions};
pub use compose::compose;
pub use deployment::{Deployment, DeploymentOptions};
pub use document::{Document, kustomization};
pub use iam::iam;
pub use kube::kube;
pub use kubernetes::{kubernetes, kubernetes_next, kubernetes_notes};
pub use monitoring::Monitoring;
pub use output::write;
pub use quadlet::{PodmanVersion, quadlet};
pub use schema::{check_tenant, tenant_schema};
pub use systemd::systemd;
pub use tenant::{helm_values, tenant, tenant_next, tenant_notes};

/// Mode of what only its owner may read.
const SECRET: u32 = 0o600;
/// Mode of what everybody may read.
const PUBLIC: u32 = 0o644;
/// Mode of a script.
const SCRIPT: u32 = 0o755;

/// What an export consists of. Nothing is written yet.
#[derive(Debug)]
pub struct Export {
    /// Name of the target.
    pub target: &'static str,
    /// Folders to make.
    pub folders: Vec<DirectoryResource>,
    /// Files to write.
    pub files: Vec<FileResource>,
    /// Images to write, with their paths.
    pub images: Vec<(PathBuf, Archive)>,
    /// What the user must know.
    pub notes: Vec<String>,
    /// Commands that go on from here.
    pub next: Vec<String>,
}

/// A file that belongs to whoever exports.
fn file(path: PathBuf, content: &str, mode: u32) -> FileResource {
    FileResource { mode, ..FileResource::private(path, content.as_bytes()) }
}

/// A path as an argument of a shell.
pub(crate) fn quoted(path: &Path) -> String {
    shell_word(&path.display().to_string())
}

/// A request that cannot work.
fn refused(what: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Usage { what: what.into(), hint: hint.into() }
}

/// An image that cannot be read.
fn unreadable(error: ImageError) -> Error {
    Error::Image(error)
}
