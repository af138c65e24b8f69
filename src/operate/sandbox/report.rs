//! What the command line and the interface say of sandboxes.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Kept, Sandbox, SandboxUser};
use crate::servers::s3::REGION;

/// A sandbox that was created, with the password of its user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SandboxCreated")]
pub(crate) struct Created {
    #[serde(flatten)]
    pub(crate) sandbox: Sandbox,
    /// Its user: the access key.
    user: String,
    /// The user's password: the secret key.
    password: String,
    /// Region that requests are signed for.
    region: String,
    /// URL of S3.
    endpoint: String,
    /// How long it took.
    pub(crate) milliseconds: u128,
    /// The variables that `kestack sandbox env` prints.
    pub(crate) env: serde_json::Map<String, serde_json::Value>,
}

/// All sandboxes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Sandboxes")]
pub(crate) struct Listed {
    /// All sandboxes, by name.
    pub(crate) sandboxes: Vec<Sandbox>,
}

/// Sandboxes that are gone.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SandboxesDropped")]
pub(crate) struct DropReport {
    /// Names of the sandboxes that were dropped.
    pub(crate) dropped: Vec<String>,
    /// How long it took.
    pub(crate) milliseconds: u128,
    /// Snapshots that still hold data of the dropped sandboxes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) kept: Vec<Kept>,
}

impl Created {
    /// That sandbox and its user.
    pub(crate) fn new(sandbox: Sandbox, user: &SandboxUser, milliseconds: u128) -> Self {
        let env = sandbox.variables(user).into_iter().map(|(name, value)| (name, value.into())).collect();
        Self {
            sandbox,
            user: user.access_key.clone(),
            password: user.secret_key.to_string(),
            region: REGION.to_owned(),
            endpoint: user.endpoint.clone(),
            milliseconds,
            env,
        }
    }
}
