//! KES's keystore section taken apart: files of this host that it names, and credentials. Pure.

use std::path::PathBuf;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::identity::Login;
use super::kind::KeystoreKind;
use super::vendor::Named;

/// A file of this host that a section names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeystoreFile {
    /// Where it is on this host.
    pub(crate) source: PathBuf,
    /// Its name where KES runs; unique in a section.
    pub(crate) name: &'static str,
    /// True for a private key.
    pub(crate) secret: bool,
}

/// A credential and the variable that carries it.
pub(crate) type Credential = (&'static str, Zeroizing<String>);

/// The files that a section of its kind can name.
fn nameable(section: &Value) -> &'static [Named] {
    KeystoreKind::of(section).map_or(&[], |kind| kind.vendor().files)
}

/// The files that a section names.
pub(crate) fn files(section: &Value) -> Vec<KeystoreFile> {
    let named = nameable(section).iter().filter_map(|file| {
        let path = text(section, file.place)?;
        Some(KeystoreFile { source: path.into(), name: file.name, secret: file.is_secret })
    });
    named.collect()
}

/// The section with each file where `place` says.
pub(crate) fn with_files(section: &Value, place: impl Fn(&str) -> String) -> Value {
    let mut moved = section.clone();
    for file in nameable(section) {
        if text(section, file.place).is_some()
            && let Some(path) = moved.pointer_mut(file.place)
        {
            *path = place(file.name).into();
        }
    }
    moved
}

/// Credentials of one kind of keystore or of all: their places, and the variables that carry them.
fn credentials(kind: Option<KeystoreKind>) -> impl Iterator<Item = (&'static str, &'static str)> {
    let kinds = KeystoreKind::ALL.into_iter().filter(move |found| kind.is_none_or(|kind| kind == *found));
    let settings = kinds.flat_map(|kind| kind.vendor().settings).filter(|setting| setting.is_credential);
    settings.filter_map(|setting| Some((setting.place, *setting.variables.first()?)))
}

/// True if a credential is at that place of a section, written as a JSON pointer.
pub(crate) fn is_credential(place: &str) -> bool {
    credentials(None).any(|(known, _)| known == place)
}

/// A part of a section whose credentials the vendor's software takes from the environment by itself: the fields below its
/// `credentials`, and the variable of each.
pub(crate) fn from_environment() -> impl Iterator<Item = (&'static str, Vec<(&'static str, &'static str)>)> {
    KeystoreKind::ALL.into_iter().filter_map(|kind| {
        let part = kind.vendor().part?;
        let field = |(place, variable): (&'static str, _)| Some((place.rsplit_once('/')?.1, variable));
        Some((part, credentials(Some(kind)).filter_map(field).collect()))
    })
}

/// The variables of one's own environment that may hold what a section which somebody else wrote takes from the variable
/// `name`: those that the vendor's own tools read, each for its place. The section chooses where they are sent.
pub(crate) fn own_variables(section: &Value, name: &str) -> Vec<&'static str> {
    let Some(kind) = KeystoreKind::of(section) else { return vec![] };
    let stands_at = |place| text(section, place).and_then(kes_server::yaml::variable) == Some(name);
    let settings = kind.vendor().settings.iter().filter(|setting| stands_at(setting.place));
    let of_place = settings.flat_map(|setting| setting.variables.iter().copied());
    kind.variables().filter(|known| *known == name).chain(of_place).collect()
}

/// The address of a section's keystore, as it is written there.
pub(crate) fn endpoint(section: &Value) -> Option<&str> {
    let settings = KeystoreKind::of(section)?.vendor().settings.iter();
    settings
        .map(|setting| setting.place)
        .find(|place| place.ends_with("/endpoint"))
        .and_then(|place| text(section, place))
}

/// The section with `${NAME}` in place of credentials, and the credentials; what is a variable already stays.
pub(crate) fn without_credentials(section: &Value) -> (Value, Vec<Credential>) {
    let (mut section, mut found) = (section.clone(), Vec::new());
    let Some(kind) = KeystoreKind::of(&section) else { return (section, found) };
    let of_file = match (kind.vendor().login)(&section) {
        Login::TokenFile(path) => Some(path.to_owned()),
        _ => None,
    };
    for (place, variable) in credentials(Some(kind)) {
        let Some(value) = section.pointer_mut(place) else { continue };
        let Some(secret) = value.as_str().map(|text| Zeroizing::new(text.to_owned())) else { continue };
        let is_variable = secret.starts_with("${") && secret.ends_with('}');
        // an empty variable counts as one that is not set
        if secret.is_empty() || is_variable || of_file.as_ref() == Some(&*secret) {
            continue;
        }
        *value = format!("${{{variable}}}").into();
        found.push((variable, secret));
    }
    (section, found)
}

/// Puts a value, and the mappings above it, into a section; without a value an empty mapping.
pub(super) fn put(section: &mut Value, place: &str, value: Option<String>) {
    let keys: Vec<_> = place.trim_start_matches('/').split('/').collect();
    let Some((last, above)) = keys.split_last() else { return };
    let mut inside = section;
    for key in above {
        let Some(map) = inside.as_object_mut() else { return };
        inside = map.entry(*key).or_insert_with(|| Value::Object(Map::new()));
    }
    if let Some(map) = inside.as_object_mut() {
        map.insert((*last).to_owned(), value.map_or_else(|| Value::Object(Map::new()), Value::from));
    }
}

/// A text of a section that is not empty.
pub(crate) fn text<'a>(section: &'a Value, pointer: &str) -> Option<&'a str> {
    section.pointer(pointer)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_section_of_somebody_else_gets_only_the_variables_of_its_vendor() {
        let section = json!({ "vault": {
            "endpoint": "https://vault:8200", "approle": { "id": "${VAULT_ROLE_ID}", "secret": "${GITHUB_TOKEN}" },
        }});
        assert_eq!(own_variables(&section, "GITHUB_TOKEN"), ["VAULT_SECRET_ID"]);
        assert_eq!(own_variables(&section, "VAULT_ROLE_ID")[0], "VAULT_ROLE_ID");
        for other in ["AWS_SECRET_ACCESS_KEY", "HOME"] {
            assert_eq!(own_variables(&section, other), Vec::<&str>::new());
        }
        assert_eq!(endpoint(&section), Some("https://vault:8200"));
        assert_eq!(endpoint(&json!({ "fs": {} })), None);
    }

    #[test]
    fn a_section_comes_apart_into_files_credentials_and_the_rest() {
        let section = json!({ "vault": {
            "endpoint": "https://vault:8200",
            "approle": { "id": "role", "secret": "s3cret" },
            "tls": { "ca": "/etc/vault/ca.pem", "key": "/etc/vault/key.pem", "cert": "" },
        }});
        let found = files(&section);
        let names: Vec<_> = found.iter().map(|file| (file.name, file.secret)).collect();
        assert_eq!(names, [("ca.crt", false), ("client.key", true)]);
        let moved = with_files(&section, |name| format!("/certs/{name}"));
        let (rest, credentials) = without_credentials(&moved);
        assert_eq!(text(&rest, "/vault/tls/key"), Some("/certs/client.key"));
        assert_eq!(text(&rest, "/vault/tls/cert"), None);
        assert_eq!(text(&rest, "/vault/approle/secret"), Some("${VAULT_SECRET_ID}"));
        assert!(!rest.to_string().contains("s3cret"));
        assert_eq!(credentials.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["VAULT_ROLE_ID", "VAULT_SECRET_ID"]);
    }

    #[test]
    fn the_file_of_a_service_account_is_no_credential() {
        let file = json!({ "vault": { "kubernetes": { "role": "kes", "jwt": "/var/run/token" } } });
        assert!(without_credentials(&file).1.is_empty());
        let token = json!({ "vault": { "kubernetes": { "role": "kes", "jwt": "eyJ" } } });
        assert_eq!(without_credentials(&token).1.len(), 1);
    }
}
