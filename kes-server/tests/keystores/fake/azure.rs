//! Azure: a Key Vault (docs/keystores-protocol.md §8), the login host, and the services of managed identities, all on
//! one port.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Reply, Request, Service, percent};

/// What tokens are for.
pub const RESOURCE: &str = "https://vault.azure.net";
/// The secret of the application `client` in the directory `tenant`.
pub const SECRET: &str = "s3cret~+&= %";
/// What a cluster's token proves that we are `client`.
pub const FEDERATED: &str = "federated";
/// Items of a page.
const PAGE: usize = 25;

/// A vault of the directory `tenant`. Names are compared without case, deletions take time, as configured.
#[derive(Debug, Default)]
pub struct Azure {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    secrets: BTreeMap<String, Secret>,
    deleted: BTreeMap<String, Deleted>,
    versions: usize,
    tokens: usize,
    /// So many of them are not valid any more.
    forgotten: usize,
    settings: Settings,
}

/// How it behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the challenge asks for.
    pub tenant: &'static str,
    pub resource: &'static str,
    /// How long a deletion takes, and how long a final one.
    pub deletion: Duration,
    pub purge: Duration,
    /// The vault has purge protection.
    pub protected: bool,
    /// How long tokens last, in seconds.
    pub life: u64,
}

#[derive(Debug, Clone)]
struct Secret {
    name: String,
    versions: Vec<Version>,
}

/// A version of a secret; times in seconds since 1970.
#[derive(Debug, Clone)]
pub struct Version {
    pub id: String,
    pub value: String,
    pub created: u64,
    pub enabled: bool,
    pub nbf: Option<u64>,
    pub exp: Option<u64>,
}

#[derive(Debug)]
struct Deleted {
    since: Instant,
    purged: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        let settings = Settings {
            tenant: "tenant",
            resource: RESOURCE,
            deletion: Duration::ZERO,
            purge: Duration::ZERO,
            protected: false,
            life: 3600,
        };
        Self { secrets: BTreeMap::new(), deleted: BTreeMap::new(), versions: 0, tokens: 0, forgotten: 0, settings }
    }
}

impl Azure {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.state().settings);
    }

    /// The values of all versions of a name.
    pub fn stored(&self, name: &str) -> Vec<String> {
        let state = self.state();
        let versions = state.secrets.get(&name.to_lowercase()).map_or(&[][..], |secret| &secret.versions);
        versions.iter().map(|version| version.value.clone()).collect()
    }

    /// The IDs of all versions of a name.
    pub fn versions(&self, name: &str) -> Vec<String> {
        let state = self.state();
        let versions = state.secrets.get(&name.to_lowercase()).map_or(&[][..], |secret| &secret.versions);
        versions.iter().map(|version| version.id.clone()).collect()
    }

    pub fn put(&self, name: &str, value: &str) {
        self.put_version(name, |version| version.value = value.into());
    }

    /// One more version.
    pub fn put_version(&self, name: &str, change: impl FnOnce(&mut Version)) {
        let mut state = self.state();
        let mut version = state.version(String::new());
        change(&mut version);
        state.secret(name).versions.push(version);
    }

    /// How many tokens were handed out.
    pub fn tokens(&self) -> usize {
        self.state().tokens
    }

    /// No token that was handed out is valid any more.
    pub fn expire(&self) {
        let mut state = self.state();
        state.forgotten = state.tokens;
    }

    /// Hands out a token by other ways.
    pub fn grant(&self) -> String {
        self.state().grant()
    }
}

impl State {
    fn grant(&mut self) -> String {
        self.tokens += 1;
        format!("token-{}", self.tokens)
    }

    fn knows(&self, authorization: &str) -> bool {
        let number = authorization.strip_prefix("Bearer token-").and_then(|number| number.parse().ok());
        number.is_some_and(|number: usize| (self.forgotten + 1..=self.tokens).contains(&number))
    }

    fn version(&mut self, value: String) -> Version {
        self.versions += 1;
        let (id, created) = (format!("{:032x}", self.versions), now());
        Version { id, value, created, enabled: true, nbf: None, exp: None }
    }

    fn secret(&mut self, name: &str) -> &mut Secret {
        let secret = Secret { name: name.into(), versions: Vec::new() };
        self.secrets.entry(name.to_lowercase()).or_insert(secret)
    }
}

impl Service for Azure {
    fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state();
        let purge = state.settings.purge;
        state.deleted.retain(|_, deleted| deleted.purged.is_none_or(|since| since.elapsed() < purge));
        let segments = request.segments();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", []) => Reply::status(404),
            (_, ["metadata" | "msi" | "tenant" | "other", ..]) => login(&mut state, request, &segments),
            _ if !state.knows(request.header("authorization")) => challenge(&state.settings, request),
            _ if request.query("api-version").is_empty() => refused(400, "BadParameter", ""),
            ("GET", ["secrets"]) => list(&state, request),
            (method, ["secrets", name, rest @ ..]) if is_name(name) => secret(&mut state, method, name, rest, request),
            ("DELETE", ["deletedsecrets", name]) => finish(&mut state, name),
            _ => refused(400, "BadParameter", ""),
        }
    }
}

fn challenge(settings: &Settings, request: &Request) -> Reply {
    let (tenant, resource) = (settings.tenant, settings.resource);
    let header = format!(r#"Bearer authorization="{}/{tenant}", resource="{resource}""#, request.origin);
    refused(401, "Unauthorized", "").with("www-authenticate", &header)
}

fn login(state: &mut State, request: &Request, path: &[&str]) -> Reply {
    let form: BTreeMap<_, _> = String::from_utf8_lossy(&request.body)
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), percent(value)))
        .collect();
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let granted = match path {
        ["tenant", "v2.0", ".well-known", "openid-configuration"] => {
            let base = format!("{}/tenant", request.origin);
            return Reply::json(
                200,
                &json!({
                    "issuer": format!("{base}/v2.0"),
                    "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
                    "token_endpoint": format!("{base}/oauth2/v2.0/token"),
                }),
            );
        }
        ["tenant", "oauth2", "v2.0", "token"] => {
            let jwt = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            let proven = field("client_secret") == SECRET
                || (field("client_assertion_type") == jwt && field("client_assertion") == FEDERATED);
            let asked = field("scope").split(' ').any(|scope| scope == format!("{RESOURCE}/.default"));
            proven && asked && field("client_id") == "client" && field("grant_type") == "client_credentials"
        }
        ["metadata", "identity", "oauth2", "token"] => {
            request.header("metadata") == "true"
                && request.query("resource") == RESOURCE
                && ["", "identity"].contains(&request.query("client_id"))
        }
        ["msi", "token"] => request.header("x-identity-header") == "header" && request.query("resource") == RESOURCE,
        _ => false,
    };
    if !granted {
        let why = json!({ "error": "invalid_client", "error_description": "AADSTS7000215: wrong credentials" });
        return Reply::json(if path.first() == Some(&"metadata") { 400 } else { 401 }, &why);
    }
    let (token, life) = (state.grant(), state.settings.life);
    // the services disagree about numbers and texts, and App Service tells only the end
    Reply::json(
        200,
        &match path {
            ["metadata", ..] => {
                json!({ "access_token": token, "expires_in": life.to_string(), "token_type": "Bearer" })
            }
            ["msi", ..] => {
                json!({ "access_token": token, "expires_on": (now() + life).to_string(), "token_type": "Bearer" })
            }
            _ => json!({ "access_token": token, "expires_in": life, "token_type": "Bearer" }),
        },
    )
}

fn secret(state: &mut State, method: &str, name: &str, path: &[&str], request: &Request) -> Reply {
    let key = name.to_lowercase();
    match (method, path) {
        ("PUT", []) => put(state, name, request),
        ("DELETE", []) => match state.secrets.remove(&key) {
            None => refused(404, "SecretNotFound", ""),
            Some(secret) => {
                state.deleted.insert(key, Deleted { since: Instant::now(), purged: None });
                Reply::json(
                    200,
                    &json!({
                        "recoveryId": format!("{}/deletedsecrets/{}", request.origin, secret.name),
                        "id": format!("{}/secrets/{}", request.origin, secret.name), "attributes": {},
                    }),
                )
            }
        },
        ("GET", ["versions"]) => {
            let versions = state.secrets.get(&key).map_or(&[][..], |secret| &secret.versions);
            page(request, versions.iter(), |version| item(request, name, version, true))
        }
        ("GET", rest) => {
            let Some(secret) = state.secrets.get(&key) else { return refused(404, "SecretNotFound", "") };
            let version = match rest {
                [] => secret.versions.iter().max_by_key(|version| version.created),
                [id, ..] => secret.versions.iter().find(|version| version.id == *id),
            };
            match version {
                None => refused(404, "SecretNotFound", ""),
                Some(version) if !version.enabled => refused(403, "Forbidden", "SecretDisabled"),
                Some(version) => {
                    let mut item = item(request, &secret.name, version, true);
                    item["value"] = version.value.as_str().into();
                    Reply::json(200, &item)
                }
            }
        }
        _ => refused(405, "BadParameter", ""),
    }
}

fn put(state: &mut State, name: &str, request: &Request) -> Reply {
    if let Some(deleted) = state.deleted.get(&name.to_lowercase()) {
        let going = deleted.purged.is_some() || deleted.since.elapsed() < state.settings.deletion;
        return refused(409, "Conflict", if going { "ObjectIsBeingDeleted" } else { "ObjectIsDeletedButRecoverable" });
    }
    let body = request.json();
    let Some(value) = body["value"].as_str().filter(|value| value.len() <= 25 * 1024) else {
        return refused(400, "BadParameter", "");
    };
    let version = state.version(value.into());
    let secret = state.secret(name);
    let mut item = item(request, &secret.name, &version, true);
    item["value"] = value.into();
    secret.versions.push(version);
    Reply::json(200, &item)
}

/// Makes a deletion final.
fn finish(state: &mut State, name: &str) -> Reply {
    let Settings { deletion, protected, .. } = state.settings;
    match state.deleted.get_mut(&name.to_lowercase()) {
        None => refused(404, "SecretNotFound", ""),
        Some(_) if protected => refused(403, "Forbidden", "ForbiddenByPolicy"),
        Some(deleted) if deleted.purged.is_some() || deleted.since.elapsed() < deletion => {
            refused(409, "Conflict", "ObjectIsBeingDeleted")
        }
        Some(deleted) => {
            deleted.purged = Some(Instant::now());
            Reply::status(204)
        }
    }
}

fn list(state: &State, request: &Request) -> Reply {
    let newest = state.secrets.values().filter_map(|secret| Some((&secret.name, secret.versions.last()?)));
    page(request, newest, |(name, version)| item(request, name, version, false))
}

fn item(request: &Request, name: &str, version: &Version, with_version: bool) -> Value {
    let id = if with_version { format!("/{}", version.id) } else { String::new() };
    let mut attributes = json!({ "enabled": version.enabled, "created": version.created, "updated": version.created });
    for (name, time) in [("nbf", version.nbf), ("exp", version.exp)] {
        if let Some(time) = time {
            attributes[name] = time.into();
        }
    }
    json!({ "id": format!("{}/secrets/{name}{id}", request.origin), "attributes": attributes })
}

fn page<T>(request: &Request, items: impl Iterator<Item = T>, show: impl Fn(T) -> Value) -> Reply {
    let skip = request.query("$skiptoken").parse().unwrap_or(0);
    let mut left = items.skip(skip);
    let page: Vec<_> = left.by_ref().take(PAGE).map(show).collect();
    let next = left.next().map(|_| {
        let (origin, path, version) = (&request.origin, &request.path, request.query("api-version"));
        format!("{origin}{path}?api-version={version}&$skiptoken={}", skip + PAGE)
    });
    Reply::json(200, &json!({ "value": page, "nextLink": next }))
}

fn is_name(name: &str) -> bool {
    name.len() <= 127 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn refused(status: u16, code: &str, inner: &str) -> Reply {
    let mut error = json!({ "code": code, "message": "told by the test" });
    if !inner.is_empty() {
        error["innererror"] = json!({ "code": inner });
    }
    Reply::json(status, &json!({ "error": error }))
}
