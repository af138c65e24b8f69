//! Whether the deployment's own policies let MinIO do what it does with KES (docs/minio-kms-client.md §2.8).

use kes_server::auth::{Access, Identity};

use crate::data::drive::Inventory;
use crate::operate::evidence::{Claim, LISTED};

/// What the claims are about.
const ABOUT: &str = "the deployment's policy";

/// Calls that MinIO makes without needing them for its data, and what their refusal means.
const OTHERS: [(&str, &str); 3] = [
    ("/v1/key/describe/", "MinIO asks every 10 s, and KES refuses and logs each of these calls"),
    ("/v1/key/list/", "`mc admin kms key list` fails"),
    ("/v1/status", "`mc admin info` does not show KES"),
];

/// Who may do what in the deployment as it is.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Its policies.
    pub(crate) access: Access,
    /// Whom KES takes MinIO for.
    pub(crate) minio: Caller,
    /// True if identities come from variables whose values are not here.
    pub(crate) has_gaps: bool,
}

/// Whom KES takes a client for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The holder of a certificate or of an API key.
    Known(Identity),
    /// Nobody: its certificate is marked as an authority's, which KES ignores.
    Authority,
    /// The certificate is not here.
    Unknown,
}

/// What the rules say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) claims: Vec<Claim>,
    /// What is not an obstacle, or cannot be said.
    pub(super) notes: Vec<String>,
}

/// Judges the rules by what MinIO needs for the data on a drive with that default key.
pub(super) fn judge(rules: &Rules, inventory: &Inventory, default: &str) -> Judged {
    let minio = match &rules.minio {
        Caller::Known(identity) => identity,
        Caller::Authority => return Judged { claims: vec![ignored()], ..Judged::default() },
        Caller::Unknown => return unknown("MinIO's certificate is not here"),
    };
    let is_known = rules.access.assigned().contains_key(minio) || rules.access.admin() == minio;
    if !is_known && rules.has_gaps {
        return unknown("it takes identities from variables whose values are not here");
    }
    let decide = |path: &str| Some(rules.access.decide(minio, path)).filter(|decision| !decision.is_allowed());
    let calls = needed(inventory, default);
    let refused: Vec<_> = calls.iter().filter_map(|path| Some(format!("{path}: {}", decide(path)?))).collect();
    let known = Claim {
        about: ABOUT.into(),
        claim: "it names the identity of MinIO's certificate".into(),
        proven: is_known,
        seen: format!("identity {minio}"),
    };
    if !is_known {
        return Judged { claims: vec![known], ..Judged::default() };
    }
    let allows = Claim {
        about: ABOUT.into(),
        claim: "it allows every call that MinIO needs for its data".into(),
        proven: refused.is_empty(),
        seen: if refused.is_empty() { format!("{} calls", calls.len()) } else { shortened(refused) },
    };
    let others = OTHERS.iter().filter_map(|(path, means)| {
        let path = if path.ends_with("describe/") { format!("{path}{default}") } else { (*path).to_owned() };
        decide(&path).map(|decision| format!("the deployment's policy refuses {path} ({decision}): {means}"))
    });
    Judged { claims: vec![known, allows], notes: others.collect() }
}

/// The paths of the calls without which data cannot be read or written. What a default key is to protect is read as well.
fn needed(inventory: &Inventory, default: &str) -> Vec<String> {
    let mut paths = vec![format!("/v1/key/generate/{default}"), format!("/v1/key/decrypt/{default}")];
    for (name, used) in inventory.keys.iter().filter(|(name, _)| *name != default) {
        let is_default = !used.default_of.is_empty();
        if is_default || used.protects() {
            paths.push(format!("/v1/key/decrypt/{name}"));
        }
        if is_default {
            paths.push(format!("/v1/key/generate/{name}"));
        }
    }
    paths
}

fn ignored() -> Claim {
    Claim {
        about: ABOUT.into(),
        claim: "it names the identity of MinIO's certificate".into(),
        proven: false,
        seen: "the certificate is marked as an authority's (CA:TRUE), and KES ignores such a client certificate".into(),
    }
}

fn unknown(why: &str) -> Judged {
    let note = format!("whether the deployment's policy allows what MinIO calls: {why}");
    Judged { notes: vec![note], ..Judged::default() }
}

fn shortened(mut refused: Vec<String>) -> String {
    let more = refused.len().saturating_sub(LISTED);
    refused.truncate(LISTED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{more}", refused.join("; "))
}

#[cfg(test)]
mod tests {
    use kes_server::auth::Policy;

    use super::*;
    use crate::data::drive::KeyUse;

    fn rules(allow: &[&str], minio: Caller) -> Rules {
        let policy = Policy { allow: allow.iter().map(|&rule| rule.to_owned()).collect(), deny: vec![] };
        let known = Identity::new("a".repeat(64));
        let access = Access::new(Identity::new("disabled"), [("minio".to_owned(), policy, vec![known])]).unwrap();
        Rules { access, minio, has_gaps: false }
    }

    fn inventory() -> Inventory {
        let used = KeyUse { minio_files: 1, ..KeyUse::default() };
        let waiting = KeyUse { default_of: ["docs".to_owned()].into(), ..KeyUse::default() };
        Inventory { keys: [("old".into(), used), ("new".into(), waiting)].into(), ..Inventory::default() }
    }

    const ALL: [&str; 5] =
        ["/v1/key/generate/*", "/v1/key/decrypt/*", "/v1/key/describe/*", "/v1/key/list/*", "/v1/status"];

    #[test]
    fn each_call_that_data_needs_is_judged_and_named() {
        let known = Caller::Known(Identity::new("a".repeat(64)));
        let good = judge(&rules(&ALL, known.clone()), &inventory(), "main");
        assert!(good.claims.len() == 2 && good.claims.iter().all(|claim| claim.proven), "{good:?}");
        assert_eq!(good.notes, Vec::<String>::new());
        let narrow = judge(&rules(&["/v1/key/generate/main", "/v1/status"], known), &inventory(), "main");
        let seen = &narrow.claims[1].seen;
        assert!(!narrow.claims[1].proven && seen.contains("/v1/key/decrypt/old: rejected by policy 'minio'"), "{seen}");
        assert!(seen.contains("/v1/key/generate/new") && !seen.contains("generate/main"), "{seen}");
        assert!(narrow.notes.len() == 2 && narrow.notes[0].contains("/v1/key/describe/main"), "{narrow:?}");
    }

    #[test]
    fn keys_that_protect_nothing_yet_are_to_be_read_too() {
        let paths = ["generate/main", "decrypt/main", "decrypt/new", "generate/new", "decrypt/old"];
        assert_eq!(needed(&inventory(), "main"), paths.map(|path| format!("/v1/key/{path}")));
        let known = Caller::Known(Identity::new("a".repeat(64)));
        let narrow = rules(&["/v1/key/generate/*", "/v1/key/decrypt/old"], known);
        let judged = judge(&narrow, &inventory(), "main");
        let seen = &judged.claims[1].seen;
        assert!(!judged.claims[1].proven && !seen.contains("decrypt/old"), "{seen}");
        assert!(seen.contains("/v1/key/decrypt/main") && seen.contains("/v1/key/decrypt/new"), "{seen}");
    }

    #[test]
    fn a_caller_that_nobody_knows_differs_from_one_that_is_not_here() {
        let other = rules(&ALL, Caller::Known(Identity::new("b".repeat(64))));
        let judged = judge(&other, &inventory(), "main");
        assert!(judged.claims.len() == 1 && !judged.claims[0].proven && judged.claims[0].seen.contains("bbb"));
        let gaps = judge(&Rules { has_gaps: true, ..other }, &inventory(), "main");
        assert!(gaps.claims.is_empty() && gaps.notes[0].contains("variables"), "{gaps:?}");
        let absent = judge(&rules(&ALL, Caller::Unknown), &inventory(), "main");
        assert!(absent.claims.is_empty() && absent.notes[0].contains("is not here"), "{absent:?}");
        let ca = judge(&rules(&ALL, Caller::Authority), &inventory(), "main");
        assert!(!ca.claims[0].proven && ca.claims[0].seen.contains("CA:TRUE"), "{ca:?}");
    }
}
