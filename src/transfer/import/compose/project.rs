//! A Compose file with its surroundings: the variables that are put into it, and the services that it makes of `extends`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::super::dotenv::{self, Values};
use super::super::source::{documents, text_of};
use super::super::variables::{Lookup, expand};
use super::super::{at, refused, unknown};
use crate::error::Error;

/// How many services may extend one another in a row.
const MAX_EXTENDS: usize = 8;
/// Keys of a service that say nothing of it that a stack has: their variables need not be known.
const BESIDES: [&str; 9] =
    ["annotations", "build", "deploy", "develop", "healthcheck", "labels", "logging", "depends_on", "restart"];
/// Keys whose values replace those of a service that is extended; other lists are added to each other.
const REPLACED: [&str; 3] = ["command", "entrypoint", "profiles"];

/// What a file says, and where it is.
pub(super) struct Project<'a> {
    /// The file.
    pub(super) file: PathBuf,
    /// Its folder, at which relative paths start.
    pub(super) folder: PathBuf,
    /// All of it, variables not put in.
    whole: Value,
    /// `.env` next to the file.
    dotenv: Values,
    env: Lookup<'a>,
}

/// What is missing or wrong in the parts that are read.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    /// Variables without a value.
    pub(super) unset: BTreeSet<String>,
    /// What is wrong, and where.
    pub(super) wrong: Vec<String>,
}

impl<'a> Project<'a> {
    /// Reads what is around a file.
    pub(super) fn new(file: &Path, whole: Value, env: Lookup<'a>) -> Result<Self, Error> {
        let file = std::path::absolute(file).map_err(Error::file("find", file))?;
        let folder = file.parent().unwrap_or(&file).to_owned();
        let (path, mut gaps) = (folder.join(".env"), Gaps::default());
        let mut dotenv = Values::new();
        if path.exists() {
            match dotenv::parse(&text_of(&path)?, env, &mut gaps.unset) {
                Ok(values) => dotenv = values,
                Err(why) => gaps.wrong.push(format!("{}: {why}", path.display())),
            }
        }
        gaps.check()?;
        Ok(Self { file, folder, whole, dotenv, env })
    }

    /// A part of the file; `Null` if it is not there.
    pub(super) fn part(&self, key: &str) -> &Value {
        self.whole.get(key).unwrap_or(&Value::Null)
    }

    /// A variable of the project: the environment comes before `.env`.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name).or_else(|| self.dotenv.get(name).map(|value| value.to_string()))
    }

    /// A value with its variables put in.
    pub(super) fn resolved(&self, value: &Value, place: &str, gaps: &mut Gaps) -> Value {
        match value {
            Value::String(text) => {
                let lookup = |name: &str| self.variable(name);
                match expand(text, &lookup, &mut gaps.unset) {
                    Ok(text) => text.into(),
                    Err(why) => {
                        gaps.wrong.push(format!("{place}: {why}"));
                        Value::Null
                    }
                }
            }
            Value::Array(items) => items.iter().map(|item| self.resolved(item, place, gaps)).collect(),
            Value::Object(entries) => {
                let resolve = |(key, value): (&String, &Value)| {
                    (key.clone(), self.resolved(value, &format!("{place}.{key}"), &mut *gaps))
                };
                entries.iter().map(resolve).collect::<Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }

    /// Services by name, with what they extend, variables put in, and what is missing for each.
    pub(super) fn services(&self) -> Result<Vec<(String, Value, Gaps)>, Error> {
        let services = self.part("services").as_object().into_iter().flatten();
        let read = |(name, service): (&String, &Value)| {
            let mut service = self.extended(service, &self.whole, 0)?;
            if let Some(entries) = service.as_object_mut() {
                entries.retain(|key, _| !BESIDES.contains(&key.as_str()));
            }
            let mut gaps = Gaps::default();
            let service = self.resolved(&service, &format!("services.{name}"), &mut gaps);
            Ok((name.clone(), service, gaps))
        };
        services.map(read).collect()
    }

    fn extended(&self, service: &Value, whole: &Value, depth: usize) -> Result<Value, Error> {
        let (name, file) = match &service["extends"] {
            Value::Null => return Ok(service.clone()),
            Value::String(name) => (Some(name.as_str()), None),
            long => (long["service"].as_str(), long["file"].as_str()),
        };
        let broken =
            |why: &str| unknown(&self.file, &format!("a service extends '{}', {why}", name.unwrap_or_default()));
        if depth >= MAX_EXTENDS {
            return Err(broken("and so on without an end"));
        }
        let other = match file {
            None => None,
            Some(file) => {
                let path = self.inside(file, "extends.file")?;
                if path.parent() != self.folder.canonicalize().ok().as_deref() {
                    return Err(self.simplify("a service extends one of a file in another folder"));
                }
                documents(&path)?.into_iter().next()
            }
        };
        let whole = other.as_ref().unwrap_or(whole);
        let base = name.map_or(&Value::Null, |name| at(whole, "/services").get(name).unwrap_or(&Value::Null));
        if !base.is_object() {
            return Err(broken("which is not there"));
        }
        Ok(merged(self.extended(base, whole, depth + 1)?, service))
    }

    /// A file of the project, which must lie in its folder: what is elsewhere on this host is not a stranger's to name.
    pub(super) fn inside(&self, path: &str, what: &str) -> Result<PathBuf, Error> {
        let full = self.folder.join(path);
        let found = full.canonicalize().map_err(Error::file("find", &full))?;
        let folder = self.folder.canonicalize().map_err(Error::file("find", &self.folder))?;
        if found.starts_with(&folder) {
            return Ok(found);
        }
        Err(refused(
            format!("{what} names '{path}', which lies outside of '{}'", self.folder.display()),
            "if you trust it, copy it into the folder of the Compose file and name the copy",
        ))
    }

    /// Refuses what Compose itself can write out.
    pub(super) fn simplify(&self, what: &str) -> Error {
        let file = crate::transfer::export::quoted(&self.file);
        refused(
            format!("{what}: import does not follow that"),
            format!("let Compose put it together: `docker compose -f {file} config >one.yaml`, then import one.yaml"),
        )
    }
}

impl Gaps {
    /// Refuses what is missing or wrong, all at once.
    pub(super) fn check(&self) -> Result<(), Error> {
        let mut all = self.wrong.clone();
        if !self.unset.is_empty() {
            let names: Vec<_> = self.unset.iter().map(String::as_str).collect();
            all.push(format!("not set, neither in the environment nor in .env: {}", names.join(", ")));
        }
        if all.is_empty() {
            return Ok(());
        }
        Err(refused(
            all.join("; "),
            "set the variables, or write them into .env next to the Compose file, then import again",
        ))
    }
}

/// A service on top of the one that it extends.
fn merged(mut base: Value, over: &Value) -> Value {
    let (Some(entries), Some(over)) = (base.as_object_mut(), over.as_object()) else { return over.clone() };
    entries.remove("extends");
    for (key, value) in over.iter().filter(|(key, _)| *key != "extends") {
        let former = entries.remove(key).unwrap_or(Value::Null);
        let value = match (former, value) {
            (_, value) if REPLACED.contains(&key.as_str()) => value.clone(),
            (former, value) if key == "environment" => merged(as_map(former), &as_map(value.clone())),
            (Value::Array(mut items), Value::Array(more)) => {
                items.extend(more.iter().cloned());
                items.into()
            }
            (former @ Value::Object(_), value @ Value::Object(_)) => merged(former, value),
            (_, value) => value.clone(),
        };
        entries.insert(key.clone(), value);
    }
    base
}

/// `environment` as a mapping; a name alone has no value.
pub(super) fn as_map(environment: Value) -> Value {
    let Value::Array(items) = environment else {
        return if environment.is_object() { environment } else { Map::new().into() };
    };
    let pair = |item: Value| match item.as_str()?.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.into())),
        None => Some((item.as_str()?.to_owned(), Value::Null)),
    };
    items.into_iter().filter_map(pair).collect::<Map<_, _>>().into()
}
