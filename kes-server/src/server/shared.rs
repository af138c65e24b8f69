//! State that all connections share.

use std::{net::SocketAddr, sync::Arc};

use tokio::sync::{oneshot, watch};

use super::{
    Reload, ServeError, ServeOptions, banner,
    connections::Connections,
    material::{Material, Surroundings},
    trust::Terms,
};
use crate::{api::Service, auth::ApiKey, config::Level, keystore::Tally, log::Log, metrics::Metrics, process};

/// State that all connections share.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) service: Arc<Service>,
    pub(super) tls: watch::Sender<Terms>,
    pub(super) connections: Connections,
    pub(super) around: Surroundings,
}

/// What is there before a configuration is loaded.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) around: Surroundings,
    metrics: Metrics,
    version: (&'static str, &'static str),
    pub(super) reload: Option<Reload>,
    pub(super) listening: Option<oneshot::Sender<SocketAddr>>,
}

impl Frame {
    pub(super) fn new(options: ServeOptions) -> Result<Self, ServeError> {
        let metrics = Metrics::new()?;
        let log = Arc::new(Log::new(options.stderr, options.stdout, &metrics));
        let warnings = Arc::clone(&log);
        let tally = Tally::new()?;
        metrics.show(tally.collectors())?;
        let environment = options.environment.with_warnings_to(move |text| warnings.error(Level::WARN, text));
        let environment = environment.with_tally(tally);
        let around = Surroundings { environment, patience: options.patience, log };
        let version = (options.version, options.commit);
        Ok(Self { around, metrics, version, reload: options.reload, listening: options.listening })
    }
}

impl Shared {
    /// Prints the banner, checks what is left to check and makes everything ready to serve.
    pub(super) async fn start(
        material: Material,
        frame: Frame,
        draining: watch::Receiver<bool>,
        api_key: Option<&ApiKey>,
    ) -> Result<Self, ServeError> {
        let Material { config, tls, keystore, .. } = material;
        let Frame { around, metrics, version, .. } = frame;
        let log = Arc::clone(&around.log);
        log.set_levels(config.error_level, config.audit_level);
        log.print(&banner::banner(&config, &keystore.to_string(), version, api_key));
        let state = Material::state(&config, keystore, &around, None).await?;
        metrics.certificates_end(tls.end, tls.authority_end());
        let service = Service::new(log, metrics, version, draining, state);
        let connections = Connections::within(process::raise_file_limit());
        Ok(Self { service: Arc::new(service), tls: watch::Sender::new(tls), connections, around })
    }

    /// Puts other terms of TLS in force.
    pub(super) fn take(&self, tls: Terms) {
        self.service.metrics.certificates_end(tls.end, tls.authority_end());
        Terms::replace(&self.tls, tls);
    }
}
