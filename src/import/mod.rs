//! An existing MinIO with KES, read into a kestack.yaml: a folder of the documented procedure, a Compose file, or the
//! Tenant of MinIO's Operator.
//!
//! A reader per kind gives what it [`Found`]; [`translate()`] makes the manifest of it. What belongs to a secret never
//! stands in the manifest: credentials go into an environment file of mode 0600 that the manifest refers to, the root
//! user's stay in MinIO's environment file, keys and certificates in files. Everything that kestack cannot carry is
//! reported.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::Error;

mod compose;
mod folder;
mod kes;
mod minio;
mod tenant;
#[cfg(test)]
mod tests;
mod translate;

pub use translate::{Imported, translate};

/// What a reader found of a deployment.
#[derive(Default)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Text of KES's configuration.
    kes_config: Zeroizing<String>,
    /// MinIO's environment.
    minio: BTreeMap<String, Zeroizing<String>>,
    /// Where on this host the servers find their files: path there, path here.
    mounts: Vec<(PathBuf, PathBuf)>,
    /// Folder of MinIO's drive on this host.
    drive: Option<PathBuf>,
    /// Port on the host by port of the server.
    ports: BTreeMap<u16, u16>,
    /// Certificates and keys to be taken along: path here, name below `certs`.
    certificates: Vec<(PathBuf, &'static str)>,
    /// The stack's own folder, if the deployment lies as kestack lays it out.
    pub in_place: Option<PathBuf>,
    /// What the user must know.
    notes: Vec<String>,
    /// Commands that end the deployment.
    stop: Vec<String>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Found {
    /// Reads what is at `source`.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is none of the three, or lacks what makes a stack.
    pub fn read(source: &Path) -> Result<Self, Error> {
        if source.is_dir() {
            return folder::read(source);
        }
        let text = text_of(source)?;
        let documents: Vec<Value> = serde_yaml::Deserializer::from_str(&text)
            .map(Value::deserialize)
            .collect::<Result<_, serde_yaml::Error>>()
            .map_err(|error| unknown(source, &error.to_string()))?;
        if documents.iter().any(|document| document["kind"] == "Tenant") {
            return tenant::read(&documents);
        }
        match documents.first() {
            Some(compose) if compose["services"].is_object() => compose::read(source, compose),
            _ => Err(unknown(source, "it has neither services nor a Tenant")),
        }
    }

    /// Where a path that a server names is on this host.
    fn here(&self, path: &Path) -> Option<PathBuf> {
        let mounts = self.mounts.iter().filter_map(|(there, here)| Some((here, path.strip_prefix(there).ok()?)));
        let (here, rest) = mounts.min_by_key(|(_, rest)| rest.components().count())?;
        Some(if rest.as_os_str().is_empty() { here.clone() } else { here.join(rest) })
    }

    /// A variable of MinIO that is not empty.
    fn variable(&self, name: &str) -> Option<&str> {
        self.minio.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Adds MinIO's client certificate and key, wherever its variables say.
    fn find_client_certificate(&mut self) {
        for (variable, name) in
            [("MINIO_KMS_KES_CERT_FILE", "minio-kes.cert"), ("MINIO_KMS_KES_KEY_FILE", "minio-kes.key")]
        {
            let path = self.variable(variable).map(PathBuf::from);
            let found = path.and_then(|path| self.here(&path).or(Some(path))).filter(|path| path.is_file());
            match found {
                Some(path) => self.certificates.push((path, name)),
                None => self.notes.push(format!(
                    "{variable} names no file that is here: MinIO gets a new identity at KES, which `kestack up` gives \
                     the policy of the old one"
                )),
            }
        }
    }
}

/// A part of a document; `Null` if it is not there.
fn at<'a>(document: &'a Value, pointer: &str) -> &'a Value {
    document.pointer(pointer).unwrap_or(&Value::Null)
}

fn text_of(path: &Path) -> Result<Zeroizing<String>, Error> {
    std::fs::read_to_string(path).map(Zeroizing::new).map_err(Error::file("read", path))
}

fn unknown(source: &Path, why: &str) -> Error {
    refused(
        format!("'{}' is no deployment that can be imported: {why}", source.display()),
        "name a folder with config/ and minio/ of the documented procedure, a Compose file, or the YAML of a Tenant",
    )
}

fn refused(what: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Usage { what: what.into(), hint: hint.into() }
}
