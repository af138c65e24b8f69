//! The default chain of AWS credentials (docs/keystores-protocol.md §5.1). The sources are reqsign's; what they ask of
//! the environment, of files and of the network goes through here.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqsign_aws_v4::{
    AssumeRoleWithWebIdentityCredentialProvider, Credential, ECSCredentialProvider, EnvCredentialProvider,
    IMDSv2CredentialProvider, ProfileCredentialProvider,
};
use reqsign_core::{Context, Env, Error, ErrorKind, FileRead, HttpSend, ProvideCredentialDyn};
use reqwest::Url;
use tokio::io::AsyncReadExt as _;

use crate::keystore::http::{Http, Web, endpoint};
use crate::keystore::{Environment, KeyStoreError};

/// Longest time for all sources together.
const DEADLINE: Duration = Duration::from_secs(20);
/// Largest file that is read.
const MAX_FILE: u64 = 1 << 20;
/// Session of `AssumeRoleWithWebIdentity`, as the audit log of AWS shows it.
const SESSION: &str = "kes";

/// The variables that the sources read.
const VARIABLES: [&str; 13] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_PROFILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
];

type Source = (&'static str, Box<dyn ProvideCredentialDyn<Credential = Credential>>);

/// All sources, the first that has credentials wins.
#[derive(Debug)]
pub(super) struct Chain {
    context: Context,
    environment: Environment,
    region: String,
}

impl Chain {
    pub(super) fn new(http: Arc<Http>, environment: &Environment, region: &str) -> Result<Self, KeyStoreError> {
        let sts = variable(environment, "AWS_ENDPOINT_URL_STS").map(|text| endpoint(&text)).transpose()?;
        let services = Services { web: Web::new(http)?, sts };
        let context =
            Context::new().with_env(Variables(environment.clone())).with_file_read(Files).with_http_send(services);
        Ok(Self { context, environment: environment.clone(), region: region.to_owned() })
    }

    /// Asks one source after the other. One that is configured but fails ends the search: silently using another
    /// identity would be worse.
    pub(super) async fn find(&self) -> Result<Credential, KeyStoreError> {
        let search = async {
            for (name, source) in self.sources() {
                match source.provide_credential_dyn(&self.context).await {
                    Ok(Some(credential)) => return Ok(credential),
                    Ok(None) => {}
                    Err(error) if name == INSTANCE && cause(&error).is_some_and(|cause| cause.kind() == ABSENT) => {
                        return Err(self.none(&format!(" ({})", text(&error))));
                    }
                    Err(error) => return Err(refused(name, &error)),
                }
            }
            Err(self.none(""))
        };
        let late = || KeyStoreError::Unreachable(format!("AWS credentials: not found within {} s", DEADLINE.as_secs()));
        tokio::time::timeout(DEADLINE, search).await.unwrap_or_else(|_| Err(late()))
    }

    /// No source has any. What names a file or a profile in vain is repeated: a typing error there is not seen anywhere else.
    fn none(&self, last: &str) -> KeyStoreError {
        let set = ["AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"];
        let set = set.map(|name| variable(&self.environment, name).map(|value| format!("{name}={value}")));
        let set: Vec<_> = set.into_iter().flatten().collect();
        let set = match set.as_slice() {
            [] => String::new(),
            set => format!(", where {} leads to no keys", set.join(" ")),
        };
        KeyStoreError::Other(format!(
            "AWS credentials: there are none in the configuration, the environment, a web identity, the shared \
             credentials file{set}, the container or the instance{last}; set keystore.aws.secretsmanager.credentials"
        ))
    }

    /// Made again for each search: the one of the instance keeps a token that a restarted metadata service refuses.
    fn sources(&self) -> Vec<Source> {
        let mut web_identity = AssumeRoleWithWebIdentityCredentialProvider::new()
            .with_region(self.region.clone())
            .with_regional_sts_endpoint();
        if variable(&self.environment, "AWS_ROLE_SESSION_NAME").is_none() {
            web_identity = web_identity.with_role_session_name(SESSION.into());
        }
        let mut sources: Vec<Source> = vec![
            ("environment", Box::new(EnvCredentialProvider::new())),
            ("web identity", Box::new(web_identity)),
            // MinIO KES never reads the configuration file next to the credentials file
            ("credentials file", Box::new(ProfileCredentialProvider::new().with_config_file(NO_FILE))),
            ("container", Box::new(ECSCredentialProvider::new())),
        ];
        let disabled = variable(&self.environment, "AWS_EC2_METADATA_DISABLED");
        if !disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            sources.push((INSTANCE, Box::new(IMDSv2CredentialProvider::new())));
        }
        sources
    }
}

const NO_FILE: &str = "";
const INSTANCE: &str = "instance metadata";
/// No answer to the first call to the metadata service: this machine is not an instance.
const ABSENT: ErrorKind = ErrorKind::ConfigInvalid;

/// A variable that is set and not empty.
fn variable(environment: &Environment, name: &str) -> Option<String> {
    environment.get(name).filter(|value| !value.is_empty())
}

/// Why a source gives none. One that is configured and does not answer may do so later.
fn refused(name: &str, error: &Error) -> KeyStoreError {
    let text = format!("AWS credentials: {name}: {}", text(error));
    if error.is_retryable() { KeyStoreError::Unreachable(text) } else { KeyStoreError::Other(text) }
}

/// The error of ours that a source passes on.
fn cause(error: &Error) -> Option<&Error> {
    std::error::Error::source(error).and_then(|source| source.downcast_ref())
}

/// What happened, with the reasons of our own making: those of parsers may quote secrets.
fn text(error: &Error) -> String {
    cause(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// The environment under the names of today; the old names stand in for missing ones.
struct Variables(Environment);

impl Env for Variables {
    fn var(&self, key: &str) -> Option<String> {
        let old = match key {
            "AWS_ACCESS_KEY_ID" => Some("AWS_ACCESS_KEY"),
            "AWS_SECRET_ACCESS_KEY" => Some("AWS_SECRET_KEY"),
            _ => None,
        };
        let value = variable(&self.0, key).or_else(|| variable(&self.0, old?))?;
        // a base that paths are put behind
        Some(if key == "AWS_EC2_METADATA_SERVICE_ENDPOINT" { value.trim_end_matches('/').into() } else { value })
    }

    fn vars(&self) -> HashMap<String, String> {
        VARIABLES.into_iter().filter_map(|name| Some((name.to_owned(), self.var(name)?))).collect()
    }

    fn home_dir(&self) -> Option<PathBuf> {
        variable(&self.0, "HOME").map(PathBuf::from)
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variables").finish_non_exhaustive()
    }
}

/// Token and credentials files.
#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>, Error> {
        let read = async {
            let mut content = Vec::new();
            tokio::fs::File::open(path).await?.take(MAX_FILE).read_to_end(&mut content).await?;
            Ok(content)
        };
        read.await.map_err(|error: std::io::Error| Error::config_invalid(format!("'{path}': {error}")))
    }
}

/// Metadata services and the token service.
#[derive(Debug)]
struct Services {
    web: Web,
    /// Another address of the token service, e.g. of a private endpoint.
    sts: Option<Url>,
}

impl HttpSend for Services {
    async fn http_send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, Error> {
        let is_first = request.uri().path().ends_with("/latest/api/token");
        let is_role = request.uri().path().ends_with("/iam/security-credentials/");
        let mut request: reqwest::Request = request
            .try_into()
            .map_err(|error: reqwest::Error| Error::request_invalid(error.without_url().to_string()))?;
        if let Some(sts) = &self.sts
            && request.url().host_str().is_some_and(|host| host.starts_with("sts."))
        {
            *request.url_mut() = sts.clone();
        }
        let kind = if is_first { ABSENT } else { ErrorKind::Unexpected };
        let answer = self.web.send(request).await.map_err(|failure| Error::new(kind, failure.to_string()))?;
        // the first line is the role
        let end = answer.body.iter().position(|byte| is_role && *byte == b'\n').unwrap_or(answer.body.len());
        let mut response = http::Response::new(Bytes::copy_from_slice(answer.body.get(..end).unwrap_or_default()));
        (*response.status_mut(), *response.headers_mut()) = (answer.status, answer.headers);
        Ok(response)
    }
}
