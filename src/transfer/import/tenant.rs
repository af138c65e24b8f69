//! The Tenant of MinIO's Operator with its Secrets, as one file of YAML documents or the list that `kubectl get` prints. Its
//! objects stay in the cluster: what is imported is the same keystore, keys and settings for one machine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zeroize::Zeroizing;

use super::dotenv::Values;
use super::{Found, at, refused};
use crate::error::Error;
use crate::template::parse_env;

/// The key that the Operator's MinIO takes where `spec.kes.keyName` gives none.
const DEFAULT_KEY: &str = "my-minio-key";
/// How deep lists may hold lists.
const MAX_DEPTH: usize = 8;

/// The documents, with the items of every `kind: List` in place of it.
pub(super) fn listed(documents: Vec<Value>) -> Vec<Value> {
    let mut all = documents;
    for _ in 0..MAX_DEPTH {
        if !all.iter().any(is_list) {
            break;
        }
        let items = |mut document: Value| match document.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => vec![],
        };
        all = all.into_iter().flat_map(|one| if is_list(&one) { items(one) } else { vec![one] }).collect();
    }
    all
}

fn is_list(document: &Value) -> bool {
    document["kind"].as_str().is_some_and(|kind| kind == "List" || kind.ends_with("List"))
        && document["items"].is_array()
}

pub(super) fn read(documents: &[Value]) -> Result<Found, Error> {
    let tenants: Vec<_> = documents.iter().filter(|document| document["kind"] == "Tenant").collect();
    let tenant = match tenants.as_slice() {
        [tenant] => *tenant,
        [] => return Err(refused("there is no Tenant", "name the file with the Tenant and its Secrets")),
        several => {
            let names: Vec<_> = several.iter().filter_map(|tenant| at(tenant, "/metadata/name").as_str()).collect();
            return Err(refused(
                format!("the file has {} Tenants: {}", several.len(), names.join(", ")),
                "one is imported at a time: `kubectl get tenant NAME -o yaml`, with its Secrets",
            ));
        }
    };
    let cluster = Cluster { documents, namespace: at(tenant, "/metadata/namespace").as_str() };
    let (name, spec) = (at(tenant, "/metadata/name").as_str().unwrap_or_default(), at(tenant, "/spec"));
    let mut found = Found { name: name.to_owned(), ..Found::default() };
    add_minio(spec, &cluster, &mut found);
    let Some(config) = cluster.text("Secret", at(spec, "/kes/kesSecret/name"), "server-config.yaml") else {
        if spec["kes"].is_null() && found.has_static_key() {
            found.take_static_key()?;
            add_what_stays(spec, &mut found.notes);
            return Ok(found);
        }
        return Err(refused(
            "the configuration of the Tenant's KES is not in the file",
            "add its Secret, `spec.kes.kesSecret`: `kubectl get secret NAME -o yaml`",
        ));
    };
    found.kes_config = config;
    found.kes_env = cluster.variables(at(spec, "/kes/env"), "KES", &mut found.notes);
    add_what_stays(spec, &mut found.notes);
    Ok(found)
}

/// MinIO's variables: those of its Secret, then those of the Tenant.
fn add_minio(spec: &Value, cluster: &Cluster<'_>, found: &mut Found) {
    match cluster.text("Secret", at(spec, "/configuration/name"), "config.env") {
        Some(env) => found.minio = parse_env(&env).into_iter().map(|(name, value)| (name, value.into())).collect(),
        None if spec["configuration"].is_object() => {
            found.notes.push("the Secret with config.env is not in the file: the root user becomes a new one".into());
        }
        None => {}
    }
    // older Operators have the root user in a separate Secret
    for (variable, key) in [("MINIO_ROOT_USER", "accesskey"), ("MINIO_ROOT_PASSWORD", "secretkey")] {
        if let Some(value) =
            cluster.text("Secret", at(spec, "/credsSecret/name"), key).filter(|value| !value.is_empty())
        {
            found.minio.entry(variable.into()).or_insert(value);
        }
    }
    found.minio.extend(cluster.variables(&spec["env"], "MinIO", &mut found.notes));
    if let Some(key) = at(spec, "/kes/keyName").as_str().filter(|key| !key.is_empty()) {
        found.minio.insert("MINIO_KMS_KES_KEY_NAME".into(), Zeroizing::new(key.to_owned()));
    } else if found.variable("MINIO_KMS_KES_KEY_NAME").is_none() {
        found.minio.insert("MINIO_KMS_KES_KEY_NAME".into(), Zeroizing::new(DEFAULT_KEY.into()));
    }
    found.minio.remove("MINIO_VOLUMES");
}

/// What the cluster keeps.
fn add_what_stays(spec: &Value, notes: &mut Vec<String>) {
    notes.push(
        "the Tenant's objects stay in the volumes of the cluster: copy them with `mc mirror` while both run, which \
         encrypts them again"
            .into(),
    );
    for (field, what) in [("pools", "servers and volumes"), ("users", "users"), ("buckets", "buckets")] {
        if spec[field].as_array().is_some_and(|items| !items.is_empty()) {
            notes.push(format!("spec.{field}: {what} of the cluster are not imported"));
        }
    }
}

/// The other objects of the file.
struct Cluster<'a> {
    documents: &'a [Value],
    namespace: Option<&'a str>,
}

impl Cluster<'_> {
    /// A text of a Secret or `ConfigMap`, in clear or in Base64.
    fn text(&self, kind: &str, name: &Value, key: &str) -> Option<Zeroizing<String>> {
        let is_meant = |document: &&Value| {
            let namespace = at(document, "/metadata/namespace").as_str();
            let is_near = namespace.is_none() || self.namespace.is_none() || namespace == self.namespace;
            document["kind"] == kind && name.is_string() && at(document, "/metadata/name") == name && is_near
        };
        let object = self.documents.iter().find(is_meant)?;
        if let Some(text) = at(object, "/stringData").get(key).and_then(Value::as_str) {
            return Some(Zeroizing::new(text.to_owned()));
        }
        let text = at(object, "/data").get(key)?.as_str()?;
        if kind == "ConfigMap" {
            return Some(Zeroizing::new(text.to_owned()));
        }
        let folded: String = text.split_whitespace().collect();
        String::from_utf8(STANDARD.decode(folded).ok()?).ok().map(Zeroizing::new)
    }

    /// Variables of a container; those that come from objects that are not in the file are named.
    fn variables(&self, list: &Value, whose: &str, notes: &mut Vec<String>) -> Values {
        let mut values = Values::new();
        for variable in list.as_array().into_iter().flatten() {
            let Some(name) = variable["name"].as_str() else { continue };
            let from = |kind: &str, field: &str| {
                let reference = at(variable, "/valueFrom").get(field)?;
                self.text(kind, &reference["name"], reference["key"].as_str()?)
            };
            let value = match &variable["value"] {
                Value::String(value) => Some(Zeroizing::new(value.clone())),
                Value::Null if variable.get("valueFrom").is_none_or(Value::is_null) => Some(Zeroizing::default()),
                Value::Null => from("Secret", "secretKeyRef").or_else(|| from("ConfigMap", "configMapKeyRef")),
                other => Some(Zeroizing::new(other.to_string())),
            };
            match value {
                Some(value) => drop(values.insert(name.to_owned(), value)),
                None => notes.push(format!("variable {name} of {whose} comes from an object that is not in the file")),
            }
        }
        values
    }
}
