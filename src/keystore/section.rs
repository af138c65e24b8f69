//! KES's keystore section taken apart: files of this host that it names, and credentials. Pure.

use std::path::PathBuf;

use serde_json::Value;
use zeroize::Zeroizing;

/// Files that a section can name: the name that each gets where KES runs, and whether it is a secret.
const FILES: [(&str, &str, bool); 6] = [
    ("/entrust/keycontrol/tls/ca", "ca.crt", false),
    ("/fortanix/sdkms/tls/ca", "ca.crt", false),
    ("/gemalto/keysecure/tls/ca", "ca.crt", false),
    ("/vault/tls/ca", "ca.crt", false),
    ("/vault/tls/cert", "client.crt", false),
    ("/vault/tls/key", "client.key", true),
];

/// Credentials of each keystore, and the variable of the environment that can carry them (docs/keystores-protocol.md §3
/// to §9).
const CREDENTIALS: [(&str, &str); 17] = [
    ("/aws/secretsmanager/credentials/accesskey", "AWS_ACCESS_KEY_ID"),
    ("/aws/secretsmanager/credentials/secretkey", "AWS_SECRET_ACCESS_KEY"),
    ("/aws/secretsmanager/credentials/token", "AWS_SESSION_TOKEN"),
    ("/azure/keyvault/credentials/tenant_id", "AZURE_TENANT_ID"),
    ("/azure/keyvault/credentials/client_id", "AZURE_CLIENT_ID"),
    ("/azure/keyvault/credentials/client_secret", "AZURE_CLIENT_SECRET"),
    ("/entrust/keycontrol/credentials/username", "ENTRUST_USERNAME"),
    ("/entrust/keycontrol/credentials/password", "ENTRUST_PASSWORD"),
    ("/fortanix/sdkms/credentials/key", "FORTANIX_API_KEY"),
    ("/gcp/secretmanager/credentials/client_email", "GCP_CLIENT_EMAIL"),
    ("/gcp/secretmanager/credentials/client_id", "GCP_CLIENT_ID"),
    ("/gcp/secretmanager/credentials/private_key_id", "GCP_PRIVATE_KEY_ID"),
    ("/gcp/secretmanager/credentials/private_key", "GCP_PRIVATE_KEY"),
    ("/gemalto/keysecure/credentials/token", "KEYSECURE_TOKEN"),
    ("/vault/approle/id", "VAULT_ROLE_ID"),
    ("/vault/approle/secret", "VAULT_SECRET_ID"),
    (VAULT_JWT, "VAULT_JWT"),
];

/// A token, or the file that Kubernetes writes it to and renews.
const VAULT_JWT: &str = "/vault/kubernetes/jwt";

/// A file of this host that a section names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeystoreFile {
    /// Where it is on this host.
    pub(crate) source: PathBuf,
    /// Its name where KES runs; unique in a section.
    pub(crate) name: &'static str,
    /// True for a private key.
    pub(crate) secret: bool,
}

/// A credential and the variable that carries it.
pub(crate) type Credential = (&'static str, Zeroizing<String>);

/// The files that a section names.
pub(crate) fn files(section: &Value) -> Vec<KeystoreFile> {
    let named = FILES.iter().filter_map(|(pointer, name, secret)| {
        let path = text(section, pointer)?;
        Some(KeystoreFile { source: path.into(), name, secret: *secret })
    });
    named.collect()
}

/// The section with each file where `place` says.
pub(crate) fn with_files(section: &Value, place: impl Fn(&str) -> String) -> Value {
    let mut section = section.clone();
    for (pointer, name, _) in FILES {
        if text(&section, pointer).is_some()
            && let Some(value) = section.pointer_mut(pointer)
        {
            *value = place(name).into();
        }
    }
    section
}

/// True if a credential stands at that place of a section, written as a JSON pointer.
pub(crate) fn is_credential(place: &str) -> bool {
    CREDENTIALS.iter().any(|(pointer, _)| *pointer == place)
}

/// The section with `${NAME}` in place of credentials, and the credentials; what is a variable already stays.
pub(crate) fn without_credentials(section: &Value) -> (Value, Vec<Credential>) {
    let (mut section, mut credentials) = (section.clone(), Vec::new());
    for (pointer, variable) in CREDENTIALS {
        let Some(value) = section.pointer_mut(pointer) else { continue };
        let Some(secret) = value.as_str().map(|text| Zeroizing::new(text.to_owned())) else { continue };
        let is_variable = secret.starts_with("${") && secret.ends_with('}');
        // an empty variable counts as one that is not set
        if secret.is_empty() || is_variable || pointer == VAULT_JWT && secret.contains('/') {
            continue;
        }
        *value = format!("${{{variable}}}").into();
        credentials.push((variable, secret));
    }
    (section, credentials)
}

/// A text of a section that is not empty.
pub(crate) fn text<'a>(section: &'a Value, pointer: &str) -> Option<&'a str> {
    section.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_section_comes_apart_into_files_credentials_and_the_rest() {
        let section = json!({ "vault": {
            "endpoint": "https://vault:8200",
            "approle": { "id": "role", "secret": "s3cret" },
            "tls": { "ca": "/etc/vault/ca.pem", "key": "/etc/vault/key.pem", "cert": "" },
        }});
        let found = files(&section);
        let names: Vec<_> = found.iter().map(|file| (file.name, file.secret)).collect();
        assert_eq!(names, [("ca.crt", false), ("client.key", true)]);
        let moved = with_files(&section, |name| format!("/certs/{name}"));
        let (rest, credentials) = without_credentials(&moved);
        assert_eq!(text(&rest, "/vault/tls/key"), Some("/certs/client.key"));
        assert_eq!(text(&rest, "/vault/tls/cert"), None);
        assert_eq!(text(&rest, "/vault/approle/secret"), Some("${VAULT_SECRET_ID}"));
        assert!(!rest.to_string().contains("s3cret"));
        assert_eq!(credentials.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["VAULT_ROLE_ID", "VAULT_SECRET_ID"]);
    }

    #[test]
    fn the_file_of_a_service_account_is_no_credential() {
        let file = json!({ "vault": { "kubernetes": { "role": "kes", "jwt": "/var/run/token" } } });
        assert!(without_credentials(&file).1.is_empty());
        let token = json!({ "vault": { "kubernetes": { "role": "kes", "jwt": "eyJ" } } });
        assert_eq!(without_credentials(&token).1.len(), 1);
    }
}
