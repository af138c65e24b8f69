//! The identity of KES's pods at their keystore, if the manifest carries no credentials.

use std::str::FromStr;

use serde::Serialize;

/// How a section lets KES log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login<'a> {
    /// By credentials of the section, or without any.
    Credentials,
    /// By the identity that the pod's node has.
    Node,
    /// By the token in that file, which Kubernetes writes.
    TokenFile(&'a str),
    /// By an identity of the pod: what the option must name.
    Identity(&'static str),
}

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
pub(crate) struct WorkloadIdentity {
    /// True if KES has a service account of its own.
    pub(crate) account: bool,
    /// Annotation of the service account, and its value.
    pub(crate) annotation: Option<(&'static str, String)>,
    /// Label of the pods, and its value.
    pub(crate) label: Option<(&'static str, &'static str)>,
    /// True if pods get the account's token.
    pub(crate) token: bool,
    /// A fleet's `credentials.json`.
    pub(crate) fleet: Option<FleetIdentity>,
}

/// Identity by a fleet of Google's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FleetIdentity {
    /// Audience of the token.
    pub(crate) pool: String,
    /// Application default credentials; they name no secret.
    pub(crate) credentials: String,
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

impl FleetIdentity {
    pub(super) fn new(fleet: &Fleet, who: &str) -> Self {
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
