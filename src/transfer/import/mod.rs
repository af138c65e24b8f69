//! An existing MinIO with KES, or with a static key, read into a kestack.yaml: a folder of the documented procedure, a
//! Compose file, or the Tenant of MinIO's Operator.
//!
//! A reader per kind gives what it [`Found`]; [`translate()`] makes the manifest of it. What belongs to a secret never
//! is in the manifest: credentials go into an environment file of mode 0600 that the manifest refers to, the root
//! user's stay in MinIO's environment file, keys and certificates in files. What kestack cannot carry is reported. The
//! files are taken for a stranger's: they are read within bounds, nothing of them is run, and a text in which a variable is
//! still to be put in is never taken for a value.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keystore::StaticKey;

mod buckets;
mod compose;
mod credentials;
mod dotenv;
mod folder;
mod kes;
mod kes_env;
mod minio;
mod rehearsal;
mod script;
mod source;
mod static_key;
mod tenant;
#[cfg(test)]
mod tests;
mod translate;
mod variables;
mod words;
mod yaml;

use script::Script;
use source::text_of;
pub use translate::{Imported, translate};

/// Where on this host a server finds its files.
#[derive(Default, Clone)]
struct Files {
    /// Path there, path here.
    mounts: Vec<(PathBuf, PathBuf)>,
    /// Path there, and the text.
    texts: Vec<(PathBuf, Zeroizing<String>)>,
    /// Path there in a volume of the engine, and the service that has it.
    volumes: Vec<(PathBuf, String)>,
}

/// What a reader found of a deployment.
#[derive(Default)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Text of KES's configuration.
    kes_config: Zeroizing<String>,
    /// KES's environment.
    kes_env: BTreeMap<String, Zeroizing<String>>,
    /// KES's files.
    kes_files: Files,
    /// The key in MinIO's environment, where there is no KES.
    static_key: Option<StaticKey>,
    /// MinIO's environment.
    minio: BTreeMap<String, Zeroizing<String>>,
    /// MinIO's files.
    minio_files: Files,
    /// Folder of MinIO's drive on this host.
    drive: Option<PathBuf>,
    /// Folder of the keys on this host, if the user named one.
    keys: Option<PathBuf>,
    /// Port on the host by port of the server.
    ports: BTreeMap<u16, u16>,
    /// Certificates and keys to be taken along: path here, name below `certs`.
    certificates: Vec<(PathBuf, &'static str)>,
    /// Buckets and keys that it makes when it starts.
    made: Script,
    /// The stack's own folder, if the deployment is as kestack lays it out.
    pub in_place: Option<PathBuf>,
    /// What the user must know.
    notes: Vec<String>,
    /// Commands that end the deployment.
    stop: Vec<String>,
    /// The command that copies out of the containers of the deployment, without its arguments.
    copy: Option<String>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Files {
    /// Where a path that the server names is on this host.
    fn here(&self, path: &Path) -> Option<PathBuf> {
        // images start in the root folder
        let path = Path::new("/").join(path);
        let mounts = self.mounts.iter().filter_map(|(there, here)| Some((here, path.strip_prefix(there).ok()?)));
        let (here, rest) = mounts.min_by_key(|(_, rest)| rest.components().count())?;
        Some(if rest.as_os_str().is_empty() { here.clone() } else { here.join(rest) })
    }

    /// The text of a file that the server names; `None` if it is not of this host.
    fn text(&self, path: &Path) -> Option<Result<Zeroizing<String>, Error>> {
        if let Some((_, text)) = self.texts.iter().find(|(there, _)| there == path) {
            return Some(Ok(text.clone()));
        }
        self.here(path).filter(|here| here.exists()).map(|here| text_of(&here))
    }

    /// The service in whose volume a path is.
    fn volume(&self, path: &Path) -> Option<&str> {
        let volume = self.volumes.iter().find(|(there, _)| path.starts_with(there));
        volume.map(|(_, service)| service.as_str())
    }

    /// True if something is mounted at that path.
    fn has(&self, path: &Path) -> bool {
        self.here(path).is_some() || self.volume(path).is_some()
    }
}

impl Found {
    /// Reads what is at `source`. Variables of Compose files have their values from `env`, then from `.env` next to the file.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is none of the three, lacks what makes a stack, or leaves a variable open.
    pub fn read(source: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        if source.is_dir() {
            return folder::read(source);
        }
        let mut documents = source::documents(source)?;
        documents.retain(|document| !document.is_null());
        let documents = tenant::listed(documents);
        if documents.iter().any(|document| document["kind"] == "Tenant") {
            return tenant::read(&documents);
        }
        let compose = documents.into_iter().next().filter(|document| document["services"].is_object());
        compose.map_or_else(
            || Err(unknown(source, "it has neither services nor a Tenant")),
            |compose| compose::read(source, compose, env),
        )
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
            // without containers a path is one of this host
            let or_itself =
                |path: PathBuf| self.minio_files.here(&path).or_else(|| Some(path).filter(|_| self.in_place.is_some()));
            match path.and_then(or_itself).filter(|path| path.is_file()) {
                Some(path) => self.certificates.push((path, name)),
                None => self.notes.push(format!(
                    "{variable} names no file that is here: MinIO gets a new identity at KES, which `kestack up` gives \
                     the policy of the old one"
                )),
            }
        }
    }

    /// Puts the root user's parts in place of the files that variables name.
    fn take_root_files(&mut self) -> Result<(), Error> {
        for name in ["MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"] {
            let Some(file) = self.variable(&format!("{name}_FILE")).map(PathBuf::from) else { continue };
            let text = [file.clone(), Path::new("/run/secrets").join(&file)]
                .iter()
                .find_map(|path| self.minio_files.text(path));
            let Some(text) = text else {
                return Err(refused(
                    format!("{name}_FILE names '{}', which is not a file of this host", file.display()),
                    "correct the path of the secret or the mount, then import again",
                ));
            };
            let value = Zeroizing::new(text?.trim_end_matches(['\r', '\n']).to_owned());
            self.minio.remove(&format!("{name}_FILE"));
            self.minio.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// Looks where the drive is; of one in a volume of the engine only how to copy it is known.
    fn find_drive(&mut self) {
        let drive = self.variable("MINIO_VOLUMES").map(PathBuf::from);
        self.drive = drive.and_then(|path| self.minio_files.here(&path));
    }

    /// The command that copies a path out of a container into a folder of this host.
    fn copied(&self, files: &Files, path: &Path, to: &Path) -> Option<String> {
        let from = format!("{}:{}/.", files.volume(path)?, path.display());
        Some(format!(
            "{} {} {}",
            self.copy.as_ref()?,
            crate::host::quote::shell_word(&from),
            crate::transfer::export::quoted(to)
        ))
    }
}

/// A part of a document; `Null` if it is not there.
fn at<'a>(document: &'a Value, pointer: &str) -> &'a Value {
    document.pointer(pointer).unwrap_or(&Value::Null)
}

fn unknown(source: &Path, why: &str) -> Error {
    refused(
        format!("'{}' is not a deployment that can be imported: {why}", source.display()),
        "name a folder with config/ and minio/ of the documented procedure, a Compose file, or the YAML of a Tenant",
    )
}

fn refused(what: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Usage { what: what.into(), hint: hint.into() }
}
