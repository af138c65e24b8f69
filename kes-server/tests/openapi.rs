//! The `OpenAPI` document and the server say the same.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test")]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{Folder, stdout};

fn document() -> Value {
    let folder = Folder::new();
    serde_json::from_str(&stdout(&folder.kes(&["api", "openapi"]))).unwrap()
}

/// The path of a route: what is in braces is the resource.
fn route(path: &str) -> String {
    path.split('{').next().unwrap().to_owned()
}

#[test]
fn it_has_every_route_with_its_method_and_limits() {
    let folder = Folder::new();
    let _server = folder.serve();
    let served: Value = serde_json::from_str(&stdout(&folder.kes(&["status", "-k", "--api", "--json"]))).unwrap();
    let row = |method: &str, path: String, body: &Value, timeout: &Value| format!("{method} {path} {body} {timeout}");
    let served: BTreeSet<_> = served
        .as_array()
        .unwrap()
        .iter()
        .map(|api| {
            let path = api["path"].as_str().unwrap().to_owned();
            row(api["method"].as_str().unwrap(), path, &api["max_body"], &api["timeout"])
        })
        .collect();
    let document = document();
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let limits = (&operation["x-max-body"], &operation["x-timeout"]);
            described.insert(row(&method.to_uppercase(), route(path), limits.0, limits.1));
        }
    }
    assert_eq!(served, described);
}

/// The operation that a recorded exchange is about.
fn operation<'a>(document: &'a Value, method: &str, path: &str) -> Option<&'a Value> {
    let path = path.split('?').next().unwrap();
    let method = if method == "POST" { "put".to_owned() } else { method.to_lowercase() };
    let paths = document["paths"].as_object().unwrap().iter();
    let fits = |known: &str| path == known || known.contains('{') && path.starts_with(&route(known));
    let found = paths.filter(|(known, _)| fits(known)).max_by_key(|(known, _)| route(known).len())?;
    found.1.get(&method)
}

#[test]
fn what_the_original_answered_fits_it() {
    let document = document();
    let vectors: Value = serde_json::from_str(include_str!("data/kes-vectors.json")).unwrap();
    let (mut checked, mut wrong) = (0, Vec::new());
    for exchange in vectors["http"].as_array().unwrap() {
        let (method, path) = (exchange["method"].as_str().unwrap(), exchange["path"].as_str().unwrap());
        let status = exchange["status_line"].as_str().unwrap().split(' ').nth(1).unwrap();
        let Some(operation) = operation(&document, method, path) else { continue };
        let Ok(body) = serde_json::from_str::<Value>(exchange["body"].as_str().unwrap_or_default()) else { continue };
        let label = exchange["label"].as_str().unwrap();
        let answer = &operation["responses"][status];
        if answer.is_null() {
            wrong.push(format!("{label}: {method} {path} answered {status}, which is not described"));
            continue;
        }
        let mut schema = answer["content"]["application/json"]["schema"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        wrong.extend(validator.iter_errors(&body).map(|error| format!("{label}: {body}: {error}")));
        checked += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 60, "{checked} answers with JSON were checked");
}
