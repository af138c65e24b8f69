//! From what was written to what it means, in the order of checks of the original (kes-api §4.3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde_yaml::Value;
use zeroize::Zeroizing;

use super::level::LevelError;
use super::raw::{Api, Cache, Policy, Raw, Tls};
use super::{ApiConfig, Config, ConfigError, KeyStoreConfig, Level, TlsConfig, duration};
use crate::auth::{self, Access, Identity};
use crate::keystore::Expiry;

const DEFAULT_PORT: u16 = 7373;

/// Keystores of the original.
const KEYSTORES: [&str; 7] = ["fs", "vault", "fortanix", "gemalto", "gcp", "aws", "azure"];

impl Raw {
    pub(super) fn resolve(self) -> Result<Config, ConfigError> {
        version(self.version.as_ref())?;
        let address = address(self.address.as_deref())?;
        let admin = self.admin.and_then(|admin| admin.identity).filter(|admin| !admin.is_empty());
        let admin = admin.ok_or_else(|| invalid("kesconf: invalid admin identity: no admin identity"))?;
        let raw = self.tls.unwrap_or_default();
        let proxies = raw.proxy.as_ref().and_then(|proxy| proxy.identities.clone()).unwrap_or_default();
        let tls = tls(raw)?;
        if proxies.contains(&admin) {
            return Err(invalid(format!("kesconf: invalid tls proxy: identity '{admin}' is already admin")));
        }
        let policies = policies(self.policy.unwrap_or_default(), &admin, &proxies)?;
        let cache = expiry(self.cache.unwrap_or_default())?;
        let log = self.log.unwrap_or_default();
        let error_level = level(log.error.as_ref())?;
        let audit_level = level(log.audit.as_ref())?;
        let api = apis(self.api.unwrap_or_default())?;
        let keys = keys(self.keys.unwrap_or_default().into_iter().map(|key| key.name).collect())?;
        let keystore = keystore(self.keystore.unwrap_or_default())?;
        let access = Access::new(Identity::new(admin), policies)?;
        Ok(Config { address, access, tls, cache, error_level, audit_level, api, keys, keystore })
    }
}

fn invalid(text: impl Into<String>) -> ConfigError {
    ConfigError::Invalid(text.into())
}

fn version(version: Option<&Value>) -> Result<(), ConfigError> {
    match version {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) if text.is_empty() || text == "v1" => Ok(()),
        Some(Value::String(text)) => Err(invalid(format!("edge: invalid server config version '{text}'"))),
        Some(_) => Err(invalid("kesconf: invalid config version at line '1'")),
    }
}

/// `ip:port` or `:port`.
pub(super) fn address(text: Option<&str>) -> Result<SocketAddr, ConfigError> {
    let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(SocketAddr::new(any, DEFAULT_PORT)) };
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(invalid(format!("address {text}: missing port in address")));
    };
    let port = port.parse().map_err(|_| invalid(format!("address {text}: invalid port")))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { Ok(any) } else { host.parse() };
    match host {
        Ok(host) => Ok(SocketAddr::new(host, port)),
        Err(_) => Err(invalid(format!("'{}' is not a valid IP address", text.rsplit_once(':').unwrap_or_default().0))),
    }
}

fn tls(raw: Tls) -> Result<TlsConfig, ConfigError> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let key = some(raw.key).ok_or_else(|| invalid("kesconf: invalid tls config: no private key"))?;
    let cert = some(raw.cert).ok_or_else(|| invalid("kesconf: invalid tls config: no certificate"))?;
    let auth = scalar(raw.auth.as_ref());
    let verify_clients = match auth.to_ascii_lowercase().as_str() {
        "" | "off" => false,
        "on" => true,
        _ => return Err(invalid(format!("kesconf: invalid tls config: invalid auth '{{ {auth}}}'"))),
    };
    Ok(TlsConfig {
        key: key.into(),
        cert: cert.into(),
        ca: some(raw.ca).map(PathBuf::from),
        password: raw.password.map(Zeroizing::new),
        verify_clients,
    })
}

type Assigned = (String, auth::Policy, Vec<Identity>);

fn policies(raw: BTreeMap<String, Policy>, admin: &str, proxies: &[String]) -> Result<Vec<Assigned>, ConfigError> {
    let mut policies = Vec::new();
    for (name, policy) in raw {
        let identities = policy.identities.unwrap_or_default();
        for identity in &identities {
            let why = if identity == admin {
                "admin"
            } else if proxies.contains(identity) {
                "a TLS proxy"
            } else {
                continue;
            };
            let text = format!("kesconf: invalid policy '{name}': identity '{identity}' is already {why}");
            return Err(invalid(text));
        }
        let rules = auth::Policy { allow: policy.allow.unwrap_or_default(), deny: policy.deny.unwrap_or_default() };
        policies.push((name, rules, identities.into_iter().map(Identity::new).collect()));
    }
    Ok(policies)
}

fn expiry(raw: Cache) -> Result<Expiry, ConfigError> {
    let raw = raw.expiry.unwrap_or_default();
    let default = Expiry::default();
    let read = |text: Option<String>, default: Duration, what: &str| match text {
        None => Ok(default),
        Some(text) => match duration::parse(&text) {
            Some(duration) if duration.negative => Err(invalid(format!("kesconf: invalid {what} '{}'", text.trim()))),
            // zero is the same as unset: there is no way to turn the cache off (kes-api §6.1)
            Some(duration) if duration.length.is_zero() => Ok(default),
            Some(duration) => Ok(duration.length),
            None => Err(ConfigError::Yaml(format!("unmarshal errors: cannot unmarshal '{text}' into a duration"))),
        },
    };
    Ok(Expiry {
        any: read(raw.any, default.any, "cache expiry")?,
        unused: read(raw.unused, default.unused, "cache unused expiry")?,
        offline: read(raw.offline, default.offline, "offline cache expiry")?,
    })
}

fn level(value: Option<&Value>) -> Result<Level, ConfigError> {
    scalar(value).parse().map_err(|error: LevelError| invalid(error.to_string()))
}

fn apis(raw: BTreeMap<String, Option<Api>>) -> Result<BTreeMap<String, ApiConfig>, ConfigError> {
    let mut apis = BTreeMap::new();
    for (path, api) in raw {
        let api = api.unwrap_or_default();
        let skip_auth = match scalar(api.skip_auth.as_ref()).to_ascii_lowercase().as_str() {
            "" | "false" | "off" | "no" | "n" => false,
            "true" | "on" | "yes" | "y" => true,
            other => {
                return Err(ConfigError::Yaml(format!("unmarshal errors: cannot unmarshal '{other}' into a bool")));
            }
        };
        let timeout = match api.timeout {
            None => None,
            Some(text) => match duration::parse(&text) {
                Some(duration) if duration.negative => {
                    let nanos = duration.length.as_nanos();
                    return Err(invalid(format!("kesconf: invalid timeout '-{nanos}' for API '{path}'")));
                }
                Some(duration) => Some(duration.length).filter(|timeout| !timeout.is_zero()),
                None => {
                    let text = format!("unmarshal errors: cannot unmarshal '{text}' into a duration");
                    return Err(ConfigError::Yaml(text));
                }
            },
        };
        apis.insert(path, ApiConfig { skip_auth, timeout });
    }
    Ok(apis)
}

fn keys(names: Vec<String>) -> Result<Vec<String>, ConfigError> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(invalid(format!("kesconf: invalid key config: key '{name}' is defined multiple times"))),
        None => Ok(names),
    }
}

fn keystore(raw: BTreeMap<String, Option<Value>>) -> Result<KeyStoreConfig, ConfigError> {
    let known: Vec<_> = raw
        .into_iter()
        .filter(|(name, _)| KEYSTORES.contains(&name.as_str()) || name == "entrust")
        .filter_map(|(name, section)| Some((name, section.filter(|section| !section.is_null())?)))
        .collect();
    let mut known = known.into_iter();
    let (name, section) = known.next().ok_or_else(|| invalid("kesconf: no keystore specified"))?;
    if known.next().is_some() {
        return Err(invalid("kesconf: invalid keystore config: more than once keystore specified"));
    }
    if name != "fs" {
        return Ok(KeyStoreConfig::Other { name });
    }
    match section.get("path").map(|path| scalar(Some(path))) {
        Some(path) if !path.is_empty() => Ok(KeyStoreConfig::Fs { path: path.into() }),
        _ => Err(invalid("kesconf: invalid fs keystore: no path specified")),
    }
}

/// The text of a scalar, as it was most likely written.
fn scalar(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(true)) => "true".into(),
        Some(Value::Bool(false)) => "false".into(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}
