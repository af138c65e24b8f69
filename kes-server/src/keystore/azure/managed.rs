//! The identity of the machine or service that we run on.

use std::time::Duration;

use reqwest::{RequestBuilder, Url};

use super::super::http::{Failure, Http, Retry, Settings, Trust, endpoint, join};
use super::super::{Environment, KeyStoreError};
use super::challenge::Challenge;
use super::credential::{Denied, Granted, granted};
use super::vault;
use crate::config::Secret;

/// The metadata service of virtual machines and Kubernetes nodes (IMDS).
const METADATA: &str = "http://169.254.169.254";
/// How long to look whether there is a metadata service.
const PROBE: Duration = Duration::from_secs(1);

/// A managed identity.
#[derive(Debug)]
pub(super) struct Managed {
    service: Service,
    /// Both services are next to us: no proxy leads to them, and it must not see what they say.
    http: Http,
    /// Which identity, if there are several.
    client: Option<String>,
    /// Whether to look first if the service is there.
    probe: bool,
}

#[derive(Debug)]
enum Service {
    Metadata(Url),
    AppService { endpoint: Url, header: Secret },
}

impl Managed {
    /// The service that the environment shows, or why there is none that can be used.
    ///
    /// # Errors
    /// If a variable is not a URL.
    pub(super) fn of(
        environment: &Environment,
        client: Option<String>,
        probe: bool,
    ) -> Result<Result<Self, &'static str>, KeyStoreError> {
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let service = match (set("IDENTITY_ENDPOINT"), set("IDENTITY_HEADER")) {
            (Some(_), Some(_)) if set("IDENTITY_SERVER_THUMBPRINT").is_some() => {
                return Ok(Err("managed identity: that of Service Fabric is not supported; use an application"));
            }
            (Some(url), Some(header)) => Service::AppService { endpoint: endpoint(&url)?, header: Secret::new(header) },
            (Some(_), None) if set("IMDS_ENDPOINT").is_some() => {
                return Ok(Err("managed identity: that of Azure Arc is not supported; use an application"));
            }
            _ if set("MSI_ENDPOINT").is_some() => {
                return Ok(Err(
                    "managed identity: that of Azure ML and Cloud Shell is not supported; use an application",
                ));
            }
            _ => {
                let host = set("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| METADATA.into());
                Service::Metadata(join(&endpoint(&host)?, &["metadata", "identity", "oauth2", "token"]))
            }
        };
        let http = Http::new(&service.settings())?;
        Ok(Ok(Self { service, http, client, probe }))
    }

    /// Asks for a token.
    pub(super) async fn token(&self, challenge: &Challenge) -> Result<Granted, Denied> {
        match &self.service {
            Service::AppService { endpoint, header } => {
                let request = self.request(endpoint, "2019-08-01", challenge);
                let answer = self.http.send(request.header("X-IDENTITY-HEADER", header.expose())).await;
                Ok(granted(&answer.map_err(KeyStoreError::from)?)?)
            }
            Service::Metadata(url) => {
                if self.probe && !is_there(&self.http, url).await {
                    return Err(Denied::Absent("managed identity: no metadata service answers here".into()));
                }
                let request = self.request(url, "2018-02-01", challenge).header("Metadata", "true");
                let answer = self.http.send(request).await.map_err(KeyStoreError::from)?;
                // a machine without an identity
                if self.probe && answer.status == 400 {
                    return Err(Denied::Absent(format!("managed identity: {}", answer.refused())));
                }
                Ok(granted(&answer)?)
            }
        }
    }

    fn request(&self, url: &Url, version: &str, challenge: &Challenge) -> RequestBuilder {
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", &challenge.resource);
        if let Some(client) = &self.client {
            url.query_pairs_mut().append_pair("client_id", client);
        }
        self.http.client().get(url)
    }
}

impl Service {
    fn settings(&self) -> Settings {
        let (url, retry) = match self {
            Self::AppService { endpoint, .. } => (endpoint, vault::settings().retry),
            Self::Metadata(url) => (url, metadata_retry()),
        };
        // plain HTTP needs no roots, and to load them takes as long as all the rest
        let trust = if url.scheme() == "http" { Trust::Nobody } else { Trust::System };
        Settings { trust, retry, ..Settings::default() }
    }
}

/// Any answer will do; without the header `Metadata` it is a refusal.
async fn is_there(http: &Http, url: &Url) -> bool {
    let mut url = url.clone();
    url.query_pairs_mut().append_pair("api-version", "2018-02-01");
    matches!(tokio::time::timeout(PROBE, http.reach(url)).await, Ok(Ok(_)))
}

/// The metadata service is slow to know an identity. As many of its 5 retries as a call has time for.
fn metadata_retry() -> Retry {
    Retry {
        attempts: 4,
        worthwhile: |outcome| match outcome {
            Ok(answer) => matches!(answer.status.as_u16(), 404 | 410 | 429 | 500..),
            Err(failure) => Failure::is_network(failure),
        },
        pause: |made, _| Duration::from_secs(1 << made.min(4)),
    }
}
