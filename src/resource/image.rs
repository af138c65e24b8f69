//! An image that must be in the engine's store.

use async_trait::async_trait;

use super::{Context, Resource};
use crate::error::Error;
use crate::resource::apply::Silent;
use crate::resource::plan::Observed;
use crate::supply::ImageSource;

/// An image, known by ID before it exists (docs/architecture.md §3.13).
#[derive(Debug)]
pub struct ImageResource {
    /// Its role: `kes` or `minio`.
    pub role: &'static str,
    /// Its source if it is absent.
    pub source: ImageSource,
}

#[async_trait]
impl Resource for ImageResource {
    fn kind(&self) -> &'static str {
        "image"
    }

    fn name(&self) -> String {
        format!("{} {}", self.role, self.source)
    }

    fn wanted(&self) -> String {
        self.source.reference().to_owned()
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        Ok(match context.engine.image(self.source.reference()).await? {
            Some(_) => Observed::ready(self.wanted()),
            None => Observed::Absent,
        })
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        Ok(self.source.obtain(context.engine.as_ref(), &Silent).await?)
    }

    /// Images are kept: they are shared by stacks and cost seconds to load.
    async fn remove(&self, _: &Context) -> Result<(), Error> {
        Ok(())
    }
}
