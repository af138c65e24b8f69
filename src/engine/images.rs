//! What only engines with containers have: a store of images.

use std::collections::BTreeMap;
use std::path::Path;

use async_trait::async_trait;

use super::EngineError;
use super::image::Archive;

/// An image in the engine's store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageDescription {
    /// 64 hex digits.
    pub id: String,
    /// Its names, with their tags.
    pub tags: Vec<String>,
    /// Its names with the digests that registries have it under.
    pub digests: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The program that it runs, and first arguments.
    pub entrypoint: Vec<String>,
    /// Bytes of its layers, unpacked.
    pub size: u64,
}

/// The images of an engine. As with [`super::Engine`], what is already so is success.
#[async_trait]
pub trait ImageStore: Send + Sync {
    /// What is known of a present image, `None` if it is not there.
    async fn describe(&self, reference: &str) -> Result<Option<ImageDescription>, EngineError>;

    /// Writes a present image into a new file, as a docker-archive tar.
    async fn save(&self, reference: &str, to: &Path) -> Result<(), EngineError>;

    /// Loads an image from a docker-archive tar (docs/containers.md §3).
    async fn load(&self, archive: Archive) -> Result<(), EngineError>;

    /// Pulls an image from its registry.
    async fn pull(&self, reference: &str) -> Result<(), EngineError>;

    /// Gives a present image another name, of the form `repository:tag`.
    async fn tag(&self, reference: &str, name: &str) -> Result<(), EngineError>;

    /// Removes the images that kestack composed for a role (`kes` or `minio`), unless a container uses them, and keeps
    /// the one that `keep` names.
    async fn remove_former(&self, role: &str, keep: &str) -> Result<(), EngineError>;
}
