//! KES, MinIO and kestack.yaml in one file, for a machine without network.
//!
//! A bundle is a tar whose first member, `bundle.json`, lists the others with their sizes and hashes. The same content
//! gives the same bytes. Programs serve every engine; an image, where there is no program, those that run containers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod load;
mod save;

pub use load::{Staged, WrittenManifest};
pub use save::{Saved, also_needed, save};

/// Version of the format.
const FORMAT: u32 = 1;
/// Name of the list.
const INDEX: &str = "bundle.json";
/// Name of the text that says whose programs these are.
pub const SOURCES: &str = "SOURCES";
/// Name of the manifest, in the bundle and where it is loaded to.
pub const MANIFEST: &str = "kestack.yaml";
/// Names that a bundle may hold: none of them leads anywhere else.
const NAMES: [&str; 7] = [SOURCES, MANIFEST, "kes", "minio", "silo", "kes.tar", "minio.tar"];

/// The list of a bundle's members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Version of the format.
    pub format: u32,
    /// Version of the kestack that made it.
    pub kestack: String,
    /// Processor that the programs are for, as Rust names it.
    pub architecture: String,
    /// The members, in their order.
    pub members: Vec<Member>,
}

/// One member of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The name of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Its bytes.
    pub size: u64,
    /// 64 hex digits.
    pub sha256: String,
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Text for people.
    Text,
    /// kestack.yaml.
    Manifest,
    /// A static program.
    Program,
    /// A docker-archive.
    Image,
}

/// Something to be put into a bundle.
#[derive(Debug, Clone)]
pub struct Content {
    /// Its name there.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The name of an image.
    pub reference: Option<String>,
    /// Where it is now.
    pub file: PathBuf,
}
