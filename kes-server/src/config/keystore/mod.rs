//! `keystore`: where keys are kept (docs/kes-protocol.md §4.3). One file per kind of backend, with its section and its
//! checks.

use std::path::PathBuf;

use super::section::Section;
use super::{ConfigError, invalid, legacy};

mod appliance;
mod cloud;
mod folder;
mod vault;

pub use appliance::{EntrustConfig, FortanixConfig, KeySecureConfig};
pub use cloud::{AwsConfig, AwsCredentials, AzureAuth, AzureConfig, GcpConfig, GcpCredentials};
pub use folder::{Encryption, FsConfig, MasterKeySource};
pub use vault::{AppRole, EngineVersion, Jwt, Kubernetes, Transit, VaultAuth, VaultConfig, VaultTls};

/// The section of one keystore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStoreConfig {
    /// A folder.
    Fs(FsConfig),
    /// The K/V engine of a Hashicorp Vault.
    Vault(Box<VaultConfig>),
    /// AWS Secrets Manager.
    Aws(AwsConfig),
    /// GCP Secret Manager.
    Gcp(GcpConfig),
    /// Azure Key Vault.
    Azure(AzureConfig),
    /// Fortanix SDKMS.
    Fortanix(FortanixConfig),
    /// Gemalto `KeySecure`.
    KeySecure(KeySecureConfig),
    /// Entrust `KeyControl`.
    Entrust(EntrustConfig),
}

impl KeyStoreConfig {
    /// Whether both are about the same keys. A folder that is sealed is the same under other master keys.
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fs(one), Self::Fs(other)) => one.path == other.path,
            (one, other) => one == other,
        }
    }

    /// Its name in the banner.
    pub fn display(&self) -> String {
        match self {
            Self::Fs(fs) => format!("Filesystem: {}", fs.path.display()),
            Self::Vault(vault) => format!("Hashicorp Vault: {}", named(&vault.endpoint)),
            Self::Aws(aws) => format!("AWS SecretsManager: {}", named(&aws.endpoint)),
            Self::Gcp(gcp) => format!("GCP SecretManager: Project={}", gcp.project_id),
            Self::Azure(azure) => format!("Azure KeyVault: {}", named(&azure.endpoint)),
            Self::Fortanix(fortanix) => format!("Fortanix SDKMS: {}", named(&fortanix.endpoint)),
            Self::KeySecure(keysecure) => format!("Gemalto KeySecure: {}", named(&keysecure.endpoint)),
            Self::Entrust(entrust) => format!("Entrust KeyControl: {}", named(&entrust.endpoint)),
        }
    }
}

/// An endpoint as people may see it: without user, password and query, which a proxy in front of a keystore may ask for.
/// Also of a text that is not a URL, where nobody knows how far the password goes.
pub(crate) fn named(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
}

type Read = fn(Section<'_>) -> Result<KeyStoreConfig, ConfigError>;

/// The one backend of the file. `kes`, `generic` and all that nobody knows are ignored.
pub(super) fn read(root: Section<'_>) -> Result<KeyStoreConfig, ConfigError> {
    let keystore = root.section(if legacy::keys_are_keystore(root) { "keys" } else { "keystore" });
    let aws = if legacy::direct_secretsmanager(keystore) { keystore } else { keystore.section("aws") };
    let backends: [(Section<'_>, Read); 9] = [
        (keystore.section("fs"), folder::fs),
        (keystore.section("encryptedfs"), folder::encryptedfs),
        (keystore.section("vault"), vault::read),
        (aws.section("secretsmanager"), cloud::aws),
        (keystore.section("gcp").section("secretmanager"), cloud::gcp),
        (keystore.section("azure").section("keyvault"), cloud::azure),
        (keystore.section("fortanix").section("sdkms"), appliance::fortanix),
        (keystore.section("gemalto").section("keysecure"), appliance::keysecure),
        (keystore.section("entrust").section("keycontrol"), appliance::entrust),
    ];
    // all are read before they are counted: values of the wrong type are reported before everything else
    let configured = backends.into_iter().filter(|(section, _)| section.exists());
    let mut configured: Vec<_> = configured.map(|(section, read)| read(section)).collect();
    match (configured.pop(), configured.is_empty()) {
        (None, _) => Err(invalid("kesconf: no keystore specified")),
        (Some(one), true) => one,
        (Some(_), false) => Err(invalid("kesconf: invalid keystore config: more than once keystore specified")),
    }
}

/// Checks in this order that none is empty.
fn required(keystore: &str, values: &[(&str, &str)]) -> Result<(), ConfigError> {
    match values.iter().find(|(value, _)| value.is_empty()) {
        Some((_, what)) => Err(invalid(format!("kesconf: invalid {keystore} keystore: no {what} specified"))),
        None => Ok(()),
    }
}

/// A path, if there is one.
fn path(section: Section<'_>, key: &str) -> Option<PathBuf> {
    Some(section.string(key)).filter(|path| !path.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn an_endpoint_is_named_without_its_secrets() {
        for plain in ["https://vault:8200", "vault.example:8200", "http://[::1]:8200/base", "unix:///run/vault.sock"] {
            assert_eq!(named(plain), plain);
        }
        assert_eq!(named("https://vault:8200/"), "https://vault:8200");
        for secret in [
            "https://user:secret@vault:8200",
            "https://secret@vault:8200/",
            "https://user:se/c?r#et@vault:8200",
            "https://user:secret@secret@vault:8200",
            "https://vault:8200?token=secret",
            "https://vault:8200#secret",
        ] {
            assert_eq!(named(secret), "https://vault:8200", "{secret}");
        }
        assert_eq!(named("user:secret@vault:8200"), "vault:8200");
    }
}
