//! Application default credentials: the files, and what is in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use zeroize::Zeroizing;

use crate::config::{GcpCredentials, Secret};
use crate::keystore::{Environment, KeyStoreError};

/// Largest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// Where `gcloud auth application-default login` puts its file, below the home folder.
const WELL_KNOWN: &str = ".config/gcloud/application_default_credentials.json";

/// A service that accepts a token.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source {
    ServiceAccount(ServiceAccount),
    AuthorizedUser(AuthorizedUser),
    ExternalAccount(Box<ExternalAccount>),
    ImpersonatedServiceAccount(Impersonation),
}

/// An account with a private key.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ServiceAccount {
    pub(super) client_email: String,
    #[serde(default)]
    pub(super) private_key_id: String,
    pub(super) private_key: Secret,
}

/// A person who logged in with `gcloud`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct AuthorizedUser {
    pub(super) client_id: String,
    pub(super) client_secret: Secret,
    pub(super) refresh_token: Secret,
    pub(super) token_uri: Option<String>,
}

/// An identity of somebody else that Google trusts: workload identity federation.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ExternalAccount {
    pub(super) audience: String,
    pub(super) subject_token_type: String,
    pub(super) token_url: String,
    pub(super) credential_source: SubjectToken,
    pub(super) service_account_impersonation_url: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) client_secret: Option<Secret>,
    pub(super) workforce_pool_user_project: Option<String>,
}

/// Where the token of the other identity is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct SubjectToken {
    pub(super) file: Option<PathBuf>,
    pub(super) url: Option<String>,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) format: Format,
    /// For an identity of AWS, by a signed request; not supported.
    pub(super) environment_id: Option<String>,
}

/// How that token is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Format {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) subject_token_field_name: String,
}

/// A service account in whose name another one calls.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Impersonation {
    pub(super) service_account_impersonation_url: String,
    #[serde(default)]
    pub(super) delegates: Vec<String>,
    pub(super) source_credentials: Box<Source>,
}

/// What a file has: a source, and the project that pays for the calls of a person.
#[derive(Debug)]
pub(super) struct File {
    pub(super) source: Source,
    pub(super) quota_project: Option<String>,
}

impl From<&GcpCredentials> for ServiceAccount {
    fn from(config: &GcpCredentials) -> Self {
        Self {
            client_email: config.client_email.clone(),
            private_key_id: config.private_key_id.clone(),
            private_key: config.private_key.clone(),
        }
    }
}

impl File {
    /// The file of `GOOGLE_APPLICATION_CREDENTIALS`, else that of `gcloud` if there is one.
    pub(super) async fn find(environment: &Environment) -> Result<Option<Self>, KeyStoreError> {
        let variable = |name| environment.get(name).filter(|value: &String| !value.is_empty());
        if let Some(path) = variable("GOOGLE_APPLICATION_CREDENTIALS") {
            return Self::read(Path::new(&path)).await.map(Some);
        }
        let Some(home) = variable("HOME") else { return Ok(None) };
        let path = Path::new(&home).join(WELL_KNOWN);
        if tokio::fs::try_exists(&path).await.unwrap_or(false) { Self::read(&path).await.map(Some) } else { Ok(None) }
    }

    async fn read(path: &Path) -> Result<Self, KeyStoreError> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(rename = "type", default)]
            kind: String,
            quota_project_id: Option<String>,
        }

        let content = content(path).await?;
        let unusable = |error: serde_json::Error| refused(path, &format!("line {} is not as it must be", error.line()));
        let head: Head = serde_json::from_slice(&content).map_err(unusable)?;
        let kinds = ["service_account", "authorized_user", "external_account", "impersonated_service_account"];
        if !kinds.contains(&head.kind.as_str()) {
            return Err(refused(
                path,
                &format!("type '{}' is not supported; use one of {}", head.kind, kinds.join(", ")),
            ));
        }
        let source = serde_json::from_slice(&content).map_err(|_| {
            refused(path, &format!("a field that type '{}' needs is missing or of the wrong kind", head.kind))
        })?;
        Ok(Self { source, quota_project: head.quota_project_id })
    }
}

impl SubjectToken {
    /// The token in what the file or the URL gave.
    pub(super) fn token(&self, content: &[u8]) -> Option<Secret> {
        let token = match self.format.kind.as_str() {
            "json" => {
                let value: Value = serde_json::from_slice(content).ok()?;
                Secret::new(value.get(&self.format.subject_token_field_name)?.as_str()?)
            }
            _ => Secret::new(std::str::from_utf8(content).ok()?.trim()),
        };
        Some(token).filter(|token| !token.is_empty())
    }
}

/// What is in a small file.
pub(super) async fn content(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyStoreError> {
    let read = async {
        let mut content = Zeroizing::new(Vec::new());
        tokio::fs::File::open(path).await?.take(MAX_FILE).read_to_end(&mut content).await?;
        Ok(content)
    };
    read.await.map_err(|error: std::io::Error| refused(path, &error.to_string()))
}

fn refused(path: &Path, why: &str) -> KeyStoreError {
    KeyStoreError::Other(format!("GCP credentials: '{}': {why}", path.display()))
}
