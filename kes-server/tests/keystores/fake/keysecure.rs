//! Thales CipherTrust Manager (docs/keystores-protocol.md §10).

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Reply, Request, Service};

/// A vault whose refresh token is `refresh`.
#[derive(Debug, Default)]
pub struct KeySecure {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    secrets: BTreeMap<String, String>,
    logins: usize,
}

impl KeySecure {
    /// The stored material of a name.
    pub fn stored(&self, name: &str) -> Option<String> {
        self.state.lock().unwrap().secrets.get(name).cloned()
    }

    pub fn put(&self, name: &str, material: &str) {
        self.state.lock().unwrap().secrets.insert(name.into(), material.into());
    }

    /// How many tokens were handed out.
    pub fn logins(&self) -> usize {
        self.state.lock().unwrap().logins
    }

    /// No token that was handed out is valid any more.
    pub fn expire(&self) {
        self.state.lock().unwrap().logins += 1;
    }
}

impl Service for KeySecure {
    fn answer(&self, request: &Request) -> Reply {
        let mut state = self.state.lock().unwrap();
        let segments = request.segments();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", []) => Reply::status(200),
            ("POST", ["api", "v1", "auth", "tokens"]) => login(&mut state, &request.json()),
            _ if request.header("authorization") != format!("Bearer jwt-{}", state.logins) => {
                refused(401, "not authenticated")
            }
            (method, ["api", "v1", "vault", "secrets", rest @ ..]) => secrets(&mut state, method, rest, request),
            _ => refused(404, "no such path"),
        }
    }
}

fn login(state: &mut State, body: &Value) -> Reply {
    if body["grant_type"] != "refresh_token" || body["refresh_token"] != "refresh" {
        return refused(401, "invalid refresh token");
    }
    state.logins += 1;
    let jwt = format!("jwt-{}", state.logins);
    Reply::json(200, &json!({ "token_type": "Bearer", "jwt": jwt, "duration": 300 }))
}

fn secrets(state: &mut State, method: &str, path: &[&str], request: &Request) -> Reply {
    let body = request.json();
    match (method, path) {
        ("POST", []) => {
            let name = body["name"].as_str().unwrap_or_default().to_owned();
            if body["dataType"] != "seed" || state.secrets.contains_key(&name) {
                return refused(409, "already exists");
            }
            state.secrets.insert(name.clone(), body["material"].as_str().unwrap_or_default().into());
            Reply::json(201, &json!({ "id": format!("id-{name}"), "name": name, "dataType": "seed" }))
        }
        ("POST", [name, "export"]) if request.query("type") == "name" => match state.secrets.get(*name) {
            Some(material) => Reply::json(200, &json!({ "material": material })),
            None => refused(404, "resource not found"),
        },
        ("DELETE", [name]) if request.query("type") == "name" => {
            let gone = state.secrets.remove(*name).is_some();
            if gone { Reply::status(204) } else { refused(404, "resource not found") }
        }
        ("GET", []) => {
            let (skip, limit): (usize, usize) =
                (request.query("skip").parse().unwrap(), request.query("limit").parse().unwrap());
            let page: Vec<_> =
                state.secrets.keys().skip(skip).take(limit).map(|name| json!({ "name": name })).collect();
            Reply::json(200, &json!({ "skip": skip, "limit": limit, "total": state.secrets.len(), "resources": page }))
        }
        _ => refused(404, "no such path"),
    }
}

fn refused(status: u16, why: &str) -> Reply {
    Reply::json(status, &json!({ "code": status, "codeDesc": why }))
}
