//! A stack's keystore, as kestack.yaml names it: its section, read and opened as KES does.

use kes_server::config::{Config, KeyStoreConfig};
use kes_server::keystore::{Backend, Environment};
use serde_json::Value;

mod section;

pub(crate) use section::*;

/// Names under which containers know the host they run on. From here, that is the loopback.
const HOST_NAMES: [&str; 2] = ["host.containers.internal", "host.docker.internal"];

/// Opens a remote keystore, as KES does.
///
/// # Errors
/// Why it cannot be opened.
pub(crate) async fn open(keystore: &Value, environment: &Environment) -> Result<Backend, String> {
    let config = parse(keystore)?;
    Backend::connect(&config, environment).await.map_err(|error| error.to_string())
}

/// Kind and place of a remote keystore, for people.
pub(crate) fn name(keystore: &Value) -> String {
    parse(keystore).map_or_else(|_| "of an unknown kind".into(), |config| config.display())
}

/// KES's reading of a section, as it is seen from this host.
///
/// # Errors
/// Why KES refuses it.
pub(crate) fn parse(keystore: &Value) -> Result<KeyStoreConfig, String> {
    let text = from_here(&keystore.to_string());
    let document =
        format!("version: v1\nadmin: {{ identity: disabled }}\ntls: {{ key: k, cert: c }}\nkeystore: {text}\n");
    let config = Config::parse(&document, &|_| None);
    config.map(|config| config.keystore).map_err(|error| format!("KES refuses the keystore section: {error}"))
}

/// What a container calls the host, as the host calls itself.
pub(crate) fn from_here(text: &str) -> String {
    HOST_NAMES.iter().fold(text.to_owned(), |text, name| text.replace(&format!("//{name}"), "//127.0.0.1"))
}
