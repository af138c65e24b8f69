//! Logins, tokens and what they may do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::Reply;
use super::{data, refused};

/// May do everything, forever.
pub const ROOT_TOKEN: &str = "root";
/// Role ID of the AppRole that all namespaces have.
pub const ROLE_ID: &str = "kes-role";
/// Its secret ID.
pub const SECRET_ID: &str = "kes-secret";
/// Token of the service account; with a line end it is refused, which a real one would not do.
pub const JWT: &str = "kes.service.account";

/// What a login gets.
#[derive(Debug, Clone)]
pub struct Role {
    /// Seconds that a token lives; 0 forever.
    pub life: u64,
    /// Seconds that renewals can extend it to; 0 forever.
    pub max: u64,
    /// False for batch tokens.
    pub renewable: bool,
    pub policy: Policy,
}

/// Capabilities by path; one that ends in `*` holds for all that start so, and the longest path counts.
#[derive(Debug, Clone)]
pub struct Policy(pub Vec<(String, Vec<String>)>);

#[derive(Debug)]
pub struct Auth {
    pub role: Role,
    /// Instead of [`SECRET_ID`] and [`JWT`].
    pub credential: Option<String>,
    tokens: BTreeMap<String, Issued>,
    issued: usize,
}

#[derive(Debug)]
struct Issued {
    namespace: String,
    role: Role,
    expires: Option<Instant>,
    last: Option<Instant>,
}

impl Default for Role {
    /// The documented policy of kes (docs/keystores-protocol.md §13.4): no `update`.
    fn default() -> Self {
        let policy = Policy::of(&[
            ("kv/*", "create read delete list"),
            ("deep/er/*", "create read delete list"),
            ("kv2/data/*", "create read"),
            ("kv2/metadata/*", "list delete"),
            ("transit/encrypt/*", "update"),
            ("transit/decrypt/*", "update"),
        ]);
        Self { life: 3600, max: 0, renewable: true, policy }
    }
}

impl Policy {
    pub fn of(rules: &[(&str, &str)]) -> Self {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect();
        Self(rules.iter().map(|(path, capabilities)| ((*path).to_owned(), words(capabilities))).collect())
    }

    pub fn capabilities(&self, path: &str) -> Vec<String> {
        let matching = self.0.iter().filter(|(rule, _)| match rule.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == rule,
        });
        matching.max_by_key(|(rule, _)| rule.len()).map_or(Vec::new(), |(_, capabilities)| capabilities.clone())
    }

    pub fn allows(&self, path: &str, capability: &str) -> bool {
        self.capabilities(path).iter().any(|given| given == capability || given == "root")
    }
}

impl Default for Auth {
    fn default() -> Self {
        let mut auth = Self { role: Role::default(), credential: None, tokens: BTreeMap::new(), issued: 0 };
        auth.forget();
        auth
    }
}

impl Auth {
    /// Only the root token is left.
    pub fn forget(&mut self) {
        let role = Role { life: 0, max: 0, renewable: false, policy: Policy::of(&[("*", "root")]) };
        let root = Issued { namespace: String::new(), role, expires: None, last: None };
        self.tokens = BTreeMap::from([(ROOT_TOKEN.to_owned(), root)]);
    }

    pub fn login(&mut self, method: &str, namespace: &str, body: &Value) -> Reply {
        let credential = |usual: &str| self.credential.clone().unwrap_or_else(|| usual.to_owned());
        match method {
            "approle" if body["role_id"] != ROLE_ID || body["secret_id"] != credential(SECRET_ID) => {
                return refused(400, "invalid role or secret ID");
            }
            "kubernetes" if body["role"] != "kes" => return refused(400, "invalid role name \"\""),
            "kubernetes" if body["jwt"] != credential(JWT) => return refused(403, "permission denied"),
            "approle" | "kubernetes" => {}
            _ => return refused(403, "permission denied"),
        }
        self.issued += 1;
        let token = format!("hvs.{}", self.issued);
        let now = Instant::now();
        let after = |seconds: u64| (seconds > 0).then(|| now + Duration::from_secs(seconds));
        let role = self.role.clone();
        let issued = Issued { namespace: namespace.into(), expires: after(role.life), last: after(role.max), role };
        let reply = granted(&token, &issued);
        self.tokens.insert(token, issued);
        reply
    }

    /// What a token may do in a namespace, `None` if it is not valid there.
    pub fn policy(&self, token: &str, namespace: &str) -> Option<Policy> {
        let issued = self.tokens.get(token).filter(|issued| issued.expires.is_none_or(|end| Instant::now() < end))?;
        let below = namespace.strip_prefix(issued.namespace.as_str())?;
        let within = issued.namespace.is_empty() || below.is_empty() || below.starts_with('/');
        within.then(|| issued.role.policy.clone())
    }

    /// What every token may do with itself.
    pub fn own(&mut self, token: &str, action: &str) -> Reply {
        let Some(issued) = self.tokens.get_mut(token) else { return refused(403, "permission denied") };
        match action {
            "lookup-self" => data(&json!({
                "id": token, "ttl": seconds(issued.expires), "renewable": issued.role.renewable,
                "policies": ["default", "kes"], "namespace_path": issued.namespace,
            })),
            "renew-self" if !issued.role.renewable => refused(400, "lease is not renewable"),
            "renew-self" => {
                let end = Instant::now() + Duration::from_secs(issued.role.life);
                issued.expires = Some(issued.last.map_or(end, |last| last.min(end)));
                granted(token, issued)
            }
            "revoke-self" => {
                self.tokens.remove(token);
                Reply::status(204)
            }
            _ => refused(404, "unsupported path"),
        }
    }
}

fn granted(token: &str, issued: &Issued) -> Reply {
    let auth = json!({
        "client_token": token, "accessor": "a", "policies": ["default", "kes"], "token_policies": ["default", "kes"],
        "metadata": { "role_name": "kes" }, "lease_duration": seconds(issued.expires),
        "renewable": issued.role.renewable, "entity_id": "e", "token_type": "service", "orphan": true,
    });
    Reply::json(200, &json!({ "request_id": "1", "lease_id": "", "renewable": false, "data": null, "auth": auth }))
}

/// How long it is until then, 0 forever.
fn seconds(end: Option<Instant>) -> u64 {
    end.map_or(0, |end| (end.saturating_duration_since(Instant::now()) + Duration::from_millis(500)).as_secs())
}
