//! A Compose file with one service of MinIO and one of KES.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;

use super::{Found, refused, text_of};
use crate::error::Error;
use crate::export::quoted;
use crate::template::parse_env;

pub(super) fn read(file: &Path, compose: &Value) -> Result<Found, Error> {
    let file = std::path::absolute(file).map_err(Error::file("find", file))?;
    let folder = file.parent().unwrap_or(&file);
    let (kes, minio) = (service(compose, "kes")?, service(compose, "minio")?);
    let own_name = || folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let mut found = Found {
        name: compose["name"].as_str().map_or_else(own_name, str::to_owned),
        stop: vec![format!("docker compose -f {} down", quoted(&file))],
        ..Found::default()
    };
    found.mounts = mounts(kes, folder, &mut found.notes);
    found.ports = ports(kes);
    let config = words(&kes["command"]).into_iter().chain(words(&kes["entrypoint"])).find_map(|word| {
        let path = PathBuf::from(word.strip_prefix("--config=").unwrap_or(&word));
        path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml").then_some(path)
    });
    let here = config.as_deref().and_then(|path| found.here(path));
    let Some(path) = here.filter(|path| path.is_file()) else {
        return Err(refused(
            "the service of KES names no configuration that is mounted from this host",
            "write `--config` with the path of a mounted file into its `command`",
        ));
    };
    found.kes_config = text_of(&path)?;
    found.minio = environment(minio, folder)?;
    let kes_mounts = std::mem::replace(&mut found.mounts, mounts(minio, folder, &mut found.notes));
    if let Some(path) = found.variable("MINIO_CONFIG_ENV_FILE").and_then(|path| found.here(Path::new(path))) {
        let more = parse_env(&text_of(&path)?);
        found.minio.extend(more.into_iter().map(|(name, value)| (name, Zeroizing::new(value))));
    }
    found.find_client_certificate();
    if let Some(path) = drive_argument(minio) {
        found.minio.entry("MINIO_VOLUMES".into()).or_insert(Zeroizing::new(path));
    }
    found.drive = found.variable("MINIO_VOLUMES").and_then(|path| found.here(Path::new(path)));
    found.mounts.extend(kes_mounts);
    found.ports.extend(ports(minio));
    Ok(found)
}

/// The one service whose image or name has that word in it.
fn service<'a>(compose: &'a Value, word: &str) -> Result<&'a Value, Error> {
    let services = compose["services"].as_object();
    let is = |name: &str, service: &Value| {
        let image = service["image"].as_str().unwrap_or_default();
        let last = image.rsplit('/').next().unwrap_or_default().split([':', '@']).next().unwrap_or_default();
        last == word || (last.is_empty() || !["kes", "minio"].contains(&last)) && name.contains(word)
    };
    let found: Vec<_> = services.into_iter().flatten().filter(|(name, service)| is(name, service)).collect();
    match found.as_slice() {
        [(_, service)] => Ok(*service),
        [] => Err(refused(format!("no service is '{word}'"), format!("name the service or its image '{word}'"))),
        several => Err(refused(
            format!("{} services are '{word}'", several.len()),
            "one MinIO with one drive and one KES can be imported; declare replicas with `kes.replicas` afterwards",
        )),
    }
}

/// Bind mounts; volumes of the engine are reported.
fn mounts(service: &Value, folder: &Path, notes: &mut Vec<String>) -> Vec<(PathBuf, PathBuf)> {
    let mut mounts = Vec::new();
    for volume in service["volumes"].as_array().into_iter().flatten() {
        let (source, target) = match volume {
            Value::String(text) => {
                let mut parts = text.split(':');
                (parts.next().unwrap_or_default().to_owned(), parts.next().unwrap_or_default().to_owned())
            }
            long => (text(&long["source"]), text(&long["target"])),
        };
        if source.starts_with(['.', '/']) {
            let source = folder.join(source.trim_start_matches("./"));
            mounts.push((target.into(), source));
        } else {
            notes.push(format!(
                "what is mounted on '{target}' lies in the engine's volume '{source}': `docker volume inspect` says where"
            ));
        }
    }
    mounts
}

fn ports(service: &Value) -> BTreeMap<u16, u16> {
    let ports = service["ports"].as_array().into_iter().flatten().filter_map(|port| match port {
        Value::String(text) => {
            let mut parts = text.rsplit(':');
            let inside = parts.next()?.split('/').next()?.parse().ok()?;
            Some((inside, parts.next()?.parse().ok()?))
        }
        long => {
            let inside = u16::try_from(long["target"].as_u64()?).ok()?;
            Some((inside, text(&long["published"]).parse().ok()?))
        }
    });
    ports.collect()
}

/// `environment`, after the files of `env_file`.
fn environment(service: &Value, folder: &Path) -> Result<BTreeMap<String, Zeroizing<String>>, Error> {
    let mut variables = BTreeMap::new();
    let files = match &service["env_file"] {
        Value::Array(files) => files.iter().map(text).collect(),
        one => vec![text(one)],
    };
    for file in files.iter().filter(|file| !file.is_empty()) {
        variables.extend(parse_env(&text_of(&folder.join(file))?));
    }
    match &service["environment"] {
        Value::Object(entries) => variables.extend(entries.iter().map(|(name, value)| (name.clone(), text(value)))),
        list => variables.extend(
            list.as_array()
                .into_iter()
                .flatten()
                .filter_map(|entry| entry.as_str()?.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        ),
    }
    Ok(variables.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect())
}

/// The path that MinIO serves, if it stands among its arguments.
fn drive_argument(minio: &Value) -> Option<String> {
    words(&minio["command"]).into_iter().rev().find(|word| word.starts_with('/'))
}

/// The words of a command, which is a list or a line.
fn words(command: &Value) -> Vec<String> {
    match command {
        Value::Array(words) => words.iter().map(text).collect(),
        Value::String(line) => line.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()).collect(),
        _ => vec![],
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        other => other.to_string(),
    }
}
