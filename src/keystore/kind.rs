//! The kinds of keystores, and a section from the variables that a vendor's own tools read: `--keystore vault` and the
//! like.

use serde_json::{Map, Value};

use super::section::put;
use super::vendor::{self, Use, Vendor};

/// Keystores that a stack can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum KeystoreKind {
    /// The stack's own folder.
    Fs,
    /// `HashiCorp` Vault or `OpenBao`.
    Vault,
    /// AWS Secrets Manager.
    Aws,
    /// GCP Secret Manager.
    Gcp,
    /// Azure Key Vault.
    Azure,
    /// Entrust `KeyControl`.
    Entrust,
    /// Thales `CipherTrust` Manager.
    Gemalto,
    /// Fortanix DSM.
    Fortanix,
}

impl KeystoreKind {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Fs, Self::Vault, Self::Aws, Self::Gcp, Self::Azure, Self::Entrust, Self::Gemalto, Self::Fortanix];

    /// The one that a section names.
    pub fn of(section: &Value) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| section.get(kind.word()).is_some())
    }

    /// The name of its section, and the word of the command line.
    pub fn word(self) -> &'static str {
        self.vendor().word
    }

    /// What kestack knows of it.
    pub(crate) fn vendor(self) -> &'static Vendor {
        match self {
            Self::Fs => &vendor::FS,
            Self::Vault => &vendor::VAULT,
            Self::Aws => &vendor::AWS,
            Self::Gcp => &vendor::GCP,
            Self::Azure => &vendor::AZURE,
            Self::Entrust => &vendor::ENTRUST,
            Self::Gemalto => &vendor::GEMALTO,
            Self::Fortanix => &vendor::FORTANIX,
        }
    }

    /// Every variable that the section may be made from.
    pub(crate) fn variables(self) -> impl Iterator<Item = &'static str> {
        let settings = self.vendor().settings.iter().filter(|setting| setting.use_of != Use::Never);
        settings.flat_map(|setting| setting.variables.iter().copied())
    }

    /// The section of this keystore, from the environment.
    ///
    /// # Errors
    /// Every variable that is missing.
    pub fn section(self, env: &dyn Fn(&str) -> Option<String>) -> Result<Value, Vec<String>> {
        let mut section = Value::Object(Map::new());
        put(&mut section, &format!("/{}", self.word()), None);
        let mut missing = Vec::new();
        for setting in self.vendor().settings.iter().filter(|setting| setting.use_of != Use::Never) {
            let value = setting.variables.iter().find_map(|name| env(name)).filter(|value| !value.is_empty());
            match value {
                Some(value) => put(&mut section, setting.place, Some(value)),
                None if setting.use_of == Use::Required => missing.push(setting.variables.join(" or ")),
                None => {}
            }
        }
        if !missing.is_empty() {
            return Err(missing);
        }
        (self.vendor().complete)(&mut section);
        Ok(section)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_variables_of_the_vendor_make_the_section() {
        let env = |name: &str| match name {
            "AWS_DEFAULT_REGION" => Some("eu-central-1".into()),
            "AWS_ACCESS_KEY_ID" => Some("AKIA".into()),
            "AWS_SECRET_ACCESS_KEY" => Some("s".into()),
            _ => None,
        };
        assert_eq!(
            KeystoreKind::Aws.section(&env).unwrap(),
            json!({ "aws": { "secretsmanager": {
                "endpoint": "https://secretsmanager.eu-central-1.amazonaws.com", "region": "eu-central-1",
                "credentials": { "accesskey": "AKIA", "secretkey": "s" },
            }}})
        );
        assert_eq!(KeystoreKind::Fs.section(&|_| None).unwrap(), json!({ "fs": {} }));
    }

    #[test]
    fn all_that_is_missing_is_named_at_once() {
        let missing = KeystoreKind::Vault.section(&|_| None).unwrap_err();
        assert_eq!(missing, ["VAULT_ADDR", "VAULT_ROLE_ID", "VAULT_SECRET_ID"]);
    }

    #[test]
    fn each_keystore_stands_in_one_section_of_its_name() {
        for kind in KeystoreKind::ALL {
            assert_eq!(KeystoreKind::of(&json!({ kind.word(): {} })), Some(kind));
            let vendor = kind.vendor();
            let places = vendor.settings.iter().map(|setting| setting.place);
            let places = places.chain(vendor.files.iter().map(|file| file.place)).chain(vendor.part);
            for place in places {
                assert!(place.starts_with(&format!("/{}/", kind.word())), "{place}");
            }
        }
        assert_eq!(KeystoreKind::of(&json!({ "etcd": {} })), None);
    }
}
