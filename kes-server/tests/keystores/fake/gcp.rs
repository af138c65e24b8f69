//! GCP Secret Manager by its REST form, with what hands out tokens for it (docs/keystores-protocol.md §6).

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{Reply, Request, Service, percent};

pub const PROJECT: &str = "my-project";
/// As Google names the project in answers.
const NUMBER: &str = "projects/123456";
/// The service account whose signature is known.
pub const EMAIL: &str = "kes@my-project.iam.gserviceaccount.com";
pub const KEY_ID: &str = "key-1";
/// Where a token of another service account is had.
pub const IMPERSONATION: &str =
    "/v1/projects/-/serviceAccounts/other@my-project.iam.gserviceaccount.com:generateAccessToken";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

static KEY: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());

/// The private key of the service account, PEM.
pub fn private_key() -> String {
    let der: Pkcs8V1Der<'_> = KEY.as_der().unwrap();
    pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()))
}

/// Its public key, PEM.
pub fn public_key() -> String {
    let der: PublicKeyX509Der<'_> = KEY.public_key().as_der().unwrap();
    pem::encode(&pem::Pem::new("PUBLIC KEY", der.as_ref()))
}

/// A project. Takes JWTs of the service account, and the tokens that it hands out.
#[derive(Debug)]
pub struct Gcp {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    secrets: BTreeMap<String, Vec<Version>>,
    /// Names returned at once.
    page: usize,
    /// How many tokens were handed out.
    issued: usize,
    /// Tokens handed out before that many are not accepted any more.
    valid_from: usize,
    /// Life of tokens in seconds.
    life: u64,
    /// Who called, since the last time: the account or the origin of the token.
    callers: Vec<String>,
    /// The project that is to pay, of each call.
    quota_projects: Vec<String>,
}

#[derive(Debug, Clone)]
struct Version {
    data: Vec<u8>,
    enabled: bool,
}

impl Default for Gcp {
    fn default() -> Self {
        let state = State {
            secrets: BTreeMap::new(),
            page: 1000,
            issued: 0,
            valid_from: 0,
            life: 3599,
            callers: Vec::new(),
            quota_projects: Vec::new(),
        };
        Self { state: Mutex::new(state) }
    }
}

impl Gcp {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The versions of a secret; `None` if there is no such secret.
    pub fn stored(&self, name: &str) -> Option<Vec<String>> {
        let versions = self.state().secrets.get(name)?.clone();
        Some(versions.into_iter().map(|version| String::from_utf8(version.data).unwrap()).collect())
    }

    /// Puts a secret there as others would.
    pub fn put(&self, name: &str, versions: &[&str]) {
        let versions = versions.iter().map(|data| Version { data: data.as_bytes().into(), enabled: true }).collect();
        self.state().secrets.insert(name.into(), versions);
    }

    pub fn disable(&self, name: &str) {
        self.state().secrets.get_mut(name).unwrap()[0].enabled = false;
    }

    pub fn set_page(&self, names: usize) {
        self.state().page = names;
    }

    pub fn set_life(&self, seconds: u64) {
        self.state().life = seconds;
    }

    /// No token that was handed out is good any more.
    pub fn revoke(&self) {
        let mut state = self.state();
        state.valid_from = state.issued + 1;
    }

    pub fn callers(&self) -> Vec<String> {
        std::mem::take(&mut self.state().callers)
    }

    pub fn quota_projects(&self) -> Vec<String> {
        std::mem::take(&mut self.state().quota_projects)
    }
}

impl Service for Gcp {
    fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state();
        let segments = request.segments();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", []) => Reply::status(404),
            ("GET", ["computeMetadata", "v1", "instance", "service-accounts", "default", "token"])
                if request.header("metadata-flavor") == "Google" =>
            {
                let token = token(&mut state, "metadata");
                Reply::json(200, &json!({ "access_token": token, "expires_in": state.life, "token_type": "Bearer" }))
            }
            ("POST", ["token"]) => refresh(&mut state, request),
            ("GET", ["subject"]) if request.header("x-who") == "kes" => {
                Reply::json(200, &json!({ "value": "the subject" }))
            }
            ("POST", ["sts"]) => exchange(&mut state, request),
            ("POST", _) if request.path == IMPERSONATION => impersonate(&mut state, request),
            (method, ["v1", "projects", project, "secrets", rest @ ..]) if [PROJECT, "123456"].contains(project) => {
                let Some(caller) = caller(&state, request) else {
                    return refused(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.");
                };
                state.callers.push(caller);
                state.quota_projects.push(request.header("x-goog-user-project").into());
                secrets(&mut state, method, rest, request)
            }
            _ => Reply::text(404, "no such path"),
        }
    }
}

fn secrets(state: &mut State, method: &str, path: &[&str], request: &Request) -> Reply {
    match (method, path) {
        ("POST", []) => {
            let name = request.query("secretId");
            if request.json()["replication"]["automatic"] != json!({}) {
                return refused(400, "INVALID_ARGUMENT", "a replication is needed");
            }
            if state.secrets.contains_key(name) {
                return refused(409, "ALREADY_EXISTS", "Secret already exists.");
            }
            state.secrets.insert(name.into(), Vec::new());
            Reply::json(200, &secret(name))
        }
        ("POST", [last]) => match last.strip_suffix(":addVersion") {
            Some(name) => add(state, name, &request.json()),
            None => Reply::text(404, "no such path"),
        },
        ("GET", [name, "versions", last]) => access(state, name, last),
        ("DELETE", [name]) => match state.secrets.remove(*name) {
            Some(_) => Reply::json(200, &json!({})),
            None => missing(name),
        },
        ("GET", []) => list(state, request.query("pageToken")),
        _ => Reply::text(404, "no such path"),
    }
}

fn secret(name: &str) -> Value {
    json!({
        "name": format!("{NUMBER}/secrets/{name}"), "createTime": "2026-01-02T03:04:05.678901Z",
        "replication": { "automatic": {} }, "etag": "\"1\"",
    })
}

fn add(state: &mut State, name: &str, body: &Value) -> Reply {
    let Some(versions) = state.secrets.get_mut(name) else { return missing(name) };
    let data = STANDARD.decode(body["payload"]["data"].as_str().unwrap_or_default()).unwrap();
    versions.push(Version { data, enabled: true });
    let version = format!("{NUMBER}/secrets/{name}/versions/{}", versions.len());
    Reply::json(200, &json!({ "name": version, "state": "ENABLED" }))
}

fn access(state: &State, name: &str, last: &str) -> Reply {
    let Some(versions) = state.secrets.get(name) else { return missing(name) };
    let Some(number) = last.strip_suffix(":access") else { return Reply::text(404, "no such path") };
    let number = if number == "latest" { versions.len() } else { number.parse().unwrap() };
    match versions.get(number.wrapping_sub(1)) {
        None => missing(name),
        Some(version) if !version.enabled => {
            refused(400, "FAILED_PRECONDITION", "Secret Version is in DISABLED state.")
        }
        Some(version) => {
            let data = STANDARD.encode(&version.data);
            let name = format!("{NUMBER}/secrets/{name}/versions/{number}");
            Reply::json(200, &json!({ "name": name, "payload": { "data": data } }))
        }
    }
}

fn list(state: &State, token: &str) -> Reply {
    let from: usize = if token.is_empty() { 0 } else { token.parse().unwrap() };
    let page: Vec<_> = state.secrets.keys().skip(from).take(state.page).map(|name| secret(name)).collect();
    let mut answer = json!({ "totalSize": state.secrets.len() });
    // as Google: what is empty is left out
    if !page.is_empty() {
        answer["secrets"] = json!(page);
    }
    if state.secrets.len() > from + state.page {
        answer["nextPageToken"] = json!((from + state.page).to_string());
    }
    Reply::json(200, &answer)
}

fn missing(name: &str) -> Reply {
    refused(404, "NOT_FOUND", &format!("Secret [{NUMBER}/secrets/{name}] not found or has no versions."))
}

/// An error in the form of Google.
pub fn refused(code: u16, status: &str, message: &str) -> Reply {
    Reply::json(code, &json!({ "error": { "code": code, "message": message, "status": status } }))
}

fn token(state: &mut State, origin: &str) -> String {
    state.issued += 1;
    format!("ya29.{origin}-{}", state.issued)
}

fn caller(state: &State, request: &Request) -> Option<String> {
    let token = request.header("authorization").strip_prefix("Bearer ")?;
    let Some(issued) = token.strip_prefix("ya29.") else { return signer(token) };
    let (origin, number) = issued.rsplit_once('-')?;
    (number.parse::<usize>().ok()? >= state.valid_from).then(|| origin.to_owned())
}

/// The account that signed a JWT, if all of it is as it must be.
fn signer(token: &str) -> Option<String> {
    let (message, signature) = token.rsplit_once('.')?;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, KEY.public_key().as_ref());
    key.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    let (header, claims) = message.split_once('.')?;
    let json = |part| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let (header, claims): (Value, Value) = (json(header)?, json(claims)?);
    let (issued, ends, now) = (claims["iat"].as_i64()?, claims["exp"].as_i64()?, jiff::Timestamp::now().as_second());
    let good = header == json!({ "alg": "RS256", "typ": "JWT", "kid": KEY_ID })
        && claims["iss"] == EMAIL
        && claims["sub"] == EMAIL
        && claims["scope"] == SCOPE
        && (issued..=ends).contains(&now)
        && ends - issued == 3600;
    good.then(|| EMAIL.to_owned())
}

fn fields(request: &Request) -> BTreeMap<String, String> {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    body.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (percent(name), percent(value)))
        .collect()
}

fn refresh(state: &mut State, request: &Request) -> Reply {
    let fields = fields(request);
    let is = |name: &str, value: &str| fields.get(name).is_some_and(|it| it == value);
    if !is("grant_type", "refresh_token") || !is("refresh_token", "1//refresh") || !is("client_secret", "client secret")
    {
        return Reply::json(400, &json!({ "error": "invalid_grant", "error_description": "Bad Request" }));
    }
    let token = token(state, "user");
    Reply::json(200, &json!({ "access_token": token, "expires_in": state.life, "token_type": "Bearer" }))
}

fn exchange(state: &mut State, request: &Request) -> Reply {
    let fields = fields(request);
    let is = |name: &str, value: &str| fields.get(name).is_some_and(|it| it == value);
    let good = is("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        && is("audience", "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/p")
        && is("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
        && is("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
        && is("subject_token", "the subject")
        // the narrower one is what Google's client for Python asks for when it is to impersonate
        && (is("scope", SCOPE) || is("scope", "https://www.googleapis.com/auth/iam"));
    if !good {
        return Reply::json(400, &json!({ "error": "invalid_request", "error_description": "Invalid token exchange" }));
    }
    let token = token(state, "federated");
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    Reply::json(
        200,
        &json!({
            "access_token": token, "issued_token_type": kind, "token_type": "Bearer", "expires_in": state.life,
        }),
    )
}

fn impersonate(state: &mut State, request: &Request) -> Reply {
    let Some(caller) = caller(state, request) else { return refused(401, "UNAUTHENTICATED", "no") };
    if request.json()["scope"] != json!([SCOPE]) {
        return refused(400, "INVALID_ARGUMENT", "no scope");
    }
    let token = token(state, &format!("impersonated-by-{}", caller.split('@').next().unwrap()));
    let life = jiff::SignedDuration::from_secs(state.life.try_into().unwrap());
    let end = (jiff::Timestamp::now() + life).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Reply::json(200, &json!({ "accessToken": token, "expireTime": end }))
}
