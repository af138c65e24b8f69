//! GCP Secret Manager over REST (docs/keystores-protocol.md §6): the stored data is that of MinIO KES, which speaks
//! gRPC.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::http::{Answer, Entries, Failure, Http, Listing, Retry, Settings, endpoint, join};
use super::renewals::Renewals;
use super::session::Session;
use super::{Environment, KeyStore, KeyStoreError};
use crate::config::{GcpConfig, Secret};

mod create;
mod federation;
mod jwt;
mod login;
mod refusal;
mod source;

use login::Login;

/// Host of the service, unless another is configured.
const HOST: &str = "secretmanager.googleapis.com";
/// How long a creation may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The secrets of one project.
#[derive(Debug, Clone)]
pub struct Gcp {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    http: Arc<Http>,
    endpoint: Url,
    project: String,
    session: Session<Login>,
}

impl Gcp {
    /// Gets a token, which with the key of a service account needs no call, and asks whether the service is there.
    ///
    /// # Errors
    /// If there are no usable credentials, or nothing answers at the endpoint.
    pub async fn connect(config: &GcpConfig, environment: &Environment) -> Result<Self, KeyStoreError> {
        let http = Arc::new(Http::new(&Settings { proxies: environment.proxies(), ..Settings::default() })?);
        let endpoint = endpoint(if config.endpoint.is_empty() { HOST } else { &config.endpoint })?;
        let renewals = Renewals::of("the token for GCP Secret Manager", environment);
        let session = Session::start(Login::new(config, environment, http.clone())?, 0.8, renewals).await?;
        let project = config.project_id.clone();
        let gcp = Self { shared: Arc::new(Shared { http, endpoint, project, session }) };
        gcp.status().await?;
        Ok(gcp)
    }
}

impl Shared {
    fn secrets(&self, rest: &[&str]) -> Url {
        let path = [&["v1", "projects", &self.project, "secrets"], rest].concat();
        join(&self.endpoint, &path)
    }

    /// Calls with the current token, and once more with a new one if it is refused.
    async fn call(&self, retry: &Retry, method: Method, url: Url, body: Option<Value>) -> Result<Answer, Failure> {
        let call = |token: Secret| self.http.send_by(retry, self.request(&method, &url, body.as_ref(), &token));
        self.session.call(StatusCode::UNAUTHORIZED, call).await
    }

    fn request(&self, method: &Method, url: &Url, body: Option<&Value>, token: &Secret) -> reqwest::RequestBuilder {
        let mut request = self.http.client().request(method.clone(), url.clone()).bearer_auth(token.expose());
        if let Some(project) = self.session.authority().quota_project() {
            request = request.header("x-goog-user-project", project);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request
    }

    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        #[derive(Deserialize)]
        struct Accessed {
            name: String,
            payload: Payload,
        }
        #[derive(Deserialize)]
        struct Payload {
            #[serde(default)]
            data: Secret,
        }

        let url = self.secrets(&[name, "versions", "1:access"]);
        let answer = self.call(&refusal::patient(), Method::GET, url, None).await?;
        let accessed: Accessed = refusal::check(&answer, "secretmanager.versions.access")?;
        if !accessed.name.ends_with(&format!("/secrets/{name}/versions/1")) {
            return Err(answer.foreign());
        }
        let value = STANDARD.decode(accessed.payload.data.expose());
        value.map(Zeroizing::new).map_err(|_| answer.unexpected("a payload that is not base64"))
    }
}

impl fmt::Display for Gcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GCP SecretManager: Project={}", self.shared.project)
    }
}

impl KeyStore for Gcp {
    /// Any answer will do, and no credentials are needed for it (docs/keystores-protocol.md §14, 20).
    async fn status(&self) -> Result<Duration, KeyStoreError> {
        self.shared.http.reach(self.shared.endpoint.clone()).await
    }

    /// Two calls. They go on to their end when nobody waits for them any more: a secret without a version is listed, and
    /// blocks its name for MinIO KES (docs/keystores-protocol.md §14, 15).
    async fn create(&self, name: &str, value: &[u8]) -> Result<(), KeyStoreError> {
        let (shared, name) = (self.shared.clone(), name.to_owned());
        let text = Zeroizing::new(super::text(value)?.to_owned());
        let creation = tokio::spawn(async move { shared.create(&name, &text).await });
        match tokio::time::timeout(PATIENCE, creation).await {
            Ok(result) => result.unwrap_or_else(|error| Err(KeyStoreError::Other(error.to_string()))),
            Err(_) => Err(KeyStoreError::Unreachable(format!("GCP: not created within {} s", PATIENCE.as_secs()))),
        }
    }

    /// The first version, whatever was added since.
    async fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
        self.shared.get(name).await
    }

    /// With all versions.
    async fn delete(&self, name: &str) -> Result<(), KeyStoreError> {
        let shared = &self.shared;
        let answer = shared.call(&refusal::lost(), Method::DELETE, shared.secrets(&[name]), None).await?;
        match refusal::check::<Map<String, Value>>(&answer, "secretmanager.secrets.delete") {
            // by the attempt whose answer was lost
            Err(KeyStoreError::NotFound) if answer.repeated => Ok(()),
            result => result.map(drop),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Page {
            // left out where there are none
            secrets: Option<Entries<Named>>,
            #[serde(default)]
            next_page_token: String,
        }
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }

        let (mut listing, mut token) = (Listing::default(), String::new());
        loop {
            let mut url = self.shared.secrets(&[]);
            if !token.is_empty() {
                url.query_pairs_mut().append_pair("pageToken", &token);
            }
            let answer = listing.page(self.shared.call(&refusal::lost(), Method::GET, url, None)).await?;
            let page: Page = refusal::check(&answer, "secretmanager.secrets.list")?;
            let secrets = page.secrets.map_or_else(Vec::new, |secrets| secrets.0);
            listing
                .add(&answer, secrets.iter().filter_map(|secret| secret.name.rsplit('/').next().map(str::to_owned)))?;
            if page.next_page_token.is_empty() {
                return Ok(listing.select(prefix));
            }
            if page.next_page_token == token {
                return Err(answer.unexpected("the page after this one is this one again"));
            }
            token = page.next_page_token;
        }
    }
}
