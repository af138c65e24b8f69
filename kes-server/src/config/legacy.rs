//! Spellings of older releases (docs/kes-protocol.md §4.7).
//!
//! They are read in their old meaning, each with a warning that says what to write instead; the last release of the
//! original refuses or ignores them. `policy.<name>.paths` is in `policy`.

use super::section::Section;
use super::{ConfigError, invalid};
use crate::yaml::Value;

/// What is written in an old way.
pub(super) fn warnings(root: Section<'_>) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |old: bool, text: &str| {
        if old {
            warnings.push(text.to_owned());
        }
    };
    let (old, new) = (root.node("root").is_some(), root.section("admin").node("identity").is_some());
    warn(old && new, "'root' is an old spelling and is ignored next to 'admin.identity'; remove it");
    warn(old && !new, "'root' is an old spelling; use 'admin.identity'");
    warn(keys_are_keystore(root), "'keys' as the keystore is an old spelling; rename it to 'keystore'");
    let direct = direct_secretsmanager(root.section("keystore"));
    warn(direct, "'keystore.secretsmanager' is an old spelling; use 'keystore.aws.secretsmanager'");
    warnings
}

/// Identities of TLS proxies. No release since 2023 lets them stand in for their clients (docs/kes-protocol.md §11,
/// Q5).
pub(super) fn proxies(root: Section<'_>) -> Vec<String> {
    let proxy = root.section("tls").section("proxy");
    // known, so that it is not called unknown
    proxy.section("header").string("cert");
    proxy.strings("identities")
}

/// A client behind a proxy would be the proxy, and be denied.
pub(super) fn refuse_proxies(proxies: &[String]) -> Result<(), ConfigError> {
    if proxies.is_empty() {
        return Ok(());
    }
    let advice = "let clients connect to KES themselves and remove tls.proxy";
    Err(invalid(format!("kesconf: invalid tls proxy: proxies are not supported: {advice}")))
}

/// The admin: `admin.identity`, else `root`, else the one of the command line.
pub(super) fn admin(root: Section<'_>, flag: Option<&str>, warnings: &mut Vec<String>) -> String {
    let admin = root.section("admin");
    let named = if admin.node("identity").is_some() { admin.string("identity") } else { root.string("root") };
    match flag {
        Some(flag) if named.is_empty() => {
            warnings.push("'--root' is an old spelling; use 'admin.identity' in the configuration file".into());
            flag.to_owned()
        }
        Some(flag) if flag != named => {
            warnings.push("'--root' is ignored: the configuration file names another admin".into());
            named
        }
        _ => named,
    }
}

/// True if `keys` is a mapping of backends and there is no `keystore`.
pub(super) fn keys_are_keystore(root: Section<'_>) -> bool {
    let keys = root.node("keys").map(|keys| &keys.value);
    matches!(keys, Some(Value::Map(_))) && root.node("keystore").is_none()
}

/// True if the section of AWS is one level too high.
pub(super) fn direct_secretsmanager(keystore: Section<'_>) -> bool {
    keystore.node("secretsmanager").is_some() && keystore.node("aws").is_none()
}
