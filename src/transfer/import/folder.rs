//! A folder of the documented procedure: `certs`, `config` and `minio`, and `keys` for the fs keystore. kestack's own
//! folders look the same, so it becomes the stack's folder as it is.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Files, Found, refused, text_of};
use crate::error::Error;
use crate::template::parse_env;
use crate::transfer::export::quoted;

/// Names of KES's configuration in the procedure's variants.
const KES_CONFIGS: [&str; 3] = ["kes-config.yaml", "server-config.yaml", "config.yaml"];

pub(super) fn read(folder: &Path) -> Result<Found, Error> {
    let folder = std::fs::canonicalize(folder).map_err(Error::file("find", folder))?;
    let config = folder.join("config");
    let unfit = || {
        refused(
            format!("'{}' is not a folder of the documented procedure", folder.display()),
            "it must hold config/kes-config.yaml, config/minio and the drive in minio/",
        )
    };
    if !config.join("minio").is_file() || !folder.join("minio").is_dir() {
        return Err(unfit());
    }
    let config = original(&folder)?;
    let kes = kes_config(&config);
    let env = text_of(&config.join("minio"))?;
    let mut found = Found {
        name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        kes_config: kes.as_deref().map(text_of).transpose()?.unwrap_or_default(),
        minio: parse_env(&env).into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect(),
        drive: Some(folder.join("minio")),
        in_place: Some(folder.clone()),
        ..Found::default()
    };
    let mount = |there: &str, here: &str| (there.into(), folder.join(here));
    let mounts = vec![
        mount("/certs", "certs"),
        mount("/etc/default", "config"),
        mount("/mnt/minio", "minio"),
        mount("/mnt/keys", "keys"),
        mount("/keys", "keys"),
    ];
    found.minio_files = Files { mounts, ..Files::default() };
    found.kes_files = found.minio_files.clone();
    found.stop = vec![format!("podman pod rm --force {}", found.name)];
    match kes {
        Some(_) => found.find_client_certificate(),
        None if found.has_static_key() => {
            found.take_static_key()?;
            found.notes.push(
                "config/imported/minio keeps the key in clear: remove the file once the stack reads the data".into(),
            );
        }
        None => return Err(unfit()),
    }
    Ok(found)
}

/// Where an import keeps the files that `up` writes again.
pub(super) fn kept(folder: &Path) -> PathBuf {
    folder.join("config/imported")
}

/// True for a file that `up` wrote.
pub(super) fn is_of_up(text: &str) -> bool {
    text.contains("`kestack up` replaces it")
}

/// Where the configuration of the deployment is: in `config`, or, if `up` has replaced it since, where the import kept it.
fn original(folder: &Path) -> Result<PathBuf, Error> {
    let (config, kept) = (folder.join("config"), kept(folder));
    if !kept.join("minio").is_file() {
        return Ok(config);
    }
    let files = |folder: &Path| {
        let kes = kes_config(folder).as_deref().map(text_of).transpose()?;
        Ok::<_, Error>((text_of(&folder.join("minio"))?, kes))
    };
    let now = files(&config)?;
    if is_of_up(&now.0) || now.1.as_ref().is_some_and(|kes| is_of_up(kes)) || now == files(&kept)? {
        return Ok(kept);
    }
    Err(refused(
        format!("'{}' has changed since the import that '{}' is of", config.display(), kept.display()),
        format!("to import what it is now, move the copies of what it was away first: {}", quoted(&kept)),
    ))
}

fn kes_config(config: &Path) -> Option<PathBuf> {
    KES_CONFIGS.iter().map(|name| config.join(name)).find(|path| path.is_file())
}
