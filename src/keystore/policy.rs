//! The smallest set of permissions that KES needs in a keystore (docs/keystores-protocol.md §3 to §9). Nothing here is
//! secret.

use serde_json::Value;

/// The KES that gets the permissions.
pub(crate) struct Subject<'a> {
    /// Its keystore section.
    pub(crate) section: &'a Value,
    /// The keys of its stack.
    pub(crate) keys: Vec<&'a str>,
    /// Name of the stack.
    pub(crate) name: &'a str,
    /// Its namespace.
    pub(crate) namespace: &'a str,
    /// Its service account.
    pub(crate) account: &'a str,
    /// True if the keystore knows it by that account.
    pub(crate) has_account: bool,
    /// The pool of a fleet of Google's.
    pub(crate) pool: Option<&'a str>,
    /// The identity that the user named.
    pub(crate) workload_identity: Option<&'a str>,
}

/// One file: a policy, or the commands that put it in force.
pub(crate) struct Policy {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it holds.
    pub(crate) text: String,
}

impl Policy {
    pub(super) fn new(name: &'static str, text: String) -> Self {
        Self { name, text }
    }

    pub(super) fn json(name: &'static str, value: &Value) -> Self {
        Self::new(name, serde_json::to_string_pretty(value).unwrap_or_default() + "\n")
    }

    /// For people: a vendor without a language for policies.
    pub(super) fn notes(text: &str) -> Self {
        Self::new("iam.md", text.into())
    }
}

/// One line of a script, whatever is named in it.
pub(super) fn comment(text: &str) -> String {
    format!("# {}", text.replace(char::is_control, " "))
}

pub(super) fn script(lines: &[String]) -> String {
    format!("#!/bin/sh\n{}\n", lines.join("\n"))
}
