//! A container of the pod: created, not yet started.

use async_trait::async_trait;

use super::{Context, Resource};
use crate::engine::{ContainerSpec, LABEL_DIGEST};
use crate::error::Error;
use crate::resource::plan::Observed;

/// A container made from exactly this specification. Whether its program runs is
/// [`super::ServiceResource`]'s business.
#[derive(Debug)]
pub struct ContainerResource {
    /// Its wanted state; carries its digest as a label.
    pub spec: ContainerSpec,
}

#[async_trait]
impl Resource for ContainerResource {
    fn kind(&self) -> &'static str {
        "container"
    }

    fn name(&self) -> String {
        self.spec.name.clone()
    }

    fn wanted(&self) -> String {
        self.spec.labels.get(LABEL_DIGEST).cloned().unwrap_or_default()
    }

    fn within(&self) -> Option<&str> {
        Some(&self.spec.pod)
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        let pod = context.engine.pod(&self.spec.pod).await?;
        let found = pod.iter().flat_map(|pod| &pod.containers).find(|container| container.name == self.spec.name);
        Ok(found.map_or(Observed::Absent, |container| {
            Observed::ready(container.labels.get(LABEL_DIGEST).cloned().unwrap_or_default())
        }))
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        Ok(context.engine.create_container(&self.spec).await?)
    }

    async fn remove(&self, context: &Context) -> Result<(), Error> {
        Ok(context.engine.remove_container(&self.spec.name).await?)
    }
}
