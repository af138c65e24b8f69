//! KES's configuration, in any spelling that its parser takes, as what kestack.yaml says of it.

use std::path::{Path, PathBuf};

use kes_server::config::Config;
use serde_json::Value;

use super::{Found, at, refused};
use crate::error::Error;
use crate::stack::keystore::{self, Credential};

/// What a configuration says that a manifest can carry.
pub(super) struct Kes {
    /// The keystore section; credentials are variables.
    pub(super) keystore: Value,
    /// What the variables hold, where the configuration said it.
    pub(super) credentials: Vec<Credential>,
    /// Keys that must exist.
    pub(super) keys: Vec<String>,
    /// The rest of it.
    pub(super) notes: Vec<String>,
}

pub(super) fn read(found: &Found) -> Result<Kes, Error> {
    let wrong = |error: &dyn std::fmt::Display| {
        refused(format!("KES would not take its configuration: {error}"), "correct it, then import again")
    };
    let text = &found.kes_config;
    let config = Config::parse(text, &placeholder).map_err(|error| wrong(&error))?;
    // the old spelling as today's, where it can be rewritten
    let text = Config::upgrade(text, &placeholder).map_or_else(|_| text.to_string(), |upgraded| upgraded.text);
    let document: Value = serde_yaml::from_str(&text).map_err(|error| wrong(&error))?;
    let section = at(&document, "/keystore").clone();
    if !section.is_object() {
        return Err(refused("the configuration has no keystore section", "run `kes config upgrade` on it first"));
    }
    let mut notes = notes(&config, &document);
    let (keystore, credentials) = keystore::without_credentials(&here(found, section, &mut notes)?);
    Ok(Kes { keystore, credentials, keys: config.keys, notes })
}

/// Stands for a variable whose value is not known here.
#[expect(clippy::unnecessary_wraps, reason = "the form of an environment")]
fn placeholder(name: &str) -> Option<String> {
    Some(if name.contains("IDENTITY") { "a".repeat(64) } else { name.to_owned() })
}

/// The section with paths of this host.
fn here(found: &Found, mut section: Value, notes: &mut Vec<String>) -> Result<Value, Error> {
    for file in keystore::files(&section) {
        let there = file.source.display().to_string();
        match found.here(&file.source).or_else(|| file.source.is_file().then(|| file.source.clone())) {
            Some(path) => replace(&mut section, &there, &path.display().to_string()),
            None => notes.push(format!("'{there}', which the keystore section names, is not here: correct its path")),
        }
    }
    let Some(path) = keystore::text(&section, "/fs/path").map(str::to_owned) else { return Ok(section) };
    let keys = found.here(Path::new(&path)).or_else(|| Some(PathBuf::from(&path))).filter(|keys| keys.is_dir());
    let Some(keys) = keys else {
        return Err(refused(
            format!("the folder of keys, '{path}' where KES runs, is not here: without it no object can be read"),
            "copy it to keys/ beside the configuration's folder, or mount a folder of this host there",
        ));
    };
    if let Some(fs) = section.get_mut("fs") {
        *fs = serde_json::json!({ "path": keys });
    }
    Ok(section)
}

/// Puts one text in place of another.
fn replace(section: &mut Value, old: &str, new: &str) {
    match section {
        Value::String(text) if text == old => new.clone_into(text),
        Value::Object(entries) => entries.values_mut().for_each(|value| replace(value, old, new)),
        _ => {}
    }
}

/// What kestack decides by itself, or does not know.
fn notes(config: &Config, document: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    let identities = config.access.assigned().len();
    if identities > 1 {
        notes.push(format!(
            "{identities} identities have policies; kestack's KES knows MinIO and the stack's own admin, others are not carried"
        ));
    }
    let policies: Vec<_> = config.access.policies().keys().map(String::as_str).collect();
    if policies.len() > 1 {
        notes.push(format!("of the policies {} only MinIO's is carried, as kestack has it", policies.join(", ")));
    }
    if at(document, "/admin/identity").as_str().is_some_and(|admin| admin != "disabled") {
        notes.push(
            "the admin's identity is not carried: the stack's own certificate, certs/admin.cert, is admin".into(),
        );
    }
    for (field, what) in [("api", "settings of single routes"), ("cache", "times of the cache"), ("log", "log levels")]
    {
        if document.get(field).is_some() {
            notes.push(format!("{field}: {what} are not carried"));
        }
    }
    notes
}
