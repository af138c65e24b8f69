//! KES's configuration, in any spelling that its parser takes, as what kestack.yaml says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use kes_server::auth::Access;
use kes_server::config::Config;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::kes_env::{KesEnv, reference};
use super::{Found, at, refused, yaml};
use crate::error::Error;
use crate::keystore;

/// What a configuration, with KES's environment, says that a manifest can carry.
#[derive(Default)]
pub(super) struct Kes {
    /// The keystore section; credentials are variables.
    pub(super) keystore: Value,
    /// The folder of keys where KES runs, if it is in a volume of the engine.
    pub(super) in_volume: Option<PathBuf>,
    /// What the variables hold, where it is known.
    pub(super) credentials: BTreeMap<String, Zeroizing<String>>,
    /// Variables whose values nobody has given.
    pub(super) missing: BTreeSet<String>,
    /// Variables for KES.
    pub(super) env: BTreeMap<String, String>,
    /// Keys that are to exist.
    pub(super) keys: Vec<String>,
    /// Notes for the user.
    pub(super) notes: Vec<String>,
    /// Who may do what, and whether nobody has given the value of a variable in it; none for a static key.
    pub(super) access: Option<(Access, bool)>,
}

pub(super) fn read(found: &Found) -> Result<Kes, Error> {
    if let Some(key) = &found.static_key {
        return Ok(Kes { keystore: json!({ "fs": {} }), keys: vec![key.name().to_string()], ..Kes::default() });
    }
    let text = &found.kes_config;
    let asked = Asked::of(found);
    let env = |name: &str| asked.value(name);
    let config = Config::parse(text, &env).map_err(|error| wrong(&error))?;
    // the old spelling as today's, where it can be rewritten
    let text = Config::upgrade(text, &env).map_or_else(|_| text.to_string(), |upgraded| upgraded.text);
    let document = yaml::documents(&text).map_err(|error| wrong(&error))?.into_iter().next().unwrap_or_default();
    let mut section = at(&document, "/keystore").clone();
    if !section.is_object() {
        return Err(refused("the configuration has no keystore section", "run `kes config upgrade` on it first"));
    }
    today(&mut section);
    let mut notes = notes(&config, &document);
    let mut taken = KesEnv::default();
    taken.resolve(found, &mut section)?;
    let in_volume = place_keys(found, &mut section)?;
    let section = here(found, section, &mut notes);
    let (keystore, literal) = keystore::without_credentials(&section);
    taken.credentials.extend(literal.into_iter().map(|(name, value)| (name.to_owned(), value)));
    taken.carry(found, &asked.names)?;
    let keys = keys(found, &document, config.keys)?;
    let KesEnv { env, credentials, missing, notes: more } = taken;
    notes.extend(more);
    notes.extend(missing.iter().map(|name| {
        format!("KES takes {name} from its environment, and its value is not here: write it into credentials.env")
    }));
    let access = Some((config.access, asked.has_gaps()));
    Ok(Kes { keystore, in_volume, credentials, missing, env, keys, notes, access })
}

fn wrong(error: &dyn std::fmt::Display) -> Error {
    refused(format!("KES would not take its configuration: {error}"), "correct it, then import again")
}

/// The variables that a configuration asks for.
struct Asked {
    names: BTreeSet<String>,
    values: BTreeMap<String, Zeroizing<String>>,
}

impl Asked {
    fn of(found: &Found) -> Self {
        let names = references(&found.kes_config);
        let known = |name: &String| found.kes_env.get(name).filter(|value| !value.is_empty()).cloned();
        let values = names.iter().filter_map(|name| Some((name.clone(), known(name)?))).collect();
        Self { names, values }
    }

    /// The value of a variable, or something that stands for one which nobody has given.
    fn value(&self, name: &str) -> Option<String> {
        self.values.get(name).map(|value| value.to_string()).or_else(|| placeholder(name))
    }

    /// True if nobody has given the value of one of them.
    fn has_gaps(&self) -> bool {
        self.values.len() < self.names.len()
    }
}

/// The section of a sealed folder that was proposed for MinIO KES, in today's form.
fn today(section: &mut Value) {
    let Some(mut old) = section.as_object_mut().and_then(|section| section.remove("encryptedfs")) else { return };
    let [path, master_key] =
        ["path", "masterKeyPath"].map(|name| old.get_mut(name).map(Value::take).unwrap_or_default());
    section["fs"] = json!({ "path": path, "encryption": { "masterKeyPath": master_key } });
}

/// Names of all variables in a text.
fn references(text: &str) -> BTreeSet<String> {
    let names =
        text.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name.trim().to_owned());
    names.collect()
}

/// Stands for a variable whose value is not known here. Two identities are never the same.
#[expect(clippy::unnecessary_wraps, reason = "the form of an environment")]
fn placeholder(name: &str) -> Option<String> {
    let end: Vec<u8> = name.bytes().rev().take(32).collect();
    Some(if name.contains("IDENTITY") { format!("{:a>64}", hex::encode(end)) } else { name.to_owned() })
}

/// The keys that the configuration names; one named by a variable must be known.
fn keys(found: &Found, document: &Value, keys: Vec<String>) -> Result<Vec<String>, Error> {
    let named = document["keys"].as_array().into_iter().flatten().filter_map(|key| reference(key["name"].as_str()?));
    let unknown: Vec<_> = named.filter(|name| found.kes_env.get(*name).is_none_or(|value| value.is_empty())).collect();
    if unknown.is_empty() {
        return Ok(keys);
    }
    Err(refused(
        format!("KES takes names of keys from variables that are not set: {}", unknown.join(", ")),
        "set them in KES's environment, then import again",
    ))
}

/// The folder of keys as one of this host. Where KES keeps it in a volume, the stack's own folder takes its place, and where
/// neither keys nor data exist yet, too.
fn place_keys(found: &Found, section: &mut Value) -> Result<Option<PathBuf>, Error> {
    let Some(path) = keystore::text(section, "/fs/path").map(PathBuf::from) else { return Ok(None) };
    let bound = found.keys.clone().or_else(|| found.kes_files.here(&path));
    let itself = || Some(path.clone()).filter(|_| found.in_place.is_some());
    let folder = bound.clone().or_else(itself).filter(|keys| keys.is_dir());
    let in_volume = found.kes_files.volume(&path).is_some() && bound.is_none();
    let has_data = found.drive.as_ref().is_some_and(|drive| drive.join(".minio.sys").exists());
    let is_new = bound.is_some() && found.drive.is_some() && !has_data;
    let fs = match folder {
        Some(folder) => json!({ "path": folder }),
        None if in_volume || is_new => json!({}),
        None => {
            return Err(refused(
                format!(
                    "the folder of keys, '{}' where KES runs, is not here: without it no object can be read",
                    path.display()
                ),
                "copy it to keys/ next to the configuration's folder, or mount a folder of this host there",
            ));
        }
    };
    if let Some(own) = section.get_mut("fs") {
        // the master keys of a sealed folder stay
        let encryption = own.get_mut("encryption").map(Value::take);
        *own = fs;
        if let (Some(encryption), Some(own)) = (encryption, own.as_object_mut()) {
            own.insert("encryption".into(), encryption);
        }
    }
    Ok(Some(path).filter(|_| in_volume))
}

/// The section with paths of this host.
fn here(found: &Found, mut section: Value, notes: &mut Vec<String>) -> Value {
    for file in keystore::files(&section) {
        let there = file.source.display().to_string();
        let itself = || Some(file.source.clone()).filter(|path| found.in_place.is_some() && path.is_file());
        match found.kes_files.here(&file.source).or_else(itself) {
            Some(path) => replace(&mut section, &there, &path.display().to_string()),
            None => notes.push(format!("'{there}', which the keystore section names, is not here: correct its path")),
        }
    }
    section
}

/// Puts one text in place of another.
fn replace(section: &mut Value, old: &str, new: &str) {
    match section {
        Value::String(text) if text == old => new.clone_into(text),
        Value::Object(entries) => entries.values_mut().for_each(|value| replace(value, old, new)),
        Value::Array(items) => items.iter_mut().for_each(|value| replace(value, old, new)),
        _ => {}
    }
}

/// What kestack decides by itself, or does not know.
fn notes(config: &Config, document: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    let identities = config.access.assigned().len();
    if identities > 1 {
        notes.push(format!(
            "{identities} identities have policies; kestack's KES knows MinIO and the stack's own admin, others are not imported"
        ));
    }
    let policies: Vec<_> = config.access.policies().keys().map(String::as_str).collect();
    if policies.len() > 1 {
        notes
            .push(format!("of the policies {} only that of MinIO is imported, as kestack has it", policies.join(", ")));
    }
    if at(document, "/admin/identity").as_str().is_some_and(|admin| admin != "disabled") {
        notes.push(
            "the admin's identity is not imported: the stack's own certificate, certs/admin.cert, is admin".into(),
        );
    }
    for (field, what) in [("api", "settings of single routes"), ("cache", "times of the cache"), ("log", "log levels")]
    {
        if document.get(field).is_some() {
            notes.push(format!("{field}: {what} are not imported"));
        }
    }
    notes
}
