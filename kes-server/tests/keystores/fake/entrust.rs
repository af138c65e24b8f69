//! Entrust KeyControl (docs/keystores-protocol.md §9).

use std::collections::BTreeMap;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::{Reply, Request, Service};

/// A vault `vault` with the box `box`, which the user `user` opens with `password`.
#[derive(Debug, Default)]
pub struct Entrust {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    secrets: BTreeMap<String, Secret>,
    /// How many tokens were handed out; only the last is valid.
    tokens: usize,
    expires_at: Option<String>,
}

#[derive(Debug, Clone)]
struct Secret {
    data: String,
    expired: bool,
}

impl Entrust {
    /// The stored data of a name, as base64.
    pub fn stored(&self, name: &str) -> Option<String> {
        self.state.lock().unwrap().secrets.get(name).map(|secret| secret.data.clone())
    }

    pub fn put(&self, name: &str, data: &str, expired: bool) {
        self.state.lock().unwrap().secrets.insert(name.into(), Secret { data: data.into(), expired });
    }

    /// How many tokens were handed out.
    pub fn tokens(&self) -> usize {
        self.state.lock().unwrap().tokens
    }

    /// No token that was handed out is valid any more.
    pub fn expire(&self) {
        self.state.lock().unwrap().tokens += 1;
    }

    /// What tokens say of their end.
    pub fn grant_until(&self, time: &str) {
        self.state.lock().unwrap().expires_at = Some(time.into());
    }
}

impl Service for Entrust {
    fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state.lock().unwrap();
        let segments = request.segments();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let ["vault", "1.0", operation @ ..] = segments.as_slice() else { return Reply::status(404) };
        if request.method != "POST" || !request.path.ends_with('/') {
            return refused(404, "no such operation");
        }
        let body = request.json();
        match operation {
            ["Login", "vault"] if body["username"] == "user" && body["password"] == "password" => grant(&mut state),
            ["Login", _] => refused(401, "Invalid credentials"),
            _ if request.header("x-vault-auth") != format!("token-{}", state.tokens) => refused(401, "Invalid token"),
            ["Renew"] => grant(&mut state),
            _ if body["box_id"] != "box" => refused(404, "Box not found"),
            ["GetBox"] => Reply::json(200, &json!({ "box_id": "box", "name": "box" })),
            ["ListSecretIds"] => list(&state, &body),
            [operation] => secrets(&mut state.secrets, operation, &body),
            _ => refused(404, "no such operation"),
        }
    }
}

fn grant(state: &mut State) -> Reply {
    state.tokens += 1;
    let mut answer = json!({ "access_token": format!("token-{}", state.tokens) });
    if let Some(time) = &state.expires_at {
        answer["expires_at"] = time.as_str().into();
    }
    Reply::json(200, &answer)
}

fn secrets(secrets: &mut BTreeMap<String, Secret>, operation: &str, body: &Value) -> Reply {
    let id = body["secret_id"].as_str().unwrap_or_default();
    match operation {
        "CreateSecret" => {
            let name = body["name"].as_str().unwrap_or_default();
            if secrets.contains_key(name) {
                return refused(409, "Secret already exists");
            }
            let data = body["secret_data"].as_str().unwrap_or_default().into();
            secrets.insert(name.into(), Secret { data, expired: false });
            Reply::json(200, &json!({ "secret_id": name }))
        }
        "CheckoutSecret" => match secrets.get(id) {
            Some(secret) => Reply::json(200, &json!({ "secret_data": secret.data })),
            None => refused(404, "Secret not found"),
        },
        "DeleteSecret" => match secrets.remove(id) {
            Some(_) => Reply::json(200, &json!({})),
            None => refused(404, "Secret not found"),
        },
        _ => refused(404, "no such operation"),
    }
}

fn list(state: &State, body: &Value) -> Reply {
    let token = body["next_token"].as_str().unwrap_or_default();
    let position: Value = serde_json::from_slice(&BASE64.decode(token).unwrap()).unwrap_or_default();
    let start = position["next_ctx"].as_str().unwrap_or_default();
    let limit = usize::try_from(body["max_items"].as_u64().unwrap()).unwrap();
    let mut left = state.secrets.iter().filter(|(name, _)| name.as_str() >= start);
    let page = left.by_ref().take(limit);
    let page: Vec<_> = page.map(|(name, secret)| json!({ "name": name, "expired": secret.expired })).collect();
    let next = left
        .next()
        .map_or(String::new(), |(name, _)| BASE64.encode(json!({ "box_id": "box", "next_ctx": name }).to_string()));
    Reply::json(200, &json!({ "secrets": page, "next_token": next }))
}

fn refused(status: u16, why: &str) -> Reply {
    Reply::json(status, &json!({ "error": why }))
}
