//! MinIO's environment as what kestack.yaml says of it.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::kes_env::open;
use super::variables::is_open;
use super::{Found, refused};
use crate::error::Error;
use crate::manifest::carried;
use crate::manifest::{AUTO_ENCRYPTION, check_variable, is_on, is_secret};

/// What an environment says that a stack can carry.
#[derive(Default)]
pub(super) struct Minio {
    /// Access key and secret key of the root user.
    pub(super) root: Option<(String, Zeroizing<String>)>,
    /// Key of the backend.
    pub(super) default_key: Option<String>,
    /// Whether MinIO encrypts new objects in buckets without an encryption of their own.
    pub(super) auto_encryption: bool,
    /// Variables for `minio.env`; secrets as references.
    pub(super) env: BTreeMap<String, String>,
    /// What the references stand for.
    pub(super) secrets: Vec<(String, Zeroizing<String>)>,
    /// What is not imported.
    pub(super) notes: Vec<String>,
}

/// Variables whose place a stack decides, as addresses and certificates.
const OWN: [&str; 6] = [
    "MINIO_CONFIG_ENV_FILE",
    "MINIO_VOLUMES",
    "MINIO_UPDATE",
    "MINIO_BROWSER_REDIRECT_URL",
    "MINIO_ADDRESS",
    "MINIO_CONSOLE_ADDRESS",
];

/// Both names of the root user's parts: today's, and those before 2021.
const ROOT: [&str; 4] = ["MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "MINIO_ACCESS_KEY", "MINIO_SECRET_KEY"];

pub(super) fn read(found: &Found) -> Result<Minio, Error> {
    check_drives(found)?;
    if let Some((name, _)) = found.minio.iter().find(|(_, value)| is_open(value)) {
        return Err(open(name));
    }
    let either = |names: [&str; 2]| names.into_iter().find_map(|name| found.variable(name));
    let root = either(["MINIO_ROOT_USER", "MINIO_ACCESS_KEY"]).zip(either(["MINIO_ROOT_PASSWORD", "MINIO_SECRET_KEY"]));
    if let Some((user, password)) = root {
        check_root("user", user, 3)?;
        check_root("password", password, 8)?;
    }
    let mut minio = Minio {
        root: root.map(|(user, password)| (user.to_owned(), Zeroizing::new(password.to_owned()))),
        default_key: found.variable("MINIO_KMS_KES_KEY_NAME").map(str::to_owned),
        ..Minio::default()
    };
    if minio.root.is_none() {
        minio.notes.push("no root user is set, MinIO took minioadmin: the stack gets a random one".into());
    }
    for (name, why) in [
        ("MINIO_KMS_KES_ENCLAVE", "enclaves are no more"),
        ("MINIO_KMS_KES_API_KEY", "MinIO proves who it is by a certificate of the stack"),
        ("MINIO_KMS_SECRET_KEY", "objects under this static key need it, and MinIO takes either it or KES"),
        ("MINIO_OPTS", "options of the server are the stack's own"),
    ] {
        if found.variable(name).is_some() {
            minio.notes.push(format!("{name} is not imported: {why}"));
        }
    }
    for (name, value) in &found.minio {
        let name = name.as_str();
        let decided = ROOT.contains(&name) || OWN.contains(&name) || name == "MINIO_OPTS" || name.starts_with("KES_");
        let known =
            name.starts_with("MINIO_KMS_KES_") || ["MINIO_KMS_SECRET_KEY", "MINIO_DEFAULT_BUCKETS"].contains(&name);
        if !decided && !known && !value.is_empty() {
            minio.carry(name, value);
        }
    }
    Ok(minio)
}

/// Refuses a part of the root user that MinIO would not take from its environment file.
fn check_root(part: &str, value: &str, least: usize) -> Result<(), Error> {
    let why = if value.chars().count() < least {
        format!("MinIO takes none with fewer than {least} characters")
    } else if carried(value) {
        return Ok(());
    } else {
        "MinIO's environment file cannot carry it: no line breaks, no blanks or quotes at its ends".to_owned()
    };
    Err(refused(
        format!("the root {part} cannot be taken over: {why}"),
        "change it where it comes from, then import again",
    ))
}

/// A stack has one drive.
fn check_drives(found: &Found) -> Result<(), Error> {
    let volumes = found.variable("MINIO_VOLUMES").unwrap_or_default();
    if volumes.contains(['{', ' ', ',']) || volumes.contains("://") {
        return Err(refused(
            format!("MinIO has several drives, '{volumes}': a stack of kestack has one"),
            "take `kestack export tenant` or `kubernetes` for several, and copy the objects with `mc mirror`",
        ));
    }
    Ok(())
}

impl Minio {
    fn carry(&mut self, name: &str, value: &Zeroizing<String>) {
        if let Err(error) = check_variable(name, value) {
            self.notes.push(format!("{name} is not imported: {error}"));
        } else if name == AUTO_ENCRYPTION {
            self.auto_encryption = is_on(value);
        } else if is_secret(name) {
            self.secrets.push((name.to_owned(), value.clone()));
            self.env.insert(name.to_owned(), format!("${{{name}}}"));
        } else {
            self.env.insert(name.to_owned(), value.to_string());
        }
    }
}
