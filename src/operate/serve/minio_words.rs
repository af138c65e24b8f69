//! MinIO's variables as MinIO itself finds them: in its environment file, else in the environment. The root user may
//! also be in files, and have names from before 2021 (docs/minio-kms-client.md §1.3, §1.4).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::error::Error;
use crate::manifest::Environment;
use crate::template::parse_env;

/// Where engines mount their secrets, by name.
const SECRETS: &str = "/run/secrets";
/// MinIO's own default of both.
const DEFAULT: &str = "minioadmin";
/// What makes MinIO take another KMS than kestack's.
const OTHER_KMS: [&str; 3] = ["MINIO_KMS_SECRET_KEY", "MINIO_KMS_KES_ENDPOINT", "MINIO_KMS_SERVER"];
/// The same, in a file.
const OTHER_KMS_FILE: &str = "MINIO_KMS_SECRET_KEY_FILE";
/// All variables that name a file with a secret.
const FILES: [&str; 5] = [
    OTHER_KMS_FILE,
    "MINIO_ROOT_USER_FILE",
    "MINIO_ROOT_PASSWORD_FILE",
    "MINIO_ACCESS_KEY_FILE",
    "MINIO_SECRET_KEY_FILE",
];

/// The variables of MinIO.
pub(super) struct MinioWords<'a> {
    file: BTreeMap<String, String>,
    env: Environment<'a>,
    /// Where the engine mounts its secrets.
    secrets: PathBuf,
}

/// The root user of a MinIO that somebody else configures.
pub(super) struct Root {
    /// Access key.
    pub(super) user: String,
    /// Secret key.
    pub(super) password: Zeroizing<String>,
}

impl<'a> MinioWords<'a> {
    /// Reads the environment file, if one is named and there.
    ///
    /// # Errors
    /// [`Error::File`] if it, or a file with a secret, is there and cannot be read: MinIO's defaults would count.
    pub(super) fn read(env: Environment<'a>) -> Result<Self, Error> {
        Self::read_with(env, SECRETS.into())
    }

    fn read_with(env: Environment<'a>, secrets: PathBuf) -> Result<Self, Error> {
        let named = env("MINIO_CONFIG_ENV_FILE").map(PathBuf::from).filter(|path| path.exists());
        let text = named.map(|path| std::fs::read_to_string(&path).map_err(Error::file("read", &path))).transpose()?;
        let words = Self { file: text.map(|text| parse_env(&text)).unwrap_or_default(), env, secrets };
        for place in FILES.iter().filter_map(|name| words.place(name)) {
            File::open(&place).map_err(Error::file("read", &place))?;
        }
        Ok(words)
    }

    /// The value that counts for MinIO.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        self.file.get(name).cloned().or_else(|| (self.env)(name)).filter(|value| !value.is_empty())
    }

    /// The variable by which the user brings a KMS.
    pub(super) fn other_kms(&self) -> Option<&'static str> {
        let given = OTHER_KMS.into_iter().find(|name| self.value(name).is_some());
        given.or_else(|| self.secret(OTHER_KMS_FILE).map(|_| OTHER_KMS_FILE))
    }

    /// The root user, `None` if neither is named.
    pub(super) fn root(&self) -> Option<Root> {
        let user = self.credential("MINIO_ROOT_USER", "MINIO_ACCESS_KEY");
        let password = self.credential("MINIO_ROOT_PASSWORD", "MINIO_SECRET_KEY");
        if user.is_none() && password.is_none() {
            return None;
        }
        let or_default = |value: Option<String>| value.unwrap_or_else(|| DEFAULT.to_owned());
        Some(Root { user: or_default(user), password: Zeroizing::new(or_default(password)) })
    }

    /// The region that MinIO wants to see in signatures.
    pub(super) fn region(&self) -> Option<String> {
        ["MINIO_SITE_REGION", "MINIO_REGION", "MINIO_REGION_NAME"].into_iter().find_map(|name| self.value(name))
    }

    fn credential(&self, name: &str, former: &str) -> Option<String> {
        let of = |name: &str| self.secret(&format!("{name}_FILE")).or_else(|| self.value(name));
        of(name).or_else(|| of(former))
    }

    /// What is in the file that a variable names, by its path or as a secret of the engine.
    fn secret(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.place(name)?).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn place(&self, name: &str) -> Option<PathBuf> {
        let named = self.value(name)?;
        [self.secrets.join(&named), named.into()].into_iter().find(|place| place.exists())
    }
}

impl Default for Root {
    fn default() -> Self {
        Self { user: DEFAULT.to_owned(), password: Zeroizing::new(DEFAULT.to_owned()) }
    }
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Root(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(env: &[(&str, &str)]) -> Option<(String, String)> {
        let variable = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let root = MinioWords::read(&variable).unwrap().root()?;
        Some((root.user, root.password.to_string()))
    }

    #[test]
    fn the_root_user_has_many_forms() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let (user, password) = (file("user", "filed\n"), file("password", "filed-secret\n"));
        let config =
            file("config.env", "export MINIO_ROOT_USER=\"configured\"\nMINIO_ROOT_PASSWORD=configured-secret\n");
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        let plain = [("MINIO_ROOT_USER", "u"), ("MINIO_ROOT_PASSWORD", "p")];
        assert_eq!(root(&[]), None);
        assert_eq!(root(&plain), pair("u", "p"));
        assert_eq!(root(&[("MINIO_ACCESS_KEY", "a"), ("MINIO_SECRET_KEY", "s")]), pair("a", "s"));
        let files = [("MINIO_ROOT_USER_FILE", user.as_str()), ("MINIO_ROOT_PASSWORD_FILE", password.as_str())];
        assert_eq!(root(&files), pair("filed", "filed-secret"));
        let absent = [("MINIO_ROOT_USER_FILE", "access_key"), plain[0], plain[1]];
        assert_eq!(root(&absent), pair("u", "p"));
        assert_eq!(
            root(&[plain[0], plain[1], ("MINIO_CONFIG_ENV_FILE", &config)]),
            pair("configured", "configured-secret")
        );
    }

    /// As the image has it: the names of files are always set, and count where an engine mounted secrets of these names.
    #[test]
    fn secrets_of_the_engine_count_where_they_are() {
        let names = [
            ("MINIO_ACCESS_KEY_FILE", "access_key"),
            ("MINIO_ROOT_USER_FILE", "access_key"),
            ("MINIO_SECRET_KEY_FILE", "secret_key"),
            ("MINIO_ROOT_PASSWORD_FILE", "secret_key"),
            ("MINIO_KMS_SECRET_KEY_FILE", "kms_master_key"),
        ];
        let variable = |name: &str| names.iter().find(|(known, _)| *known == name).map(|(_, file)| (*file).to_owned());
        let folder = tempfile::tempdir().unwrap();
        let words = || MinioWords::read_with(&variable, folder.path().to_owned()).unwrap();
        assert!(words().root().is_none() && words().other_kms().is_none());
        for (name, text) in [("access_key", "app\n"), ("secret_key", "app-secret\n")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let root = words().root().unwrap();
        assert_eq!((root.user.as_str(), root.password.as_str()), ("app", "app-secret"));
        std::fs::write(folder.path().join("kms_master_key"), "name:c2VjcmV0").unwrap();
        assert_eq!(words().other_kms(), Some("MINIO_KMS_SECRET_KEY_FILE"));
    }

    #[test]
    fn another_kms_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("key");
        std::fs::write(&there, "name:c2VjcmV0").unwrap();
        let there = there.display().to_string();
        for (name, value, expected) in [
            ("MINIO_KMS_SECRET_KEY", "k:v", Some("MINIO_KMS_SECRET_KEY")),
            ("MINIO_KMS_KES_ENDPOINT", "https://kes:7373", Some("MINIO_KMS_KES_ENDPOINT")),
            ("MINIO_KMS_SERVER", "https://kms:7373", Some("MINIO_KMS_SERVER")),
            ("MINIO_KMS_SECRET_KEY_FILE", there.as_str(), Some("MINIO_KMS_SECRET_KEY_FILE")),
            ("MINIO_KMS_SECRET_KEY_FILE", "kms_master_key", None),
            ("MINIO_KMS_AUTO_ENCRYPTION", "on", None),
            ("MINIO_KMS_SECRET_KEY", "", None),
        ] {
            let variable = |asked: &str| (asked == name).then(|| value.to_owned());
            assert_eq!(MinioWords::read(&variable).unwrap().other_kms(), expected, "{name}={value}");
        }
    }
}
