//! Secret stores of the clouds: AWS, GCP, Azure.

use super::super::section::Section;
use super::super::{ConfigError, Secret, invalid};
use super::{KeyStoreConfig, required};

/// `keystore.aws.secretsmanager`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsConfig {
    /// Host of the service, with or without a scheme.
    pub endpoint: String,
    /// Region.
    pub region: String,
    /// KMS key that encrypts the secrets; the account's default key if empty.
    pub kms_key: String,
    /// Credentials; `None` if they come from the default chain of AWS.
    pub credentials: Option<AwsCredentials>,
}

/// `keystore.aws.secretsmanager.credentials`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsCredentials {
    /// Access key ID.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: Secret,
    /// Session token, empty for lasting credentials.
    pub token: Secret,
}

/// `keystore.gcp.secretmanager`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcpConfig {
    /// Project that has the secrets.
    pub project_id: String,
    /// Host of the service; the public one if empty.
    pub endpoint: String,
    /// OAuth scopes; those of the service if empty.
    pub scopes: Vec<String>,
    /// Credentials; `None` for application default credentials.
    pub credentials: Option<GcpCredentials>,
}

/// `keystore.gcp.secretmanager.credentials`: a service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcpCredentials {
    /// E-mail address of the service account.
    pub client_email: String,
    /// ID of the service account.
    pub client_id: String,
    /// ID of the private key.
    pub private_key_id: String,
    /// PEM with real newlines.
    pub private_key: Secret,
}

/// `keystore.azure.keyvault`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureConfig {
    /// URL of the vault.
    pub endpoint: String,
    /// The login.
    pub auth: AzureAuth,
}

/// The login to Azure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AzureAuth {
    /// Whatever the default chain of Azure finds.
    Default,
    /// A service principal.
    Client {
        /// Directory.
        tenant_id: String,
        /// Application.
        client_id: String,
        /// Its secret.
        client_secret: Secret,
    },
    /// A managed identity.
    ManagedIdentity {
        /// Its client ID.
        client_id: String,
    },
}

pub(super) fn aws(section: Section<'_>) -> Result<KeyStoreConfig, ConfigError> {
    let credentials = section.section("credentials");
    let credentials = AwsCredentials {
        access_key: credentials.string("accesskey"),
        secret_key: credentials.secret("secretkey"),
        token: credentials.secret("token"),
    };
    let empty = credentials.access_key.is_empty() && credentials.secret_key.is_empty() && credentials.token.is_empty();
    let config = AwsConfig {
        endpoint: section.string("endpoint"),
        region: section.string("region"),
        kms_key: section.string("kmskey"),
        credentials: (!empty).then_some(credentials),
    };
    required("AWS secretsmanager", &[(&config.endpoint, "endpoint"), (&config.region, "region")])?;
    Ok(KeyStoreConfig::Aws(config))
}

pub(super) fn gcp(section: Section<'_>) -> Result<KeyStoreConfig, ConfigError> {
    let credentials = section.section("credentials");
    let credentials = GcpCredentials {
        client_email: credentials.string("client_email"),
        client_id: credentials.string("client_id"),
        private_key_id: credentials.string("private_key_id"),
        // in a variable of the environment newlines are written as `\n`
        private_key: Secret::new(credentials.secret("private_key").expose().replace("\\n", "\n")),
    };
    let project_id = section.string("project_id");
    let (endpoint, scopes) = (section.string("endpoint"), section.strings("scopes"));
    required("GCP secretmanager", &[(&project_id, "project ID")])?;
    Ok(KeyStoreConfig::Gcp(GcpConfig { project_id, endpoint, scopes, credentials: complete(credentials)? }))
}

/// All of the credentials or none.
fn complete(credentials: GcpCredentials) -> Result<Option<GcpCredentials>, ConfigError> {
    let values = [
        (credentials.client_email.as_str(), "email"),
        (&credentials.client_id, "ID"),
        (credentials.private_key.expose(), "private key"),
        (&credentials.private_key_id, "private key ID"),
    ];
    if values.iter().all(|(value, _)| value.is_empty()) {
        return Ok(None);
    }
    match values.iter().find(|(value, _)| value.is_empty()) {
        Some((_, what)) => Err(invalid(format!("gcp: no client {what} provided"))),
        None => Ok(Some(credentials)),
    }
}

pub(super) fn azure(section: Section<'_>) -> Result<KeyStoreConfig, ConfigError> {
    let endpoint = section.string("endpoint");
    let (client, managed) = (section.section("credentials"), section.section("managed_identity"));
    let (tenant_id, client_id) = (client.string("tenant_id"), client.string("client_id"));
    let (client_secret, managed_id) = (client.secret("client_secret"), managed.string("client_id"));
    let required = |values: &[(&str, &str)]| required("Azure keyvault", values);
    required(&[(&endpoint, "endpoint")])?;
    let auth = match (client.exists(), managed.exists()) {
        (true, true) => {
            let text = "kesconf: invalid Azure keyvault keystore: more than one authentication method specified";
            return Err(invalid(text));
        }
        (true, false) => {
            let values =
                [(&*tenant_id, "tenant ID"), (&client_id, "client ID"), (client_secret.expose(), "client secret")];
            required(&values)?;
            AzureAuth::Client { tenant_id, client_id, client_secret }
        }
        (false, true) => {
            required(&[(&managed_id, "client ID")])?;
            AzureAuth::ManagedIdentity { client_id: managed_id }
        }
        (false, false) => AzureAuth::Default,
    };
    Ok(KeyStoreConfig::Azure(AzureConfig { endpoint, auth }))
}
