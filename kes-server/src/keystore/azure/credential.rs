//! The identity of `kes`: from the configuration, else the first available one of Azure's default chain
//! (docs/keystores-protocol.md §7).

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::CONTENT_TYPE;
use reqwest::{StatusCode, Url};
use serde_json::Value;
use zeroize::Zeroizing;

use super::super::http::{Answer, Http, join};
use super::super::{Environment, KeyStoreError};
use super::challenge::Challenge;
use super::cli::Cli;
use super::login::secure;
use super::managed::Managed;
use crate::config::{AzureAuth, Secret};

/// Where applications log in.
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// How long a token lasts that does not say so.
const LIFE: Duration = Duration::from_secs(5 * 60);

/// A token and how long it is valid from now on.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) token: Secret,
    pub(super) life: Duration,
}

/// Why a source gives no token.
#[derive(Debug)]
pub(super) enum Denied {
    /// It is not there at all; another may be.
    Absent(String),
    /// It is there, and refused.
    Refused(KeyStoreError),
}

impl From<KeyStoreError> for Denied {
    fn from(error: KeyStoreError) -> Self {
        Self::Refused(error)
    }
}

/// Sources of tokens, in the order in which they are asked.
#[derive(Debug)]
pub(super) struct Credential {
    sources: Vec<Source>,
    /// The one that gave a token: it is asked for all others.
    chosen: OnceLock<usize>,
}

#[derive(Debug)]
enum Source {
    Application(Application),
    Managed(Managed),
    Cli(Cli),
    /// One that cannot be used, and why.
    Absent(&'static str),
}

/// An application (service principal) and what proves that we are it.
#[derive(Debug)]
struct Application {
    authority: Url,
    tenant: String,
    client: String,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    Secret(Secret),
    /// A token of the cluster, in a file that it renews.
    Federated(PathBuf),
}

/// The credential of a configuration.
///
/// # Errors
/// If a variable of the environment is not a URL.
pub(super) fn of(auth: &AzureAuth, environment: &Environment) -> Result<Credential, KeyStoreError> {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let authority = secure(&set("AZURE_AUTHORITY_HOST").unwrap_or_else(|| AUTHORITY.into()))?;
    let sources = match auth {
        AzureAuth::Client { tenant_id, client_id, client_secret } => {
            let (tenant, client) = (tenant_id.clone(), client_id.clone());
            let proof = Proof::Secret(client_secret.clone());
            vec![Source::Application(Application { authority, tenant, client, proof })]
        }
        AzureAuth::ManagedIdentity { client_id } => vec![managed(environment, Some(client_id.clone()), false)?],
        AzureAuth::Default => default_chain(environment, &authority)?,
    };
    Ok(Credential { sources, chosen: OnceLock::new() })
}

fn default_chain(environment: &Environment, authority: &Url) -> Result<Vec<Source>, KeyStoreError> {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let application =
        |proof: Option<Proof>, absent: &'static str| match (set("AZURE_TENANT_ID"), set("AZURE_CLIENT_ID"), proof) {
            (Some(tenant), Some(client), Some(proof)) => {
                Source::Application(Application { authority: authority.clone(), tenant, client, proof })
            }
            _ => Source::Absent(absent),
        };
    let path = set("PATH");
    let environment_lacks = match (set("AZURE_CLIENT_CERTIFICATE_PATH"), set("AZURE_USERNAME")) {
        (Some(_), _) => "environment: AZURE_CLIENT_CERTIFICATE_PATH is not supported; set AZURE_CLIENT_SECRET",
        (_, Some(_)) => "environment: AZURE_USERNAME is not supported; set AZURE_CLIENT_SECRET",
        _ => "environment: AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET are not all set",
    };
    Ok(vec![
        application(set("AZURE_CLIENT_SECRET").map(|secret| Proof::Secret(Secret::new(secret))), environment_lacks),
        application(
            set("AZURE_FEDERATED_TOKEN_FILE").map(|path| Proof::Federated(path.into())),
            "workload identity: AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE are not all set",
        ),
        managed(environment, set("AZURE_CLIENT_ID"), true)?,
        Source::Cli(Cli::az(path.clone())),
        Source::Cli(Cli::azd(path)),
    ])
}

fn managed(environment: &Environment, client: Option<String>, probe: bool) -> Result<Source, KeyStoreError> {
    Ok(Managed::of(environment, client, probe)?.map_or_else(Source::Absent, Source::Managed))
}

impl Credential {
    /// Gets a token for a challenge.
    ///
    /// # Errors
    /// If a source refuses, or there is none.
    pub(super) async fn token(&self, http: &Http, challenge: &Challenge) -> Result<Granted, KeyStoreError> {
        let mut absent = Vec::new();
        for (number, source) in self.sources.iter().enumerate() {
            if self.chosen.get().is_some_and(|chosen| *chosen != number) {
                continue;
            }
            match source.token(http, challenge).await {
                Ok(granted) => {
                    self.chosen.get_or_init(|| number);
                    return Ok(granted);
                }
                Err(Denied::Absent(why)) => absent.push(why),
                Err(Denied::Refused(error)) => return Err(error),
            }
        }
        let absent = absent.join("; ");
        Err(KeyStoreError::Other(format!("no credentials for Azure Key Vault: {absent}; set keystore.azure.keyvault")))
    }
}

impl Source {
    async fn token(&self, http: &Http, challenge: &Challenge) -> Result<Granted, Denied> {
        match self {
            Self::Application(application) => Ok(application.token(http, challenge).await?),
            Self::Managed(managed) => managed.token(challenge).await,
            Self::Cli(cli) => cli.token(challenge).await,
            Self::Absent(why) => Err(Denied::Absent((*why).into())),
        }
    }
}

impl Application {
    /// OAuth 2.0, client credentials.
    async fn token(&self, http: &Http, challenge: &Challenge) -> Result<Granted, KeyStoreError> {
        challenge.check_tenant(&self.tenant)?;
        let scope = format!("{}/.default", challenge.resource);
        let mut form = vec![("grant_type", "client_credentials"), ("client_id", &*self.client)];
        let assertion;
        match &self.proof {
            Proof::Secret(secret) => form.push(("client_secret", secret.expose())),
            Proof::Federated(path) => {
                assertion = federated(path).await?;
                form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
                form.push(("client_assertion", assertion.trim()));
            }
        }
        let url = join(&self.authority, &[&self.tenant, "oauth2", "v2.0", "token"]);
        form.push(("scope", &scope));
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = http.client().post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        granted(&http.send(request.body(form)).await?)
    }
}

async fn federated(path: &PathBuf) -> Result<Zeroizing<String>, KeyStoreError> {
    tokio::fs::read_to_string(path).await.map(Zeroizing::new).map_err(|error| {
        let path = path.display();
        KeyStoreError::Other(format!("cannot read the token of AZURE_FEDERATED_TOKEN_FILE '{path}': {error}"))
    })
}

/// The token of an answer. The services tell its life as a number or a text, as seconds or as a point in time.
///
/// # Errors
/// If it is a refusal, or there is none.
pub(super) fn granted(answer: &Answer) -> Result<Granted, KeyStoreError> {
    #[derive(serde::Deserialize)]
    struct Reply {
        access_token: Secret,
        #[serde(default)]
        expires_in: Value,
        #[serde(default)]
        expires_on: Value,
    }

    if answer.status != StatusCode::OK {
        return Err(answer.refused());
    }
    let Reply { access_token, expires_in, expires_on } = answer.json()?;
    if access_token.is_empty() {
        return Err(answer.unexpected("no token"));
    }
    let life = number(&expires_in).map(Duration::from_secs).or_else(|| number(&expires_on).and_then(until));
    Ok(Granted { token: access_token, life: life.unwrap_or(LIFE) })
}

/// How long it is until so many seconds after 1970; `None` if that is over, since then a clock is wrong.
pub(super) fn until(seconds: u64) -> Option<Duration> {
    let end = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    end.duration_since(SystemTime::now()).ok().filter(|left| !left.is_zero())
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).filter(|number| *number > 0)
}
