//! Key managers of their own: Fortanix SDKMS, Gemalto `KeySecure`, Entrust `KeyControl`.

use std::path::PathBuf;

use super::super::section::Section;
use super::super::{ConfigError, Secret};
use super::{KeyStoreConfig, path, required};

/// `keystore.fortanix.sdkms`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FortanixConfig {
    /// URL of the server.
    pub endpoint: String,
    /// Group that new keys belong to; the default group of the application if empty.
    pub group_id: String,
    /// API key of the application.
    pub api_key: Secret,
    /// CA certificates of the server: a file or a folder.
    pub ca: Option<PathBuf>,
}

/// `keystore.gemalto.keysecure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySecureConfig {
    /// URL of the server.
    pub endpoint: String,
    /// Refresh token.
    pub token: Secret,
    /// Domain of the token; the root domain if empty.
    pub domain: String,
    /// CA certificates of the server: a file or a folder.
    pub ca: Option<PathBuf>,
}

/// `keystore.entrust.keycontrol`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntrustConfig {
    /// URL of the server.
    pub endpoint: String,
    /// The vault that has the box.
    pub vault_id: String,
    /// The box that has the keys.
    pub box_id: String,
    /// User name for the login.
    pub username: String,
    /// And with what.
    pub password: Secret,
    /// CA certificates of the server: a file or a folder.
    pub ca: Option<PathBuf>,
}

pub(super) fn fortanix(section: Section<'_>) -> Result<KeyStoreConfig, ConfigError> {
    let config = FortanixConfig {
        endpoint: section.string("endpoint"),
        group_id: section.string("group_id"),
        api_key: section.section("credentials").secret("key"),
        ca: path(section.section("tls"), "ca"),
    };
    required("fortanix SDKMS", &[(&config.endpoint, "endpoint"), (config.api_key.expose(), "API key")])?;
    Ok(KeyStoreConfig::Fortanix(config))
}

pub(super) fn keysecure(section: Section<'_>) -> Result<KeyStoreConfig, ConfigError> {
    let credentials = section.section("credentials");
    let config = KeySecureConfig {
        endpoint: section.string("endpoint"),
        token: credentials.secret("token"),
        domain: credentials.string("domain"),
        ca: path(section.section("tls"), "ca"),
    };
    required("gemalto keysecure", &[(&config.endpoint, "endpoint"), (config.token.expose(), "token")])?;
    Ok(KeyStoreConfig::KeySecure(config))
}

pub(super) fn entrust(section: Section<'_>) -> Result<KeyStoreConfig, ConfigError> {
    let credentials = section.section("credentials");
    let config = EntrustConfig {
        endpoint: section.string("endpoint"),
        vault_id: section.string("vault_id"),
        box_id: section.string("box_id"),
        username: credentials.string("username"),
        password: credentials.secret("password"),
        ca: path(section.section("tls"), "ca"),
    };
    let values = [
        (config.endpoint.as_str(), "endpoint"),
        (&config.vault_id, "vault ID"),
        (&config.box_id, "box ID"),
        (&config.username, "username"),
        (config.password.expose(), "password"),
    ];
    required("Entrust KeyControl", &values)?;
    Ok(KeyStoreConfig::Entrust(config))
}
