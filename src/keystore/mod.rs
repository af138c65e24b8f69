//! A stack's keystore, as kestack.yaml names it: its section, read and opened as KES does.

use std::path::Path;

use kes_server::config::{Config, FsConfig, KeyStoreConfig};
use kes_server::keystore::{Backend, Environment, Fs, MasterKeys, fs};
use serde_json::Value;

mod call;
mod identity;
mod kind;
mod policy;
mod section;
mod static_key;
mod vendor;

pub(crate) use call::Call;
pub use identity::Fleet;
pub(crate) use identity::{Login, WorkloadIdentity};
pub use kind::KeystoreKind;
pub(crate) use policy::Subject;
pub(crate) use section::{
    Credential, KeystoreFile, endpoint, files, from_environment, is_credential, own_variables, text, with_files,
    without_credentials,
};
pub(crate) use static_key::StaticKey;
pub(crate) use vendor::{MASTER_KEY_FILES, MASTER_KEYS};

/// Names under which containers know the host they run on. From here, that is the loopback.
const HOST_NAMES: [&str; 2] = ["host.containers.internal", "host.docker.internal"];

/// Opens a remote keystore, as KES does.
///
/// # Errors
/// Why it cannot be opened.
pub(crate) async fn open(keystore: &Value, environment: &Environment) -> Result<Backend, String> {
    let config = parse(keystore)?;
    Backend::connect(&config, environment).await.map_err(|error| error.to_string())
}

/// Opens the keys of a folder as they lie there: sealed under the master keys of a section, else under the one in the file
/// `master_key`, or in clear.
///
/// # Errors
/// Why they cannot be opened.
pub(crate) async fn open_folder(
    keystore: &Value,
    folder: &Path,
    master_key: &Path,
    environment: &Environment,
) -> Result<Backend, String> {
    let keys = if !fs::is_sealed(folder).map_err(|error| error.to_string())? {
        None
    } else if keystore.pointer("/fs/encryption").is_some() {
        Some(master_keys(keystore, folder, environment).await?)
    } else {
        let key = MasterKeys::read_file(master_key).map_err(|error| error.to_string())?;
        Some(MasterKeys::new(key, vec![]))
    };
    Fs::open(folder, keys).await.map(Backend::Fs).map_err(|error| error.to_string())
}

/// The master keys that the section of a folder names.
///
/// # Errors
/// If KES refuses the section, or one of them cannot be read.
pub(crate) async fn master_keys(
    keystore: &Value,
    folder: &Path,
    environment: &Environment,
) -> Result<MasterKeys, String> {
    let mut section = keystore.clone();
    if let Some(fs) = section.get_mut("fs").and_then(Value::as_object_mut) {
        fs.insert("path".into(), folder.display().to_string().into());
    }
    let KeyStoreConfig::Fs(FsConfig { encryption: Some(encryption), .. }) = parse(&section)? else {
        return Err("the keystore section names no master key".into());
    };
    MasterKeys::load(&encryption, environment).await.map_err(|error| error.to_string())
}

/// Kind and place of a remote keystore, for people.
pub(crate) fn name(keystore: &Value) -> String {
    parse(keystore).map_or_else(|_| "of an unknown kind".into(), |config| config.display())
}

/// The right that a call needs in the keystore of this section, by the name that its administrator knows.
pub(crate) fn right(section: &Value, call: Call) -> String {
    let kind = KeystoreKind::of(section).unwrap_or(KeystoreKind::Fs);
    (kind.vendor().right)(section, call)
}

/// How KES logs in with this section.
pub(crate) fn login(section: &Value) -> Login<'_> {
    KeystoreKind::of(section).map_or(Login::Credentials, |kind| (kind.vendor().login)(section))
}

/// What a service account needs so that the keystore of this section knows KES by it.
pub(crate) fn identity(section: &Value, who: &str, fleet: Option<&Fleet>) -> WorkloadIdentity {
    KeystoreKind::of(section).map_or_else(WorkloadIdentity::default, |kind| (kind.vendor().identity)(who, fleet))
}

/// The smallest set of permissions for KES, as files; `None` for a keystore without accounts.
pub(crate) fn policies(subject: &Subject<'_>) -> Option<Vec<policy::Policy>> {
    (KeystoreKind::of(subject.section)?.vendor().policies)(subject)
}

/// KES's reading of a section, as it is seen from this host.
///
/// # Errors
/// Why KES refuses it.
pub(crate) fn parse(keystore: &Value) -> Result<KeyStoreConfig, String> {
    let text = from_here(&keystore.to_string());
    let document =
        format!("version: v1\nadmin: {{ identity: disabled }}\ntls: {{ key: k, cert: c }}\nkeystore: {text}\n");
    let config = Config::parse(&document, &|_| None);
    config.map(|config| config.keystore).map_err(|error| format!("KES refuses the keystore section: {error}"))
}

/// What a container calls the host, as the host calls itself.
pub(crate) fn from_here(text: &str) -> String {
    HOST_NAMES.iter().fold(text.to_owned(), |text, name| text.replace(&format!("//{name}"), "//127.0.0.1"))
}
