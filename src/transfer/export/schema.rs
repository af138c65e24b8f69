//! Structural check of a resource against the schema of its kind, as a server of Kubernetes does it strictly: a field
//! that the schema does not know is pruned there without a word, and would be missed only much later.

use serde_json::Value;

use super::refused;
use crate::error::Error;

/// The schema of Tenants in a `CustomResourceDefinition`: of the version that the export writes.
///
/// # Errors
/// [`Error::Usage`] if the definition has none.
pub fn tenant_schema(definition: &Value) -> Result<Value, Error> {
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    let found = versions.into_iter().flatten().find(|version| version.get("name").is_some_and(|name| name == "v2"));
    let schema = found.and_then(|version| version.pointer("/schema/openAPIV3Schema"));
    schema.cloned().ok_or_else(|| {
        refused("the CustomResourceDefinition has no version v2 with a schema", "install the Operator, 5.0.4 or later")
    })
}

/// Checks every Tenant of a text of YAML documents.
///
/// # Errors
/// [`Error::Usage`] with every field that the schema does not take.
pub fn check_tenant(text: &str, schema: &Value) -> Result<(), Error> {
    let mut wrong = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = <Value as serde::Deserialize>::deserialize(document)
            .map_err(|error| refused(format!("the Tenant is not valid YAML: {error}"), "report this"))?;
        if value.get("kind").is_some_and(|kind| kind == "Tenant") {
            check(&value, schema, "", &mut wrong);
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(refused(
        format!("the cluster's Operator refuses this Tenant:\n  {}", wrong.join("\n  ")),
        "update the Operator to 7.1, or leave the fields out with a kustomize patch",
    ))
}

fn check(value: &Value, schema: &Value, at: &str, wrong: &mut Vec<String>) {
    let is = |name: &str| schema.get(name).and_then(Value::as_bool).unwrap_or(false);
    if is("x-kubernetes-int-or-string") {
        if !value.is_string() && !value.is_i64() {
            wrong.push(format!("{at}: neither a number nor a string"));
        }
        return;
    }
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    if !fits(value, kind) {
        return wrong.push(format!("{at}: not of type {kind}"));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && !words.contains(value)
    {
        wrong.push(format!("{at}: {value} is not allowed"));
    }
    match value {
        Value::Object(fields) => check_fields(fields, schema, at, wrong),
        Value::Array(items) => {
            let item = schema.get("items").unwrap_or(&Value::Null);
            for (index, value) in items.iter().enumerate() {
                check(value, item, &format!("{at}[{index}]"), wrong);
            }
        }
        _ => {}
    }
}

fn fits(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => true,
    }
}

fn check_fields(fields: &serde_json::Map<String, Value>, schema: &Value, at: &str, wrong: &mut Vec<String>) {
    let required = schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str).filter(|name| !fields.contains_key(*name)) {
        wrong.push(format!("{at}.{name}: is required"));
    }
    // metadata and the like: the server knows these by itself
    let Some(known) = schema.get("properties").and_then(Value::as_object) else {
        if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
            fields.iter().for_each(|(name, value)| check(value, values, &format!("{at}.{name}"), wrong));
        }
        return;
    };
    let preserves = schema.get("x-kubernetes-preserve-unknown-fields").is_some_and(|word| word == true);
    for (name, value) in fields {
        match known.get(name) {
            Some(schema) => check(value, schema, &format!("{at}.{name}"), wrong),
            None if preserves => {}
            None => wrong.push(format!("{at}.{name}: is not known")),
        }
    }
}
