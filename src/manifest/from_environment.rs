//! A keystore section from the variables that its vendor's own tools read: `--keystore vault` and the like.

use clap::ValueEnum;
use serde_json::{Map, Value};

use super::{Environment, ManifestError};

/// Keystores that a stack can be given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeystoreKind {
    /// The stack's own folder.
    Fs,
    /// `HashiCorp` Vault or `OpenBao`.
    Vault,
    /// AWS Secrets Manager.
    Aws,
    /// GCP Secret Manager.
    Gcp,
    /// Azure Key Vault.
    Azure,
    /// Entrust `KeyControl`.
    Entrust,
    /// Thales `CipherTrust` Manager.
    Gemalto,
    /// Fortanix DSM.
    Fortanix,
}

/// One value of a section: where it goes, which variables may hold it, and whether it may be missing.
type Field = (&'static [&'static str], &'static [&'static str], bool);

const VAULT: &[Field] = &[
    (&["vault", "endpoint"], &["VAULT_ADDR"], true),
    (&["vault", "namespace"], &["VAULT_NAMESPACE"], false),
    (&["vault", "engine"], &["VAULT_KV_ENGINE"], false),
    (&["vault", "version"], &["VAULT_KV_VERSION"], false),
    (&["vault", "prefix"], &["VAULT_KV_PREFIX"], false),
    (&["vault", "approle", "id"], &["VAULT_ROLE_ID"], true),
    (&["vault", "approle", "secret"], &["VAULT_SECRET_ID"], true),
    (&["vault", "tls", "ca"], &["VAULT_CACERT"], false),
];

const AWS: &[Field] = &[
    (&["aws", "secretsmanager", "endpoint"], &["AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"], false),
    (&["aws", "secretsmanager", "region"], &["AWS_REGION", "AWS_DEFAULT_REGION"], true),
    (&["aws", "secretsmanager", "kmskey"], &["AWS_KMS_KEY_ID"], false),
    (&["aws", "secretsmanager", "credentials", "accesskey"], &["AWS_ACCESS_KEY_ID"], true),
    (&["aws", "secretsmanager", "credentials", "secretkey"], &["AWS_SECRET_ACCESS_KEY"], true),
    (&["aws", "secretsmanager", "credentials", "token"], &["AWS_SESSION_TOKEN"], false),
];

const GCP: &[Field] = &[
    (&["gcp", "secretmanager", "project_id"], &["GOOGLE_CLOUD_PROJECT", "GCP_PROJECT_ID"], true),
    (&["gcp", "secretmanager", "endpoint"], &["GCP_SECRETMANAGER_ENDPOINT"], false),
    (&["gcp", "secretmanager", "credentials", "client_email"], &["GCP_CLIENT_EMAIL"], true),
    (&["gcp", "secretmanager", "credentials", "client_id"], &["GCP_CLIENT_ID"], true),
    (&["gcp", "secretmanager", "credentials", "private_key_id"], &["GCP_PRIVATE_KEY_ID"], true),
    (&["gcp", "secretmanager", "credentials", "private_key"], &["GCP_PRIVATE_KEY"], true),
];

const AZURE: &[Field] = &[
    (&["azure", "keyvault", "endpoint"], &["AZURE_KEYVAULT_URL"], true),
    (&["azure", "keyvault", "credentials", "tenant_id"], &["AZURE_TENANT_ID"], true),
    (&["azure", "keyvault", "credentials", "client_id"], &["AZURE_CLIENT_ID"], true),
    (&["azure", "keyvault", "credentials", "client_secret"], &["AZURE_CLIENT_SECRET"], true),
];

const ENTRUST: &[Field] = &[
    (&["entrust", "keycontrol", "endpoint"], &["ENTRUST_ENDPOINT"], true),
    (&["entrust", "keycontrol", "vault_id"], &["ENTRUST_VAULT_ID"], true),
    (&["entrust", "keycontrol", "box_id"], &["ENTRUST_BOX_ID"], true),
    (&["entrust", "keycontrol", "credentials", "username"], &["ENTRUST_USERNAME"], true),
    (&["entrust", "keycontrol", "credentials", "password"], &["ENTRUST_PASSWORD"], true),
];

const GEMALTO: &[Field] = &[
    (&["gemalto", "keysecure", "endpoint"], &["KEYSECURE_ENDPOINT"], true),
    (&["gemalto", "keysecure", "credentials", "token"], &["KEYSECURE_TOKEN"], true),
    (&["gemalto", "keysecure", "credentials", "domain"], &["KEYSECURE_DOMAIN"], false),
];

const FORTANIX: &[Field] = &[
    (&["fortanix", "sdkms", "endpoint"], &["FORTANIX_ENDPOINT"], true),
    (&["fortanix", "sdkms", "group_id"], &["FORTANIX_GROUP_ID"], false),
    (&["fortanix", "sdkms", "credentials", "key"], &["FORTANIX_API_KEY"], true),
];

impl KeystoreKind {
    fn fields(self) -> &'static [Field] {
        match self {
            Self::Fs => &[],
            Self::Vault => VAULT,
            Self::Aws => AWS,
            Self::Gcp => GCP,
            Self::Azure => AZURE,
            Self::Entrust => ENTRUST,
            Self::Gemalto => GEMALTO,
            Self::Fortanix => FORTANIX,
        }
    }

    /// Every variable that the section may be made from.
    pub(crate) fn variables(self) -> Vec<&'static str> {
        self.fields().iter().flat_map(|(_, variables, _)| *variables).copied().collect()
    }

    /// The word of the command line for it.
    pub(crate) fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// The section of this keystore.
    ///
    /// # Errors
    /// [`ManifestError::Missing`] naming every variable that is missing.
    pub fn section(self, env: Environment<'_>) -> Result<Value, ManifestError> {
        let mut section = Value::Object(Map::new());
        let mut missing = Vec::new();
        if self == Self::Fs {
            put(&mut section, &["fs", "path"], None);
        }
        for (path, variables, required) in self.fields() {
            let value = variables.iter().find_map(|name| env(name)).filter(|value| !value.is_empty());
            match value {
                Some(value) => put(&mut section, path, Some(value)),
                None if *required => missing.push(variables.join(" or ")),
                None => {}
            }
        }
        if self == Self::Aws && section.pointer("/aws/secretsmanager/endpoint").is_none() {
            let region = section.pointer("/aws/secretsmanager/region").and_then(Value::as_str).unwrap_or_default();
            let endpoint = format!("https://secretsmanager.{region}.amazonaws.com");
            put(&mut section, &["aws", "secretsmanager", "endpoint"], Some(endpoint));
        }
        if missing.is_empty() {
            return Ok(section);
        }
        Err(ManifestError::Missing { keystore: self.word(), variables: missing.join(", ") })
    }
}

/// Puts a value, and the mappings above it, into a section; without a value only the mappings.
fn put(section: &mut Value, path: &[&str], value: Option<String>) {
    let Some((last, above)) = path.split_last() else { return };
    let mut place = section;
    for key in above {
        let Some(map) = place.as_object_mut() else { return };
        place = map.entry(*key).or_insert_with(|| Value::Object(Map::new()));
    }
    if let (Some(map), Some(value)) = (place.as_object_mut(), value) {
        map.insert((*last).to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use serde_json::json;

    use super::*;

    #[test]
    fn the_variables_of_the_vendor_make_the_section() {
        let env = |name: &str| match name {
            "AWS_DEFAULT_REGION" => Some("eu-central-1".into()),
            "AWS_ACCESS_KEY_ID" => Some("AKIA".into()),
            "AWS_SECRET_ACCESS_KEY" => Some("s".into()),
            _ => None,
        };
        assert_eq!(
            KeystoreKind::Aws.section(&env).unwrap(),
            json!({ "aws": { "secretsmanager": {
                "endpoint": "https://secretsmanager.eu-central-1.amazonaws.com", "region": "eu-central-1",
                "credentials": { "accesskey": "AKIA", "secretkey": "s" },
            }}})
        );
        assert_eq!(KeystoreKind::Fs.section(&|_| None).unwrap(), json!({ "fs": {} }));
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let text = KeystoreKind::Vault.section(&|_| None).unwrap_err().to_string();
        assert!(text.starts_with("--keystore vault: not set: VAULT_ADDR, VAULT_ROLE_ID, VAULT_SECRET_ID"), "{text}");
    }
}
