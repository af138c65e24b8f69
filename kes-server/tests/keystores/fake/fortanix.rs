//! Fortanix DSM (docs/keystores-protocol.md §11).

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Reply, Request, Service};

/// An account whose API key is `YXBwOmtleQ==`.
#[derive(Debug, Default)]
pub struct Fortanix {
    objects: Mutex<BTreeMap<String, Object>>,
}

#[derive(Debug, Clone)]
struct Object {
    value: String,
    enabled: bool,
}

impl Fortanix {
    /// The stored value of a name, as base64.
    pub fn stored(&self, name: &str) -> Option<String> {
        self.objects.lock().unwrap().get(name).map(|object| object.value.clone())
    }

    pub fn put(&self, name: &str, value: &str, enabled: bool) {
        self.objects.lock().unwrap().insert(name.into(), Object { value: value.into(), enabled });
    }
}

impl Service for Fortanix {
    fn answer(&self, request: &Request) -> Reply {
        let mut objects = self.objects.lock().unwrap();
        let segments = request.segments();
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let authorization = request.header("authorization");
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", []) => Reply::status(200),
            ("GET", ["sys", "v1", "health"]) => Reply::status(204),
            ("POST", ["sys", "v1", "session", "terminate"]) => {
                Reply::status(if authorization == "Bearer session" { 204 } else { 401 })
            }
            _ if !["Basic YXBwOmtleQ==", "Bearer session"].contains(&authorization) => {
                Reply::text(401, "Invalid credentials")
            }
            ("POST", ["sys", "v1", "session", "auth"]) => {
                Reply::json(200, &json!({ "token_type": "Bearer", "expires_in": 600, "access_token": "session" }))
            }
            (method, ["crypto", "v1", "keys", rest @ ..]) => keys(&mut objects, method, rest, request),
            _ => Reply::status(404),
        }
    }
}

/// The ID of an object; a real one is random.
fn kid(name: &str) -> String {
    format!("kid-{}", hex::encode(name))
}

fn keys(objects: &mut BTreeMap<String, Object>, method: &str, path: &[&str], request: &Request) -> Reply {
    match (method, path) {
        ("PUT", []) => create(objects, &request.json()),
        ("POST", ["export"]) => {
            let body = request.json();
            let name = body["name"].as_str().unwrap_or_default();
            match objects.get(name) {
                Some(object) => {
                    let (value, enabled) = (&object.value, object.enabled);
                    Reply::json(200, &json!({ "kid": kid(name), "name": name, "value": value, "enabled": enabled }))
                }
                None => Reply::json(404, &json!({ "message": "sobject does not exist" })),
            }
        }
        ("DELETE", [id]) => {
            let name = id.strip_prefix("kid-").and_then(|name| hex::decode(name).ok());
            let name = String::from_utf8(name.unwrap_or_default()).unwrap_or_default();
            let gone = objects.remove(&name).is_some();
            if gone { Reply::status(204) } else { Reply::text(404, "sobject does not exist") }
        }
        ("GET", []) => {
            let (start, only) = (request.query("start"), request.query("name"));
            let limit = request.query("limit").parse().unwrap_or(100);
            let page =
                objects.keys().filter(|name| name.as_str() >= start && (only.is_empty() || *name == only)).take(limit);
            Reply::json(200, &page.map(|name| json!({ "kid": kid(name), "name": name })).collect())
        }
        _ => Reply::status(404),
    }
}

fn create(objects: &mut BTreeMap<String, Object>, body: &Value) -> Reply {
    let (name, value) = (body["name"].as_str().unwrap_or_default(), body["value"].as_str());
    if body["obj_type"] != "OPAQUE" || value.is_none() {
        return Reply::text(400, "no opaque object");
    }
    if objects.contains_key(name) {
        return Reply::text(409, "sobject already exists");
    }
    let object = Object { value: value.unwrap().into(), enabled: body["enabled"] == true };
    objects.insert(name.into(), object);
    Reply::json(201, &json!({ "kid": kid(name), "name": name }))
}
