//! The two K/V engines.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::{Reply, Request};
use super::{Verb, data, nothing, refused};

#[derive(Debug, Default)]
pub struct Kv1 {
    pub entries: BTreeMap<String, Value>,
}

/// Entries with their versions; a deleted one is `None`.
#[derive(Debug, Default)]
pub struct Kv2 {
    pub entries: BTreeMap<String, Vec<Option<Value>>>,
}

impl Kv1 {
    pub fn answer(&mut self, verb: Verb, path: &str, request: &Request) -> Reply {
        match verb {
            Verb::List => listed(self.entries.keys(), path),
            Verb::Read => self.entries.get(path).map_or_else(nothing, data),
            Verb::Delete => {
                self.entries.remove(path);
                Reply::status(204)
            }
            Verb::Write => match request.json() {
                Value::Object(fields) if !fields.is_empty() && !path.is_empty() => {
                    self.entries.insert(path.into(), fields.into());
                    Reply::status(204)
                }
                _ => refused(400, "missing data fields"),
            },
        }
    }
}

impl Kv2 {
    pub fn has(&self, path: &str) -> bool {
        path.split_once('/').is_some_and(|(_, entry)| self.entries.contains_key(entry))
    }

    pub fn answer(&mut self, verb: Verb, path: &str, request: &Request) -> Reply {
        let (part, entry) = path.split_once('/').unwrap_or((path, ""));
        match (part, verb) {
            ("metadata", Verb::List) => listed(self.entries.keys(), entry),
            ("metadata", Verb::Read) => self.metadata(entry),
            ("metadata", Verb::Delete) => {
                self.entries.remove(entry);
                Reply::status(204)
            }
            ("data", Verb::Read) => self.read(entry, request.query("version").parse().unwrap_or(0)),
            ("data", Verb::Write) => self.write(entry, &request.json()),
            ("data", Verb::Delete) => {
                if let Some(last) = self.entries.get_mut(entry).and_then(|versions| versions.last_mut()) {
                    *last = None;
                }
                Reply::status(204)
            }
            ("delete", Verb::Write) => {
                let versions = self.entries.entry(entry.into()).or_default();
                for number in request.json()["versions"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
                    versions[usize::try_from(number).unwrap() - 1] = None;
                }
                Reply::status(204)
            }
            _ => {
                let text = "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API \
                            endpoints to use.";
                Reply::json(404, &json!({ "request_id": "1", "data": null, "warnings": [text], "auth": null }))
            }
        }
    }

    /// Version 0 is the latest.
    fn read(&self, entry: &str, version: usize) -> Reply {
        let Some(versions) = self.entries.get(entry) else { return nothing() };
        let number = if version == 0 { versions.len() } else { version };
        match number.checked_sub(1).and_then(|index| versions.get(index)) {
            None => nothing(),
            Some(Some(value)) => data(&json!({ "data": value, "metadata": about(number, false) })),
            Some(None) => {
                let deleted = json!({ "data": { "data": null, "metadata": about(number, true) } });
                Reply::json(404, &deleted)
            }
        }
    }

    fn write(&mut self, entry: &str, body: &Value) -> Reply {
        let versions = self.entries.get(entry).map_or(0, Vec::len);
        match (body["data"].as_object(), body["options"]["cas"].as_u64()) {
            (None, _) => refused(400, "no data provided"),
            (_, Some(expected)) if expected != versions as u64 => {
                refused(400, "check-and-set parameter did not match the current version")
            }
            (Some(fields), _) => {
                self.entries.entry(entry.into()).or_default().push(Some(fields.clone().into()));
                data(&about(versions + 1, false))
            }
        }
    }

    fn metadata(&self, entry: &str) -> Reply {
        let Some(versions) = self.entries.get(entry) else { return nothing() };
        let each = versions.iter().enumerate();
        let each: BTreeMap<_, _> = each.map(|(at, value)| (at + 1, about(at + 1, value.is_none()))).collect();
        data(&json!({ "current_version": versions.len(), "oldest_version": 1, "versions": each }))
    }
}

fn about(version: usize, deleted: bool) -> Value {
    let deletion = if deleted { "2024-01-02T03:04:06Z" } else { "" };
    json!({
        "version": version, "created_time": "2024-01-02T03:04:05Z", "deletion_time": deletion, "destroyed": false,
        "custom_metadata": null,
    })
}

/// The names in a folder, and its own folders with a slash.
fn listed<'a>(entries: impl Iterator<Item = &'a String>, folder: &str) -> Reply {
    let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let inside = entries.filter_map(|entry| entry.strip_prefix(&start));
    let names: BTreeSet<_> =
        inside.map(|name| name.split_once('/').map_or(name.to_owned(), |(below, _)| format!("{below}/"))).collect();
    if names.is_empty() { nothing() } else { data(&json!({ "keys": names })) }
}
