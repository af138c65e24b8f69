//! What all connections share.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{ServeError, ServeOptions, banner, material::Material};
use crate::{api::Service, auth::ApiKey, keystore::Environment, log::Log, metrics::Metrics};

/// What all connections share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) service: Arc<Service>,
    /// For handshakes to come.
    pub(super) tls: Arc<ArcSwap<ServerConfig>>,
    pub(super) connections: Connections,
    pub(super) environment: Environment,
}

/// How many connections there may be: enough for every client, few enough to stay within the memory of a small host.
const MAX_CONNECTIONS: u32 = 10_000;

/// The connections there are.
#[derive(Debug, Clone)]
pub(super) struct Connections(Arc<Semaphore>);

impl Shared {
    /// Prints the banner, checks what is left to check and makes everything ready to serve.
    pub(super) async fn start(
        material: Material,
        options: ServeOptions,
        draining: watch::Receiver<bool>,
        api_key: Option<&ApiKey>,
    ) -> Result<Self, ServeError> {
        let Material { config, tls, keystore } = material;
        let metrics = Metrics::new()?;
        let environment = options.environment;
        let log = Log::new(options.stderr, options.stdout, &metrics);
        log.set_levels(config.error_level, config.audit_level);
        let version = (options.version, options.commit);
        log.print(&banner::banner(&config, &keystore.to_string(), version, api_key));
        let state = Material::state(&config, keystore).await?;
        let service = Service::new(log, metrics, version, draining, state);
        let connections = Connections(Arc::new(Semaphore::new(MAX_CONNECTIONS as usize)));
        Ok(Self { service: Arc::new(service), tls: Arc::new(ArcSwap::new(tls)), connections, environment })
    }
}

impl Connections {
    /// Waits until there may be one more; it counts until the permit is dropped.
    pub(super) async fn admit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }

    /// Waits until there are none.
    pub(super) async fn idle(&self) {
        drop(self.0.acquire_many(MAX_CONNECTIONS).await);
    }
}
