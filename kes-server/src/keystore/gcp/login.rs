//! Gets access tokens: from a configured service account, else from application default credentials
//! (docs/keystores-protocol.md §6.2).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Request, Url};
use serde::Deserialize;

use super::source::{AuthorizedUser, File, ServiceAccount, Source};
use super::{federation, jwt};
use crate::config::{GcpConfig, Secret};
use crate::keystore::http::{Answer, Http, Retry, Web, endpoint};
use crate::keystore::session::{Authority, Token};
use crate::keystore::{Environment, KeyStoreError};

/// What MinIO KES asks for.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Where the refresh token of a person is exchanged, unless its file says otherwise.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// The metadata server, unless `GCE_METADATA_HOST` says otherwise.
const METADATA_HOST: &str = "169.254.169.254";
/// Where a machine says what it is; machines of Google are `Google Compute Engine`.
const PRODUCT: &str = "/sys/class/dmi/id/product_name";
/// Longest time for a login with all its calls.
const DEADLINE: Duration = Duration::from_secs(30);

/// Who we are at Google.
#[derive(Debug)]
pub(super) struct Login {
    web: Web,
    /// The configured account, if any.
    account: Option<ServiceAccount>,
    environment: Environment,
    scopes: Vec<String>,
    quota_project: Mutex<Option<String>>,
}

/// What token services answer.
#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    expires_in: Option<u64>,
}

impl Login {
    /// Prepares it; nothing is read or asked yet.
    ///
    /// # Errors
    /// If the client for the metadata server cannot be set up.
    pub(super) fn new(config: &GcpConfig, environment: &Environment, http: Arc<Http>) -> Result<Self, KeyStoreError> {
        let scopes = if config.scopes.is_empty() { vec![SCOPE.to_owned()] } else { config.scopes.clone() };
        Ok(Self {
            web: Web::new(http)?,
            account: config.credentials.as_ref().map(ServiceAccount::from),
            environment: environment.clone(),
            scopes,
            quota_project: Mutex::default(),
        })
    }

    /// The project that pays for the calls, if it is not that of the credentials.
    pub(super) fn quota_project(&self) -> Option<String> {
        self.quota_project.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Files are read again each time: they may have been replaced.
    async fn token(&self) -> Result<Token, KeyStoreError> {
        if let Some(account) = &self.account {
            return Self::signed(account, &self.scopes);
        }
        let Some(file) = File::find(&self.environment).await? else { return self.metadata().await };
        *self.quota_project.lock().unwrap_or_else(PoisonError::into_inner) = file.quota_project;
        self.of_source(&file.source).await
    }

    async fn of_source(&self, source: &Source) -> Result<Token, KeyStoreError> {
        match source {
            Source::ImpersonatedServiceAccount(impersonation) => {
                let caller = self.of_plain_source(&impersonation.source_credentials, &[SCOPE.to_owned()]).await?;
                let url = &impersonation.service_account_impersonation_url;
                federation::impersonate(&self.web, url, &impersonation.delegates, &self.scopes, &caller).await
            }
            source => self.of_plain_source(source, &self.scopes).await,
        }
    }

    async fn of_plain_source(&self, source: &Source, scopes: &[String]) -> Result<Token, KeyStoreError> {
        match source {
            Source::ServiceAccount(account) => Self::signed(account, scopes),
            Source::AuthorizedUser(user) => self.refreshed(user).await,
            Source::ExternalAccount(account) => federation::exchange(&self.web, account, scopes).await,
            Source::ImpersonatedServiceAccount(_) => {
                Err(KeyStoreError::Other("GCP credentials: impersonation of an impersonated account".into()))
            }
        }
    }

    fn signed(account: &ServiceAccount, scopes: &[String]) -> Result<Token, KeyStoreError> {
        let secret = jwt::sign(account, &scopes.join(" "))?;
        Ok(Token { secret, life: Some(jwt::LIFE), renewable: false })
    }

    async fn refreshed(&self, user: &AuthorizedUser) -> Result<Token, KeyStoreError> {
        let form = [
            ("client_id", user.client_id.as_str()),
            ("client_secret", user.client_secret.expose()),
            ("grant_type", "refresh_token"),
            ("refresh_token", user.refresh_token.expose()),
        ];
        let url = endpoint(user.token_uri.as_deref().unwrap_or(TOKEN_URL))?;
        let answer = self.web.send(self::form(&self.web, url, &form)?).await?;
        granted(&answer)
    }

    async fn metadata(&self) -> Result<Token, KeyStoreError> {
        let named = self.environment.get("GCE_METADATA_HOST").filter(|host| !host.is_empty());
        let mut url = endpoint(&format!("http://{}", named.as_deref().unwrap_or(METADATA_HOST)))?;
        url.set_path("computeMetadata/v1/instance/service-accounts/default/token");
        let ask = async || {
            let request = self.web.client(&url).get(url.clone()).header("metadata-flavor", "Google");
            self.web.send(built(request)?).await
        };
        let failure = match metadata_retry().run(ask).await {
            Ok(answer) => return granted(&answer),
            Err(failure) => failure,
        };
        let text = format!(
            "GCP credentials: there are none in the configuration, in the file of GOOGLE_APPLICATION_CREDENTIALS, or \
             from gcloud, and no metadata server answers: {failure}"
        );
        // where there is none, nothing is worth waiting for
        let is_expected = named.is_none() && failure.is_network() && is_google().await;
        Err(if is_expected { KeyStoreError::Unreachable(text) } else { KeyStoreError::Other(text) })
    }
}

impl Authority for Login {
    async fn login(&self) -> Result<Token, KeyStoreError> {
        match tokio::time::timeout(DEADLINE, self.token()).await {
            Ok(result) => result,
            Err(_) => Err(KeyStoreError::Unreachable(format!("GCP: no token within {} s", DEADLINE.as_secs()))),
        }
    }

    async fn renew(&self, _: &Secret) -> Result<Token, KeyStoreError> {
        self.login().await
    }
}

/// The metadata server of Kubernetes may refuse connections in the first seconds of a pod. One that says nothing at all is
/// not there.
fn metadata_retry() -> Retry {
    Retry {
        attempts: 3,
        worthwhile: |outcome| match outcome {
            Ok(answer) => answer.is_passing(),
            Err(failure) => failure.is_network() && !failure.is_timeout(),
        },
        pause: |made, _| Duration::from_secs(made.into()),
    }
}

/// Whether this machine says that it is one of Google's.
async fn is_google() -> bool {
    let product = tokio::fs::read_to_string(PRODUCT).await.unwrap_or_default();
    product.trim().starts_with("Google")
}

/// A request with a form as its body.
pub(super) fn form(web: &Web, url: Url, pairs: &[(&str, &str)]) -> Result<Request, KeyStoreError> {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let request = web.client(&url).post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
    built(request)
}

pub(super) fn built(request: reqwest::RequestBuilder) -> Result<Request, KeyStoreError> {
    request.build().map_err(|error| KeyStoreError::Other(format!("GCP credentials: {}", error.without_url())))
}

/// The token in an answer.
pub(super) fn granted(answer: &Answer) -> Result<Token, KeyStoreError> {
    if !answer.status.is_success() {
        return Err(answer.refused().map_text(|text| format!("GCP credentials: {text}")));
    }
    let granted: Granted = answer.json()?;
    if granted.access_token.is_empty() {
        return Err(answer.unexpected("no access token"));
    }
    let life = Some(Duration::from_secs(granted.expires_in.unwrap_or(jwt::LIFE.as_secs())));
    Ok(Token { secret: granted.access_token, life, renewable: false })
}
