//! Configurations (docs/kes-protocol.md §4).

use std::collections::BTreeMap;

use kes_server::auth::is_valid_name;
use kes_server::config::{Config, address};
use kes_server::fuzzing::duration_text;
use serde_json::{Value, json};

/// A configuration that is accepted keeps its rules, and written plainly it is read as the same.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let config = match parse(text) {
        Ok(config) => config,
        Err(error) => return assert!(!error.is_empty(), "refused without a word"),
    };
    rules(&config);
    let plain = plain(&config);
    let again = parse(&plain).unwrap_or_else(|error| panic!("{error}\n{plain}"));
    for (one, other) in shown(&config).iter().zip(shown(&again)) {
        assert_eq!(*one, other, "{plain}");
    }
}

fn parse(text: &str) -> Result<Config, String> {
    let env = |name: &str| (name == "SET").then(|| "7s".to_owned());
    Config::parse(text, &env).map_err(|error| error.to_string())
}

fn rules(config: &Config) {
    assert_eq!(address(&config.address.to_string()).unwrap(), config.address);
    assert!(!config.admin().as_str().is_empty());
    assert!(!config.tls.key.as_os_str().is_empty() && !config.tls.cert.as_os_str().is_empty());
    assert!(!config.cache.any.is_zero() && !config.cache.unused.is_zero());
    assert!(config.access.policies().keys().all(|name| is_valid_name(name)));
    for (identity, policy) in config.access.assigned() {
        assert!(is_valid_name(identity.as_str()) && identity != config.admin());
        assert!(config.access.policies().contains_key(policy));
    }
    assert!(config.api.values().all(|api| api.timeout.is_none_or(|timeout| !timeout.is_zero())));
    let mut keys = config.keys.clone();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), config.keys.len());
    let mut hidden = config.tls.clone();
    hidden.password = None;
    let shown = format!("{hidden:?}");
    assert_eq!(format!("{:?}", config.tls), shown, "the password is shown");
}

/// What of a configuration does not depend on its keystore.
fn shown(config: &Config) -> [String; 9] {
    [
        config.address.to_string(),
        format!("{:?}", config.access),
        format!("{:?}", config.tls),
        format!("{:?}", config.tls.password),
        format!("{:?}", (config.cache.any, config.cache.unused, config.cache.offline)),
        config.error_level.to_string(),
        config.audit_level.to_string(),
        format!("{:?}", config.api),
        format!("{:?}", config.keys),
    ]
}

/// The configuration as a YAML writer writes it.
fn plain(config: &Config) -> String {
    let lossless = |nanos: u128| Value::String(duration_text(i64::try_from(nanos).unwrap()));
    let mut policies: BTreeMap<&str, Value> = BTreeMap::new();
    for (name, policy) in config.access.policies() {
        let holders = config.access.assigned().iter().filter(|(_, assigned)| *assigned == name);
        let holders: Vec<_> = holders.map(|(identity, _)| identity.as_str()).collect();
        policies.insert(name, json!({"allow": policy.allow, "deny": policy.deny, "identities": holders}));
    }
    let api = |(path, api): (&String, &kes_server::config::ApiConfig)| {
        let timeout = lossless(api.timeout.unwrap_or_default().as_nanos());
        (path.clone(), json!({"skip_auth": api.skip_auth, "timeout": timeout}))
    };
    let api: serde_json::Map<_, _> = config.api.iter().map(api).collect();
    let keys: Vec<_> = config.keys.iter().map(|name| json!({"name": name})).collect();
    let tls = json!({
        "key": config.tls.key, "cert": config.tls.cert, "ca": config.tls.ca,
        "password": config.tls.password.as_ref().map(|password| password.as_str()),
        "auth": if config.tls.verify_clients { "on" } else { "off" },
    });
    let expiry = json!({
        "any": lossless(config.cache.any.as_nanos()),
        "unused": lossless(config.cache.unused.as_nanos()),
        "offline": lossless(config.cache.offline.as_nanos()),
    });
    serde_yaml::to_string(&json!({
        "address": config.address.to_string(), "admin": {"identity": config.admin().as_str()}, "tls": tls,
        "cache": {"expiry": expiry}, "api": api, "keys": keys, "policy": policies,
        "log": {"error": config.error_level.0.to_string(), "audit": config.audit_level.0.to_string()},
        "keystore": {"fs": {"path": "keys"}},
    }))
    .unwrap()
}
