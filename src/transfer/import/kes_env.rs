//! KES's environment: what its keystore section takes from there, and what it reads by itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::variables::{is_open, name};
use super::{Found, refused};
use crate::error::Error;
use crate::keystore;
use crate::manifest::is_secret;

/// What becomes of the environment.
#[derive(Default)]
pub(super) struct KesEnv {
    /// For `kes.env`.
    pub(super) env: BTreeMap<String, String>,
    /// For the file of credentials.
    pub(super) credentials: BTreeMap<String, Zeroizing<String>>,
    /// Variables that the section takes and nobody has given.
    pub(super) missing: BTreeSet<String>,
    /// What is not imported.
    pub(super) notes: Vec<String>,
}

impl KesEnv {
    /// Puts into the section what it takes from the environment; credentials stay variables.
    ///
    /// # Errors
    /// [`Error::Usage`] for a text in which KES would put nothing in.
    pub(super) fn resolve(&mut self, found: &Found, section: &mut Value) -> Result<(), Error> {
        self.put_in(found, section, "")?;
        for (part, fields) in keystore::from_environment() {
            self.add_credentials(found, section, part, &fields);
        }
        Ok(())
    }

    fn put_in(&mut self, found: &Found, value: &mut Value, place: &str) -> Result<(), Error> {
        match value {
            Value::Object(entries) => {
                for (key, value) in entries {
                    self.put_in(found, value, &format!("{place}/{key}"))?;
                }
            }
            Value::String(text) if reference(text).is_some() => {
                let name = reference(text).unwrap_or_default().to_owned();
                let known = found.kes_env.get(&name).filter(|known| !known.is_empty());
                match known {
                    Some(known) if is_open(known) => return Err(open(&name)),
                    Some(known) if keystore::is_credential(place) => {
                        self.credentials.insert(name, known.clone());
                    }
                    Some(known) => known.as_str().clone_into(text),
                    None => drop(self.missing.insert(name)),
                }
            }
            Value::String(text) if is_open(text) => {
                return Err(refused(
                    format!(
                        "'{}' of KES's keystore is not a value: '{text}'",
                        place.trim_start_matches('/').replace('/', ".")
                    ),
                    "write the value itself, or a variable alone: KES puts in nothing else",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_credentials(&mut self, found: &Found, section: &mut Value, part: &str, fields: &[(&str, &str)]) {
        let Some(part) = section.pointer_mut(part).and_then(Value::as_object_mut) else { return };
        let says = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        let has = part.get("credentials").and_then(Value::as_object).is_some_and(|own| own.values().any(says));
        let given = |name: &str| found.kes_env.get(name).filter(|value| !value.is_empty());
        if has || part.contains_key("managed_identity") || fields.iter().take(2).any(|(_, name)| given(name).is_none())
        {
            return;
        }
        let mut credentials = Map::new();
        for (field, name) in fields {
            if let Some(value) = given(name) {
                credentials.insert((*field).to_owned(), format!("${{{name}}}").into());
                self.credentials.insert((*name).to_owned(), value.clone());
            }
        }
        part.insert("credentials".into(), credentials.into());
    }

    /// The rest of the environment: what is not secret into `kes.env`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a value that is still open.
    pub(super) fn carry(&mut self, found: &Found, used: &BTreeSet<String>) -> Result<(), Error> {
        for (name, value) in &found.kes_env {
            let of_others = name.starts_with("KES_") || name.starts_with("MINIO_");
            if used.contains(name) || self.credentials.contains_key(name) || value.is_empty() {
                continue;
            }
            if of_others || ["PATH", "HOME", "HOSTNAME"].contains(&name.as_str()) {
                self.notes
                    .push(format!("{name} of KES's environment is not imported: the stack's KES does not read it"));
            } else if is_secret(name) || name.ends_with("_KEY") {
                self.notes.push(format!(
                    "{name} of KES's environment is not imported: it is a secret, and the keystore section does not take it"
                ));
            } else if is_open(value) {
                return Err(open(name));
            } else if value.contains("://") && value.contains('@') {
                // an address with a password in it
                let own = format!("KES_{name}");
                self.env.insert(name.clone(), format!("${{{own}}}"));
                self.credentials.insert(own, value.clone());
            } else {
                self.env.insert(name.clone(), value.to_string());
            }
        }
        Ok(())
    }
}

/// The variable of a text that is nothing else.
pub(super) fn reference(text: &str) -> Option<&str> {
    let inside = kes_server::yaml::variable(text)?;
    (!inside.is_empty() && name(inside).1.is_empty()).then_some(inside)
}

/// Refuses a value into which a variable is still to be put.
pub(super) fn open(name: &str) -> Error {
    refused(
        format!("the value of {name} is not one: a variable is still to be put into it"),
        "write the value itself where it comes from, then import again",
    )
}
