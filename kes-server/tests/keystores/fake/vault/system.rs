//! `sys/`: health and seal for everyone, engines and capabilities for those with a token.

use serde_json::{Value, json};

use super::super::{Reply, Request};
use super::{Kv1, Kv2, Mount, State, Transit, Verb, data, nothing, refused};

impl State {
    /// What needs no token; `None` for all else.
    pub(super) fn system(&mut self, path: &str, namespace: &str, verb: Verb, request: &Request) -> Option<Reply> {
        match (path, verb) {
            ("sys/health", _) if !namespace.is_empty() => Some(refused(404, "unsupported path")),
            ("sys/health", Verb::Read) => Some(self.health(request)),
            ("sys/seal-status", Verb::Read) => Some(Reply::json(200, &self.seal_status())),
            ("sys/init", Verb::Read) => Some(Reply::json(200, &json!({ "initialized": self.initialized }))),
            ("sys/unseal", Verb::Write) => {
                self.sealed = false;
                Some(Reply::json(200, &self.seal_status()))
            }
            _ => None,
        }
    }

    fn health(&self, request: &Request) -> Reply {
        let usual = |name: &str, code: u16| request.query(name).parse().unwrap_or(code);
        let status = match (self.initialized, self.sealed) {
            (false, _) => usual("uninitcode", 501),
            (_, true) => usual("sealedcode", 503),
            _ => 200,
        };
        let body = json!({
            "initialized": self.initialized, "sealed": self.sealed, "standby": false, "performance_standby": false,
            "replication_performance_mode": "disabled", "replication_dr_mode": "disabled", "version": "1.15.0",
            "server_time_utc": 1_704_164_645, "cluster_name": "fake", "cluster_id": "1",
        });
        Reply::json(status, &body)
    }

    fn seal_status(&self) -> Value {
        json!({
            "type": "shamir", "initialized": self.initialized, "sealed": self.sealed, "t": 1, "n": 1, "progress": 0,
            "version": "1.15.0",
        })
    }

    /// What a token may do that the policy allows, outside of the engines.
    pub(super) fn admin(&mut self, path: &str, namespace: &str, request: &Request) -> Reply {
        match path.strip_prefix("sys/") {
            Some("seal") => {
                self.sealed = true;
                Reply::status(204)
            }
            Some(below) if below.starts_with("mounts/") => {
                let body = request.json();
                let mount = match (body["type"].as_str(), body["options"]["version"].as_str()) {
                    (Some("kv-v2"), _) | (Some("kv"), Some("2")) => Mount::Kv2(Kv2::default()),
                    (Some("kv"), _) => Mount::Kv1(Kv1::default()),
                    (Some("transit"), _) => Mount::Transit(Transit::default()),
                    _ => return refused(400, "plugin not found in the catalog"),
                };
                let name = below.trim_start_matches("mounts/").trim_matches('/').to_owned();
                self.mounts.insert((namespace.to_owned(), name), mount);
                Reply::status(204)
            }
            Some(_) => nothing(),
            None => refused(404, &format!("no handler for route \"{path}\". route entry not found.")),
        }
    }

    /// What every token may ask: what it may do, and which engine is mounted where.
    pub(super) fn questions(
        &self,
        path: &str,
        namespace: &str,
        allowed: impl Fn(&str) -> Vec<String>,
        request: &Request,
    ) -> Option<Reply> {
        if path == "sys/capabilities-self" {
            let body = request.json();
            let paths = body["paths"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let each: serde_json::Map<_, _> =
                paths.map(|path| (path.to_owned(), json!(none_is_deny(allowed(path))))).collect();
            return Some(data(&each.into()));
        }
        let asked = path.strip_prefix("sys/internal/ui/mounts/")?.trim_matches('/');
        let mount = self.mounts.get(&(namespace.to_owned(), asked.to_owned()));
        let (kind, version) = match mount {
            None => {
                return Some(refused(
                    403,
                    "preflight capability check returned 403, please ensure client's policies grant access to path",
                ));
            }
            Some(Mount::Kv1(_)) => ("kv", Some("1")),
            Some(Mount::Kv2(_)) => ("kv", Some("2")),
            Some(Mount::Transit(_)) => ("transit", None),
        };
        Some(data(&json!({ "path": format!("{asked}/"), "type": kind, "options": { "version": version } })))
    }
}

fn none_is_deny(capabilities: Vec<String>) -> Vec<String> {
    if capabilities.is_empty() { vec!["deny".into()] } else { capabilities }
}
