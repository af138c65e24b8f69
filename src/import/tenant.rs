//! The Tenant of MinIO's Operator with its Secrets, as one file of YAML documents. Its objects stay in the cluster: what
//! is imported is the same keystore, keys and settings for one machine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Found, at, refused};
use crate::error::Error;
use crate::template::parse_env;

pub(super) fn read(documents: &[Value]) -> Result<Found, Error> {
    let Some(tenant) = documents.iter().find(|document| document["kind"] == "Tenant") else {
        return Err(refused("there is no Tenant", "name the file with the Tenant and its Secrets"));
    };
    let (name, spec) = (at(tenant, "/metadata/name").as_str().unwrap_or_default(), at(tenant, "/spec"));
    let secret = |what: &Value, key: &str| secret(documents, what.as_str().unwrap_or_default(), key);
    let config = secret(at(spec, "/kes/kesSecret/name"), "server-config.yaml");
    let Some(kes_config) = config else {
        return Err(refused(
            "the configuration of the Tenant's KES is not in the file",
            "add its Secret, `spec.kes.kesSecret`: `kubectl get secret NAME -o yaml`",
        ));
    };
    let mut found = Found { name: name.to_owned(), kes_config, ..Found::default() };
    add_variables(spec, secret(at(spec, "/configuration/name"), "config.env"), &mut found);
    add_what_stays(spec, &mut found.notes);
    Ok(found)
}

/// MinIO's variables: those of its Secret, then those of the Tenant.
fn add_variables(spec: &Value, env: Option<Zeroizing<String>>, found: &mut Found) {
    match env {
        Some(env) => found.minio = parse_env(&env).into_iter().map(|(name, value)| (name, value.into())).collect(),
        None => {
            found.notes.push("the Secret with config.env is not in the file: the root user becomes a new one".into());
        }
    }
    for variable in spec["env"].as_array().into_iter().flatten() {
        match (variable["name"].as_str(), variable["value"].as_str()) {
            (Some(name), Some(value)) => drop(found.minio.insert(name.to_owned(), Zeroizing::new(value.to_owned()))),
            (Some(name), None) => found.notes.push(format!("variable {name} comes from another object of the cluster")),
            _ => {}
        }
    }
    if let Some(key) = at(spec, "/kes/keyName").as_str() {
        found.minio.insert("MINIO_KMS_KES_KEY_NAME".into(), Zeroizing::new(key.to_owned()));
    }
    found.minio.remove("MINIO_VOLUMES");
}

/// What the cluster keeps.
fn add_what_stays(spec: &Value, notes: &mut Vec<String>) {
    notes.push(
        "the Tenant's objects stay in the volumes of the cluster: copy them with `mc mirror` while both run, which \
         encrypts them anew"
            .into(),
    );
    for (field, what) in [("pools", "servers and volumes"), ("users", "users"), ("buckets", "buckets")] {
        if spec[field].as_array().is_some_and(|items| !items.is_empty()) {
            notes.push(format!("spec.{field}: {what} of the cluster are not carried"));
        }
    }
}

/// A text of a Secret, in clear or in Base64.
fn secret(documents: &[Value], name: &str, key: &str) -> Option<Zeroizing<String>> {
    let secret = documents.iter().find(|one| one["kind"] == "Secret" && at(one, "/metadata/name") == name)?;
    if let Some(text) = at(secret, "/stringData").get(key).and_then(Value::as_str) {
        return Some(Zeroizing::new(text.to_owned()));
    }
    let bytes = STANDARD.decode(at(secret, "/data").get(key)?.as_str()?.trim()).ok()?;
    String::from_utf8(bytes).ok().map(Zeroizing::new)
}
