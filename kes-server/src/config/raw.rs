//! The configuration as written: every key optional, unknown keys ignored (kes-api §4.1, §4.2).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml::{Mapping, Value};

use super::{ConfigError, Environment};

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Raw {
    pub(super) version: Option<Value>,
    pub(super) address: Option<String>,
    pub(super) admin: Option<Admin>,
    pub(super) tls: Option<Tls>,
    pub(super) policy: Option<BTreeMap<String, Policy>>,
    pub(super) cache: Option<Cache>,
    pub(super) log: Option<Log>,
    pub(super) api: Option<BTreeMap<String, Option<Api>>>,
    pub(super) keys: Option<Vec<Key>>,
    pub(super) keystore: Option<BTreeMap<String, Option<Value>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Admin {
    pub(super) identity: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Tls {
    pub(super) key: Option<String>,
    pub(super) cert: Option<String>,
    pub(super) ca: Option<String>,
    pub(super) password: Option<String>,
    pub(super) auth: Option<Value>,
    pub(super) proxy: Option<Proxy>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Proxy {
    pub(super) identities: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Policy {
    pub(super) allow: Option<Vec<String>>,
    pub(super) deny: Option<Vec<String>>,
    pub(super) identities: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Cache {
    pub(super) expiry: Option<Expiry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Expiry {
    pub(super) any: Option<String>,
    pub(super) unused: Option<String>,
    pub(super) offline: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Log {
    pub(super) error: Option<Value>,
    pub(super) audit: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Api {
    pub(super) skip_auth: Option<Value>,
    pub(super) timeout: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Key {
    pub(super) name: String,
}

/// Reads the first document of the text and puts the environment's values in place.
pub(super) fn read(text: &str, env: Environment<'_>) -> Result<Raw, ConfigError> {
    let broken = |error: serde_yaml::Error| ConfigError::Yaml(error.to_string());
    let Some(document) = serde_yaml::Deserializer::from_str(text).next() else { return Err(ConfigError::Empty) };
    let mut value = Value::deserialize(document).map_err(broken)?;
    if value.is_null() {
        return Err(ConfigError::Empty);
    }
    value.apply_merge().map_err(broken)?;
    expand(&mut value, &[], env)?;
    serde_yaml::from_value(value).map_err(broken)
}

/// Replaces every value that is `${NAME}` as a whole; policy patterns and the version stay as they are.
fn expand(value: &mut Value, path: &[&str], env: Environment<'_>) -> Result<(), ConfigError> {
    if matches!(path, ["version"] | ["policy", _, "allow" | "deny"]) {
        return Ok(());
    }
    match value {
        Value::String(text) => {
            if let Some(name) = variable(text) {
                *text = env(name).ok_or_else(|| ConfigError::Variable(name.to_owned()))?;
            }
            Ok(())
        }
        Value::Sequence(items) => items.iter_mut().try_for_each(|item| expand(item, path, env)),
        Value::Mapping(entries) => expand_entries(entries, path, env),
        _ => Ok(()),
    }
}

fn expand_entries(entries: &mut Mapping, path: &[&str], env: Environment<'_>) -> Result<(), ConfigError> {
    for (key, value) in entries.iter_mut() {
        let key = key.as_str().unwrap_or_default().to_owned();
        expand(value, &[path, &[key.as_str()]].concat(), env)?;
    }
    Ok(())
}

fn variable(text: &str) -> Option<&str> {
    text.trim().strip_prefix("${")?.strip_suffix('}').map(str::trim)
}
