//! `policy`: what is allowed, and to whom (docs/kes-protocol.md §4.3).

use super::section::Section;
use super::{ConfigError, invalid};
use crate::auth::{Identity, Policy};

/// A policy with its name and those who have it.
type Assigned = (String, Policy, Vec<Identity>);

pub(super) fn read(
    section: Section<'_>,
    admin: &str,
    proxies: &[String],
    warnings: &mut Vec<String>,
) -> Result<Vec<Assigned>, ConfigError> {
    let mut policies: Vec<_> = section.sections().map(|(name, policy)| one(name, policy, warnings)).collect();
    // in the order of names, as MinIO KES checks them
    policies.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, _, identities) in &policies {
        unassigned(name, identities, admin, proxies)?;
    }
    let assigned = |identities: Vec<String>| identities.into_iter().map(Identity::new).collect();
    Ok(policies.into_iter().map(|(name, rules, identities)| (name, rules, assigned(identities))).collect())
}

fn one(name: &str, policy: Section<'_>, warnings: &mut Vec<String>) -> (String, Policy, Vec<String>) {
    let mut allow = policy.patterns("allow");
    if policy.node("paths").is_some() {
        let text = if policy.node("allow").is_some() {
            "is ignored next to 'allow'; remove it"
        } else {
            allow = policy.patterns("paths");
            "is read as 'allow'; rename it"
        };
        warnings.push(format!("policy '{name}': 'paths' is an old spelling and {text}"));
    }
    (name.to_owned(), Policy { allow, deny: policy.patterns("deny") }, policy.strings("identities"))
}

/// Neither the admin nor a TLS proxy can have a policy.
fn unassigned(name: &str, identities: &[String], admin: &str, proxies: &[String]) -> Result<(), ConfigError> {
    for identity in identities {
        let why = if identity == admin {
            "admin"
        } else if proxies.contains(identity) {
            "a TLS proxy"
        } else {
            continue;
        };
        return Err(invalid(format!("kesconf: invalid policy '{name}': identity '{identity}' is already {why}")));
    }
    Ok(())
}
