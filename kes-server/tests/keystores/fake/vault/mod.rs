//! Hashicorp Vault and OpenBao (docs/keystores-protocol.md §4): K/V v1 and v2, transit, AppRole, Kubernetes, tokens
//! that expire, policies, namespaces, seal. Nothing is really encrypted.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Reply, Request, Service, percent};

mod auth;
mod kv;
mod system;
mod transit;

pub use auth::{JWT, Policy, ROLE_ID, ROOT_TOKEN, Role, SECRET_ID};

use auth::Auth;
use kv::{Kv1, Kv2};
use transit::Transit;

/// A Vault with the engines `kv` and `deep/er` (v1), `kv2` (v2) and `transit` (with a key `kes`), in the root and in
/// the namespace `team-a`.
#[derive(Debug)]
pub struct Vault {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sealed: bool,
    initialized: bool,
    /// By namespace and path.
    mounts: BTreeMap<(String, String), Mount>,
    auth: Auth,
    seen: Vec<Seen>,
}

#[derive(Debug)]
enum Mount {
    Kv1(Kv1),
    Kv2(Kv2),
    Transit(Transit),
}

/// The headers of a request that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub path: String,
    pub namespace: String,
    pub token: bool,
    pub marked: bool,
    pub content_type: String,
}

/// What is to be done with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Read,
    List,
    Write,
    Delete,
}

impl Default for Vault {
    fn default() -> Self {
        let mut mounts = BTreeMap::new();
        for namespace in ["", "team-a"] {
            for (path, mount) in [
                ("kv", Mount::Kv1(Kv1::default())),
                ("kv2", Mount::Kv2(Kv2::default())),
                ("deep/er", Mount::Kv1(Kv1::default())),
                ("transit", Mount::Transit(Transit::with("kes"))),
            ] {
                mounts.insert((namespace.to_owned(), path.to_owned()), mount);
            }
        }
        let state = State { sealed: false, initialized: true, mounts, auth: Auth::default(), seen: Vec::new() };
        Self { state: Mutex::new(state) }
    }
}

impl Vault {
    pub fn seal(&self, sealed: bool) {
        self.state.lock().unwrap().sealed = sealed;
    }

    pub fn initialize(&self, initialized: bool) {
        self.state.lock().unwrap().initialized = initialized;
    }

    /// What logins get from now on.
    pub fn role(&self, role: Role) {
        self.state.lock().unwrap().auth.role = role;
    }

    /// What a login must show from now on, as secret ID or JWT.
    pub fn credential(&self, secret: &str) {
        self.state.lock().unwrap().auth.credential = Some(secret.into());
    }

    /// All tokens are unknown, as after a restart without storage.
    pub fn forget_tokens(&self) {
        self.state.lock().unwrap().auth.forget();
    }

    pub fn rotate(&self, key: &str) {
        self.with("transit", |mount| match mount {
            Mount::Transit(transit) => transit.rotate(key),
            _ => unreachable!("it is a transit engine"),
        });
    }

    /// The data of a V1 entry, of the first version of a V2 entry.
    pub fn stored(&self, mount: &str, path: &str) -> Option<Value> {
        self.with(mount, |mount| match mount {
            Mount::Kv1(kv) => kv.entries.get(path).cloned(),
            Mount::Kv2(kv) => kv.entries.get(path)?.first()?.clone(),
            Mount::Transit(_) => None,
        })
    }

    /// Writes like someone with all rights: V1 replaces, V2 adds a version.
    pub fn put(&self, mount: &str, path: &str, data: Value) {
        self.with(mount, |mount| match mount {
            Mount::Kv1(kv) => drop(kv.entries.insert(path.into(), data)),
            Mount::Kv2(kv) => kv.entries.entry(path.into()).or_default().push(Some(data)),
            Mount::Transit(_) => unreachable!("it is a K/V engine"),
        });
    }

    /// Deletes a version of a V2 entry, as `vault kv delete` does.
    pub fn delete_version(&self, mount: &str, path: &str, version: usize) {
        self.with(mount, |mount| match mount {
            Mount::Kv2(kv) => kv.entries.get_mut(path).unwrap()[version - 1] = None,
            _ => unreachable!("it is a K/V v2 engine"),
        });
    }

    /// The headers of the requests since the last call.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    fn with<T>(&self, mount: &str, look: impl FnOnce(&mut Mount) -> T) -> T {
        let key = (String::new(), mount.to_owned());
        look(self.state.lock().unwrap().mounts.get_mut(&key).unwrap())
    }
}

impl Service for Vault {
    fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state.lock().unwrap();
        let path = percent(request.path.trim_start_matches("/v1/"));
        let namespace = request.header("x-vault-namespace").trim_matches('/').to_owned();
        state.seen.push(Seen {
            path: path.clone(),
            namespace: namespace.clone(),
            token: !request.header("x-vault-token").is_empty(),
            marked: request.header("x-vault-request") == "true",
            content_type: request.header("content-type").into(),
        });
        let verb = match (request.method.as_str(), request.query("list")) {
            ("LIST", _) | ("GET", "true") => Verb::List,
            ("GET" | "HEAD", _) => Verb::Read,
            ("DELETE", _) => Verb::Delete,
            _ => Verb::Write,
        };
        state
            .public(&path, &namespace, verb, request)
            .unwrap_or_else(|| state.guarded(&path, &namespace, verb, request))
    }
}

impl State {
    /// What needs no token.
    fn public(&mut self, path: &str, namespace: &str, verb: Verb, request: &Request) -> Option<Reply> {
        if let Some(reply) = self.system(path, namespace, verb, request) {
            return Some(reply);
        }
        if self.sealed {
            return Some(refused(503, "Vault is sealed"));
        }
        let method = path.strip_prefix("auth/")?.strip_suffix("/login")?;
        Some(self.auth.login(method, namespace, &request.json()))
    }

    fn guarded(&mut self, path: &str, namespace: &str, verb: Verb, request: &Request) -> Reply {
        let token = request.header("x-vault-token");
        let Some(policy) = self.auth.policy(token, namespace) else {
            return refused(403, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n");
        };
        if let Some(action) = path.strip_prefix("auth/token/") {
            return self.auth.own(token, action);
        }
        if let Some(reply) = self.questions(path, namespace, |path| policy.capabilities(path), request) {
            return reply;
        }
        let mounted = self.mounts.keys().filter(|(of, mount)| {
            of == namespace
                && path.strip_prefix(mount.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let key = mounted.max_by_key(|(_, mount)| mount.len()).cloned();
        let mount = key.as_ref().and_then(|key| self.mounts.get_mut(key));
        let inner = key.as_ref().map_or("", |(_, mount)| path[mount.len()..].trim_matches('/'));
        let capability = match verb {
            Verb::Read => "read",
            Verb::List => "list",
            Verb::Delete => "delete",
            Verb::Write if mount.as_ref().is_some_and(|mount| mount.has(inner)) => "update",
            Verb::Write => "create",
        };
        let asked = if verb == Verb::List { format!("{}/", path.trim_end_matches('/')) } else { path.to_owned() };
        if !policy.allows(&asked, capability) {
            return refused(403, "1 error occurred:\n\t* permission denied\n\n");
        }
        match mount {
            Some(mount) => mount.answer(verb, inner, request),
            None => self.admin(path, namespace, request),
        }
    }
}

impl Mount {
    /// Whether a write to this path changes something that exists.
    fn has(&self, path: &str) -> bool {
        match self {
            Self::Kv1(kv) => kv.entries.contains_key(path),
            Self::Kv2(kv) => kv.has(path),
            Self::Transit(_) => true,
        }
    }

    fn answer(&mut self, verb: Verb, path: &str, request: &Request) -> Reply {
        match self {
            Self::Kv1(kv) => kv.answer(verb, path, request),
            Self::Kv2(kv) => kv.answer(verb, path, request),
            Self::Transit(transit) => transit.answer(path, &request.json()),
        }
    }
}

fn refused(status: u16, why: &str) -> Reply {
    Reply::json(status, &json!({ "errors": [why] }))
}

/// What there is not.
fn nothing() -> Reply {
    Reply::json(404, &json!({ "errors": [] }))
}

fn data(data: &Value) -> Reply {
    Reply::json(
        200,
        &json!({ "request_id": "1", "lease_id": "", "lease_duration": 0, "renewable": false, "data": data }),
    )
}
