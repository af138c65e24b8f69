//! Things that must exist. Each kind can be observed, created and removed, all of it again and again
//! (docs/architecture.md §3.1).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use kes_server::client::Client;

use crate::engine::Engine;
use crate::error::Error;
use crate::resource::plan::Observed;
use crate::servers::replicas::Replicas;
use crate::servers::s3::S3Client;

mod absent;
pub mod apply;
mod bucket;
mod container;
mod directory;
mod file;
mod guard;
mod image;
pub(crate) mod interface;
mod key;
pub mod plan;
mod pod;
pub mod probe;
mod sealed;
mod service;

pub use absent::AbsentFile;
pub use bucket::{BucketResource, Kept};
pub use container::ContainerResource;
pub use directory::DirectoryResource;
pub use file::FileResource;
pub use guard::{GuardCheck, GuardRecord};
pub use image::ImageResource;
pub use key::KeyResource;
pub use pod::PodResource;
pub use sealed::SealedKeys;
pub use service::{Probe, ServiceResource};

/// The means of resources: the engine and the stack's two servers.
#[derive(Clone)]
pub struct Context {
    /// The container engine.
    pub engine: Arc<dyn Engine>,
    /// KES, as the stack's admin; whichever replica answers.
    pub kes: Arc<Client>,
    /// Each server of KES by itself.
    pub replicas: Replicas,
    /// MinIO, as its root user.
    pub s3: S3Client,
}

/// One thing of a stack.
#[async_trait]
pub trait Resource: fmt::Debug + Send + Sync {
    /// The kind, one word: `pod`, `file`, …
    fn kind(&self) -> &'static str;

    /// The name people know it by.
    fn name(&self) -> String;

    /// Digest of its wanted state.
    fn wanted(&self) -> String;

    /// Name of the resource it lives in, and dies with.
    fn within(&self) -> Option<&str> {
        None
    }

    /// Looks at it, changes nothing.
    async fn observe(&self, context: &Context) -> Result<Observed, Error>;

    /// Makes it. Returns when it can be used.
    async fn create(&self, context: &Context) -> Result<(), Error>;

    /// Removes it; what is absent is removed.
    async fn remove(&self, context: &Context) -> Result<(), Error>;

    /// Brings an existing one to the wanted state.
    async fn replace(&self, context: &Context) -> Result<(), Error> {
        self.remove(context).await?;
        self.create(context).await
    }
}

/// The owner of a file or folder on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Owner {
    /// Whoever runs kestack.
    Caller,
    /// The uid and gid that the containers' processes have, as the host sees them.
    Container {
        /// User and group number; `None` where the caller already is that user (rootless `keep-id`, processes).
        id: Option<u32>,
    },
}

impl Owner {
    fn id(self) -> Option<u32> {
        match self {
            Self::Caller => None,
            Self::Container { id } => id,
        }
    }
}
