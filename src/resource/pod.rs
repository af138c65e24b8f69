//! The pod: one network namespace, its published ports.

use async_trait::async_trait;

use super::{Context, Resource};
use crate::engine::{LABEL_DIGEST, PodSpec};
use crate::error::Error;
use crate::plan::Observed;

/// A pod that runs exactly as specified, or is made again: a half-started pod is never repaired
/// (design.md D6b).
#[derive(Debug)]
pub struct PodResource {
    /// What it shall be; carries its digest as a label.
    pub spec: PodSpec,
}

#[async_trait]
impl Resource for PodResource {
    fn kind(&self) -> &'static str {
        "pod"
    }

    fn name(&self) -> String {
        self.spec.name.clone()
    }

    fn wanted(&self) -> String {
        self.spec.labels.get(LABEL_DIGEST).cloned().unwrap_or_default()
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        Ok(match context.engine.pod(&self.spec.name).await? {
            None => Observed::Absent,
            Some(pod) => Observed::Present {
                digest: pod.labels.get(LABEL_DIGEST).cloned().unwrap_or_default(),
                usable: pod.running,
            },
        })
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        Ok(context.engine.create_pod(&self.spec).await?)
    }

    async fn remove(&self, context: &Context) -> Result<(), Error> {
        Ok(context.engine.remove_pod(&self.spec.name).await?)
    }
}
