//! An encryption key (EK) in KES.

use async_trait::async_trait;
use kes_server::auth::KeyName;

use super::{Context, Resource};
use crate::error::Error;
use crate::resource::plan::Observed;

/// A key that exists. Its material is never replaced: data depends on it.
#[derive(Debug)]
pub struct KeyResource {
    /// Name of the key.
    pub key: KeyName,
}

#[async_trait]
impl Resource for KeyResource {
    fn kind(&self) -> &'static str {
        "key"
    }

    fn name(&self) -> String {
        self.key.to_string()
    }

    fn wanted(&self) -> String {
        "exists".into()
    }

    async fn observe(&self, context: &Context) -> Result<Observed, Error> {
        match context.kes.describe_key(self.key.as_str()).await {
            Ok(_) => Ok(Observed::ready(self.wanted())),
            Err(error) if error.is_key_not_found() => Ok(Observed::Absent),
            Err(error) if error.is_connection() => Ok(Observed::Unknown),
            Err(error) => Err(error.into()),
        }
    }

    async fn create(&self, context: &Context) -> Result<(), Error> {
        match context.kes.create_key(self.key.as_str()).await {
            Err(error) if !error.is_key_exists() => Err(error.into()),
            _ => Ok(()),
        }
    }

    async fn remove(&self, context: &Context) -> Result<(), Error> {
        context.replicas.delete_key(self.key.as_str()).await?;
        Ok(())
    }
}
