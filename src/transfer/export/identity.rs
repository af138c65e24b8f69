//! The identity of KES's pods at their keystore, if the manifest carries no credentials.

use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use super::cluster::ClusterOptions;
use super::refused;
use crate::error::Error;
use crate::keystore::text;

/// Where Kubernetes writes the token of a pod's service account.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Pool and provider of a fleet of Google's: `POOL.svc.id.goog=PROVIDER`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fleet {
    /// The pool, audience of the token.
    pub pool: String,
    /// The provider, the cluster's membership.
    pub provider: String,
}

/// What a service account needs so that the keystore knows KES by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct WorkloadIdentity {
    /// True if KES has a service account of its own.
    pub(super) account: bool,
    /// Annotation of the service account, and its value.
    pub(super) annotation: Option<(&'static str, String)>,
    /// Label of the pods, and its value.
    pub(super) label: Option<(&'static str, &'static str)>,
    /// True if pods get the account's token.
    pub(super) token: bool,
    /// A fleet's `credentials.json`.
    pub(super) fleet: Option<FleetIdentity>,
}

/// Identity by a fleet of Google's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct FleetIdentity {
    /// Audience of the token.
    pub(super) pool: String,
    /// Application default credentials; they name no secret.
    pub(super) credentials: String,
}

impl FromStr for Fleet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((pool, provider)) if !pool.is_empty() && !provider.is_empty() => {
                Ok(Self { pool: pool.into(), provider: provider.into() })
            }
            _ => {
                Err(format!("'{text}' is not POOL=PROVIDER, such as project.svc.id.goog=https://…/memberships/cluster"))
            }
        }
    }
}

/// Decides how KES shows itself.
///
/// # Errors
/// [`Error::Usage`] if the manifest has credentials and an identity is given, or neither.
pub(super) fn resolve(section: &Value, options: &ClusterOptions) -> Result<WorkloadIdentity, Error> {
    let way = way(section);
    match (way, &options.workload_identity) {
        (Way::Credentials, Some(_)) => Err(refused(
            "the keystore section carries credentials, and --workload-identity is given: one of them would not be used",
            "remove the credentials from kestack.yaml, or the option",
        )),
        (Way::Credentials | Way::Node, None) => Ok(WorkloadIdentity::default()),
        (Way::Node, Some(_)) => Err(refused(
            "the keystore section names a managed identity of the nodes: pods do not need another one",
            "remove managed_identity from kestack.yaml, or the option --workload-identity",
        )),
        (Way::Vault(path), _) => vault(path),
        (Way::Identity(what), None) => Err(refused(
            format!("the keystore section has no credentials, and pods have none by themselves ({what} is missing)"),
            format!("give --workload-identity {what}, or write credentials to the keystore section of kestack.yaml"),
        )),
        (Way::Identity(_), Some(who)) => Ok(cloud(section, who, options.fleet.as_ref())),
    }
}

/// How a section lets KES log in.
#[derive(Clone, Copy)]
enum Way<'a> {
    Credentials,
    /// By the identity that the pod's node has.
    Node,
    /// By Vault's Kubernetes method, with the token in that file.
    Vault(&'a str),
    /// By an identity of the pod: what the option must name.
    Identity(&'static str),
}

fn way(section: &Value) -> Way<'_> {
    if let Some(path) = text(section, "/vault/kubernetes/jwt").filter(|path| path.contains('/')) {
        return Way::Vault(path);
    }
    if section.pointer("/azure/keyvault/managed_identity").is_some() {
        return Way::Node;
    }
    let missing = |pointer: &str| text(section, pointer).is_none();
    if section.get("aws").is_some() && missing("/aws/secretsmanager/credentials/accesskey") {
        return Way::Identity("ROLE-ARN");
    }
    if section.get("azure").is_some() && missing("/azure/keyvault/credentials/client_secret") {
        return Way::Identity("CLIENT-ID");
    }
    if section.get("gcp").is_some() && missing("/gcp/secretmanager/credentials/private_key") {
        return Way::Identity("SERVICE-ACCOUNT-EMAIL");
    }
    Way::Credentials
}

fn vault(path: &str) -> Result<WorkloadIdentity, Error> {
    if path != TOKEN {
        return Err(refused(
            format!("keystore.vault.kubernetes.jwt names '{path}', which pods of KES do not have"),
            format!("write {TOKEN}, where Kubernetes keeps the token of a pod"),
        ));
    }
    Ok(WorkloadIdentity { account: true, token: true, ..WorkloadIdentity::default() })
}

fn cloud(section: &Value, who: &str, fleet: Option<&Fleet>) -> WorkloadIdentity {
    let account = WorkloadIdentity { account: true, ..WorkloadIdentity::default() };
    if section.get("aws").is_some() {
        return WorkloadIdentity { annotation: Some(("eks.amazonaws.com/role-arn", who.into())), ..account };
    }
    if section.get("azure").is_some() {
        return WorkloadIdentity {
            annotation: Some(("azure.workload.identity/client-id", who.into())),
            label: Some(("azure.workload.identity/use", "true")),
            ..account
        };
    }
    match fleet {
        Some(fleet) => WorkloadIdentity { fleet: Some(FleetIdentity::new(fleet, who)), ..account },
        None => WorkloadIdentity { annotation: Some(("iam.gke.io/gcp-service-account", who.into())), ..account },
    }
}

impl FleetIdentity {
    fn new(fleet: &Fleet, who: &str) -> Self {
        let credentials = serde_json::json!({
            "type": "external_account",
            "audience": format!("identitynamespace:{}:{}", fleet.pool, fleet.provider),
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "service_account_impersonation_url": format!(
                "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{who}:generateAccessToken"
            ),
            "credential_source": { "file": "/var/run/secrets/tokens/gcp-ksa/token" },
        });
        let credentials = serde_json::to_string_pretty(&credentials).unwrap_or_default();
        Self { pool: fleet.pool.clone(), credentials: credentials + "\n" }
    }
}
