//! The right to call a route (docs/kes-protocol.md §3).

use std::{sync::Arc, time::Duration};

use super::{
    Peer, Service, State,
    error::ApiError,
    route::{Auth, Match},
};
use crate::{
    auth::{Access, Identity},
    config::Level,
    keystore::{Cache, Connection},
    log::Subject,
    metrics::Metrics,
};

/// A call that may be served. Handlers require one, and only [`authorize`] makes it.
#[derive(Debug)]
pub(super) struct Authorized<'a> {
    service: &'a Arc<Service>,
    state: &'a State,
    identity: Option<&'a Identity>,
    path: &'a str,
    resource: &'a str,
    timeout: Option<Duration>,
    reads_labels: bool,
}

impl<'a> Authorized<'a> {
    pub(super) fn service(&self) -> &'a Arc<Service> {
        self.service
    }

    pub(super) fn state(&self) -> &'a State {
        self.state
    }

    pub(super) fn access(&self) -> &'a Access {
        &self.state.access
    }

    pub(super) fn keys(&self) -> &'a Cache<Connection> {
        &self.state.keys
    }

    pub(super) fn metrics(&self) -> &'a Metrics {
        &self.service.metrics
    }

    /// For a caller that reads families with several members, or does not.
    pub(super) fn with_labels(self, reads_labels: bool) -> Self {
        Self { reads_labels, ..self }
    }

    /// Whether the caller reads families with several members: clients of MinIO KES refuse them.
    pub(super) fn reads_labels(&self) -> bool {
        self.reads_labels
    }

    /// The caller; nobody on routes that do not ask.
    pub(super) fn identity(&self) -> Option<&'a Identity> {
        self.identity
    }

    /// What policies were asked about.
    pub(super) fn path(&self) -> &'a str {
        self.path
    }

    /// How long the answer may take.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// What follows the route's prefix in the path.
    pub(super) fn resource(&self) -> &'a str {
        self.resource
    }
}

/// Lets a call through or refuses it. Refusals are logged with the rule that decided, at DEBUG as MinIO KES does: a
/// stranger causes as many as it likes.
pub(super) fn authorize<'a>(
    service: &'a Arc<Service>,
    state: &'a State,
    peer: &'a Peer,
    found: Match<'a>,
    subject: Subject<'_>,
) -> Result<Authorized<'a>, ApiError> {
    let Match { path, resource, effective, .. } = found;
    let timeout = effective.timeout;
    let authorized = |identity| Authorized { service, state, identity, path, resource, timeout, reads_labels: false };
    if found.effective.auth == Auth::None {
        return Ok(authorized(peer.identity.as_ref().ok()));
    }
    let identity = peer.identity.as_ref().map_err(|error| {
        service.metrics.refused_certificate();
        ApiError::Certificate(*error)
    })?;
    let decision = state.access.decide(identity, found.path);
    if decision.is_allowed() {
        return Ok(authorized(Some(identity)));
    }
    service.metrics.refused_by_policy();
    service.log.request_error(Level::DEBUG, &format!("access denied: {decision}"), subject);
    Err(ApiError::Denied)
}
