//! Turns the written configuration into its meaning, with the checks in the order of MinIO KES (docs/kes-protocol.md
//! §4.3).
//!
//! Every section is read before the first check counts, since values of the wrong type are reported before everything
//! else.

use std::collections::{BTreeMap, BTreeSet};

use super::duration::Nanoseconds;
use super::section::{Reader, Section};
use super::{
    ApiConfig, Config, ConfigError, Environment, Expiry, Level, LevelError, Overrides, address, invalid, keystore,
    legacy, policy, tls,
};
use crate::auth::{self, Access, Identity};
use crate::yaml::{self, Mistake, Node, Value};

/// Reads and checks the text of a configuration.
pub(super) fn config(text: &str, overrides: Overrides<'_>, env: Environment<'_>) -> Result<Config, ConfigError> {
    let tree = yaml::parse(text).map_err(|mistake| refused(&mistake))?.ok_or(ConfigError::Empty)?;
    let reader = Reader::new(env);
    let root = reader.section(Some(&*tree).filter(|root| !is_null(root)));
    version(root)?;
    let checked = sections(root, &reader, overrides);
    let unknown = reader.unknown(&tree);
    match checked {
        Ok(mut config) => {
            config.warnings.extend(unknown.into_iter().map(|key| format!("{key} is not known and is ignored")));
            config.warnings.extend(config.access.dead_rules().iter().map(ToString::to_string));
            config.warnings.extend(config.api.keys().filter_map(|path| unknown_api(path)));
            Ok(config)
        }
        // what is missing may be there in another spelling
        Err(error @ (ConfigError::Invalid(_) | ConfigError::Policy(_))) if !unknown.is_empty() => {
            Err(invalid(format!("{error}; not known: {}", unknown.join(", "))))
        }
        Err(error) => Err(error),
    }
}

fn sections(root: Section<'_>, reader: &Reader<'_>, overrides: Overrides<'_>) -> Result<Config, ConfigError> {
    let mut warnings = legacy::warnings(root);
    let address = root.string("address");
    let admin = legacy::admin(root, overrides.admin, &mut warnings);
    let proxies = legacy::proxies(root);
    let tls = tls::read(root.section("tls"));
    let policies = policy::read(root.section("policy"), &admin, &proxies, &mut warnings);
    let cache = expiry(root.section("cache").section("expiry"));
    let log = root.section("log");
    let levels = (log.string("error"), log.string("audit"));
    let api = apis(root.section("api"));
    let keys = keys(root);
    let keystore = keystore::read(root);
    reader.finish()?;

    if admin.is_empty() {
        return Err(invalid("kesconf: invalid admin identity: no admin identity"));
    }
    let tls = tls?;
    if proxies.contains(&admin) {
        return Err(invalid(format!("kesconf: invalid tls proxy: identity '{admin}' is already admin")));
    }
    let (policies, cache) = (policies?, cache?);
    let (error_level, audit_level) = (level(&levels.0)?, level(&levels.1)?);
    let (api, keys, keystore) = (api?, keys?, keystore?);
    let address = overrides.address.map_or_else(|| address::parse(&address), Ok)?;
    legacy::refuse_proxies(&proxies)?;
    let access = Access::new(Identity::new(admin), policies)?;
    Ok(Config { address, access, tls, cache, error_level, audit_level, api, keys, keystore, warnings })
}

/// A path of `api` that no route has. With `skip_auth` it still makes client certificates optional.
fn unknown_api(path: &str) -> Option<String> {
    if auth::is_route(path) {
        return None;
    }
    let nearest = auth::nearest_route(path).map(|route| format!("; is it '{route}'?")).unwrap_or_default();
    Some(format!("'api.{path}' is not a route of the API and has no effect{nearest}"))
}

fn is_null(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if scalar.is_null())
}

fn version(root: Section<'_>) -> Result<(), ConfigError> {
    // null is not the empty text, unless nothing is written
    let Some(node) = root.entry("version") else { return Ok(()) };
    match &node.value {
        Value::Scalar(scalar) if scalar.text.is_empty() || *scalar.text == "v1" => Ok(()),
        Value::Scalar(scalar) => Err(invalid(format!("edge: invalid server config version '{}'", *scalar.text))),
        _ => Err(invalid(format!("kesconf: invalid config version at line '{}'", node.place.line))),
    }
}

fn expiry(expiry: Section<'_>) -> Result<Expiry, ConfigError> {
    let default = Expiry::default();
    let read = |key, default, what| match expiry.duration(key) {
        Some(duration) if duration.is_negative() => Err(invalid(format!("kesconf: invalid {what} '{duration}'"))),
        // zero is the same as unset: there is no way to turn the cache off (docs/kes-protocol.md §6.1)
        duration => Ok(duration.and_then(Nanoseconds::positive).unwrap_or(default)),
    };
    let any = read("any", default.any, "cache expiry");
    let unused = read("unused", default.unused, "cache unused expiry");
    let offline = read("offline", default.offline, "offline cache expiry");
    Ok(Expiry { any: any?, unused: unused?, offline: offline? })
}

fn level(text: &str) -> Result<Level, ConfigError> {
    text.parse().map_err(|error: LevelError| invalid(error.to_string()))
}

fn apis(section: Section<'_>) -> Result<BTreeMap<String, ApiConfig>, ConfigError> {
    let apis = section.sections().map(|(path, api)| (path, api.boolean("skip_auth"), api.duration("timeout")));
    let apis: Vec<_> = apis.collect();
    let checked = apis.into_iter().map(|(path, skip_auth, timeout)| match timeout {
        Some(timeout) if timeout.is_negative() => {
            Err(invalid(format!("kesconf: invalid timeout '{}' for API '{path}'", timeout.0)))
        }
        // zero keeps the default
        timeout => {
            let timeout = timeout.and_then(Nanoseconds::positive);
            Ok((path.to_owned(), ApiConfig { skip_auth, timeout }))
        }
    });
    checked.collect()
}

fn keys(root: Section<'_>) -> Result<Vec<String>, ConfigError> {
    if legacy::keys_are_keystore(root) {
        return Ok(Vec::new());
    }
    let names: Vec<_> = root.items("keys").map(|key| key.string("name")).collect();
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(invalid(format!("kesconf: invalid key config: key '{name}' is defined multiple times"))),
        None => Ok(names),
    }
}

/// The words and lines of MinIO KES for text that is not YAML.
fn refused(mistake: &Mistake) -> ConfigError {
    let (line, text) = (mistake.place.line, mistake.text.as_str());
    if !mistake.is_syntax {
        return ConfigError::Yaml(format!("line {line}: {text}"));
    }
    let problem = text.split_once(", ").map_or(text, |(_, problem)| problem);
    let (line, problem) = if problem == "found a tab" {
        // the parser points to the scalar before
        (line + 1, "found a tab character that violates indentation")
    } else if text.starts_with("while parsing") {
        // MinIO KES counts these from 0
        (line - usize::from(line > 0), problem)
    } else {
        (line, problem)
    };
    let place = if line == 0 { String::new() } else { format!("line {line}: ") };
    ConfigError::Yaml(format!("{place}{problem}"))
}
