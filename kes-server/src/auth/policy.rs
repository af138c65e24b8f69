//! Policies and who has which (docs/kes-protocol.md §3.3, §3.4).

use std::collections::BTreeMap;
use std::fmt;

use super::name::is_valid_name;
use super::rule::DeadRule;
use super::{Identity, NameError};

/// The calls that the holders of a policy may make: patterns of URL paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// A path must match one of these.
    pub allow: Vec<String>,
    /// And none of these.
    pub deny: Vec<String>,
}

/// All policies, who has which, and the admin.
#[derive(Debug, Clone)]
pub struct Access {
    admin: Identity,
    policies: BTreeMap<String, Policy>,
    assigned: BTreeMap<Identity, String>,
}

/// Policies that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// A policy's name is not a valid name.
    #[error("kes: policy name {0}")]
    Policy(NameError),
    /// An identity is not a valid name.
    #[error("kes: identity {0}")]
    Identity(NameError),
    /// An identity is listed twice.
    #[error("kes: cannot assign policy '{policy}' to '{identity}': identity already has a policy")]
    Twice {
        /// The second policy that lists it.
        policy: String,
        /// The identity.
        identity: Identity,
    },
}

/// Whether a call is allowed, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// The admin may do everything.
    Admin,
    /// A policy allows it.
    Allowed {
        /// The policy.
        policy: &'a str,
        /// The pattern that allows it.
        rule: &'a str,
    },
    /// Nobody knows the caller.
    UnknownIdentity,
    /// A deny pattern matches.
    Denied {
        /// The policy.
        policy: &'a str,
        /// The pattern that denies it.
        rule: &'a str,
    },
    /// No allow pattern matches.
    NotAllowed {
        /// The policy.
        policy: &'a str,
    },
}

impl Decision<'_> {
    /// True for the admin and for what a policy allows.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Admin | Self::Allowed { .. })
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("the admin may call everything"),
            Self::Allowed { policy, rule } => write!(f, "accepted by policy '{policy}': allow rule '{rule}' matches"),
            Self::UnknownIdentity => f.write_str("identity not found"),
            Self::Denied { policy, rule } => write!(f, "rejected by policy '{policy}': deny rule '{rule}' matches"),
            Self::NotAllowed { policy } => write!(f, "rejected by policy '{policy}': no allow rule matches"),
        }
    }
}

impl Access {
    /// Puts policies together; each comes with the identities that have it.
    ///
    /// # Errors
    /// If a name is invalid or an identity is listed twice.
    pub fn new(
        admin: Identity,
        policies: impl IntoIterator<Item = (String, Policy, Vec<Identity>)>,
    ) -> Result<Self, AssignError> {
        let mut access = Self { admin, policies: BTreeMap::new(), assigned: BTreeMap::new() };
        for (name, policy, identities) in policies {
            if !is_valid_name(&name) {
                return Err(AssignError::Policy(NameError(name)));
            }
            for identity in identities {
                access.assign(&name, identity)?;
            }
            access.policies.insert(name, policy);
        }
        Ok(access)
    }

    fn assign(&mut self, policy: &str, identity: Identity) -> Result<(), AssignError> {
        if !is_valid_name(identity.as_str()) {
            return Err(AssignError::Identity(NameError(identity.to_string())));
        }
        if self.assigned.contains_key(&identity) {
            return Err(AssignError::Twice { policy: policy.to_owned(), identity });
        }
        self.assigned.insert(identity, policy.to_owned());
        Ok(())
    }

    /// Decides a call of `path`, the decoded path of the URL; its method plays no role.
    pub fn decide<'a>(&'a self, identity: &Identity, path: &str) -> Decision<'a> {
        if identity.is_unknown() {
            return Decision::UnknownIdentity;
        }
        if *identity == self.admin {
            return Decision::Admin;
        }
        let Some((name, policy)) = self.policy_of(identity) else { return Decision::UnknownIdentity };
        if let Some(rule) = policy.deny.iter().find(|rule| matches(rule, path)) {
            return Decision::Denied { policy: name, rule };
        }
        match policy.allow.iter().find(|rule| matches(rule, path)) {
            Some(rule) => Decision::Allowed { policy: name, rule },
            None => Decision::NotAllowed { policy: name },
        }
    }

    /// The rules that can decide nothing, in the order of policies, denials first.
    pub fn dead_rules(&self) -> Vec<DeadRule> {
        let rules = |(name, policy): (&String, &Policy)| {
            let denials = policy.deny.iter().filter_map(|pattern| DeadRule::find(name, pattern, true));
            let permits = policy.allow.iter().filter_map(|pattern| DeadRule::find(name, pattern, false));
            denials.chain(permits).collect::<Vec<_>>()
        };
        self.policies.iter().flat_map(rules).collect()
    }

    /// The admin.
    pub fn admin(&self) -> &Identity {
        &self.admin
    }

    /// The policies by name.
    pub fn policies(&self) -> &BTreeMap<String, Policy> {
        &self.policies
    }

    /// Which identity has which policy.
    pub fn assigned(&self) -> &BTreeMap<Identity, String> {
        &self.assigned
    }

    fn policy_of(&self, identity: &Identity) -> Option<(&str, &Policy)> {
        let name = self.assigned.get(identity)?;
        Some((name, self.policies.get(name)?))
    }
}

/// A pattern that ends in `*` matches by prefix, across `/`; any other only itself; the empty one nothing.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => !pattern.is_empty() && pattern == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_by_prefix_or_as_a_whole() {
        for (pattern, path, expected) in [
            ("", "", false),
            ("*", "/v1/status", true),
            ("/v1/key/*", "/v1/key/create/a", true),
            ("/v1/key/*/a", "/v1/key/create/a", false),
            ("/v1/key/list", "/v1/key/list/", false),
            ("/v1/key/list/*", "/v1/key/list/", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
