//! A Compose file with one service of MinIO and one of KES.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::script::Script;
use super::variables::Lookup;
use super::{Found, refused};
use crate::error::Error;
use crate::stack::ports as stack_ports;
use crate::transfer::export::quoted;

mod ports;
mod project;
mod roles;
mod service;

use ports::Ports;
use project::{Gaps, Project};
use roles::{Cast, Part};
use service::plain;

/// Files that Compose reads as well, unless one is named.
const OVERRIDES: [&str; 4] =
    ["compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml", "docker-compose.override.yml"];
/// Where images keep the drive, if no argument says so.
const DRIVES: [&str; 2] = ["/bitnami/minio/data", "/data"];
/// Options of MinIO's server whose value is a path, but not a drive.
const WITH_PATH: [&str; 6] = ["--certs-dir", "-S", "--config-dir", "-C", "--config", "--license"];

pub(super) fn read(file: &Path, compose: Value, env: Lookup<'_>) -> Result<Found, Error> {
    let project = Project::new(file, compose, env)?;
    if !project.part("include").is_null() {
        return Err(project.simplify("the file includes others"));
    }
    let mut found = Found { name: name(&project)?, ..Found::default() };
    add_override(&project, &mut found.notes);
    let cast = Cast::find(&project, &mut found.notes)?;
    if let Some(part) = &cast.kes {
        let words = part.serves("kes").unwrap_or_else(|| part.service.words());
        found.kes_config = configuration(&words, part)?;
    }
    add_ports(&cast, &mut found)?;
    add_made(&cast, &project, &mut found)?;
    let Cast { minio, kes, .. } = cast;
    let served = minio.serves("minio").unwrap_or_default();
    let file = quoted(&project.file);
    found.stop = vec![format!("docker compose -f {file} stop"), format!("docker compose -f {file} down")];
    found.copy = Some(format!("docker compose -f {file} cp"));
    (found.minio, found.minio_files) = (minio.env, minio.files);
    match kes {
        Some(kes) => {
            (found.kes_env, found.kes_files) = (kes.env, kes.files);
            found.find_client_certificate();
        }
        None => found.take_static_key()?,
    }
    found.take_root_files()?;
    if let Some(path) = drive_argument(&served, &found) {
        found.minio.entry("MINIO_VOLUMES".into()).or_insert(path.into());
    }
    found.find_drive();
    Ok(found)
}

/// The project's name: the file's, the environment's, else the folder's.
fn name(project: &Project<'_>) -> Result<String, Error> {
    let mut gaps = Gaps::default();
    let own = project.resolved(project.part("name"), "name", &mut gaps);
    gaps.check()?;
    let chosen = own.as_str().map(str::to_owned).or_else(|| project.variable("COMPOSE_PROJECT_NAME"));
    let folder = || project.folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    Ok(chosen.filter(|name| !name.is_empty()).unwrap_or_else(folder))
}

fn add_override(project: &Project<'_>, notes: &mut Vec<String>) {
    for name in OVERRIDES {
        let path = project.folder.join(name);
        if path.is_file() && path != project.file {
            notes.push(format!(
                "{name} is not read: where Compose reads it, import the text of `docker compose config` instead"
            ));
        }
    }
}

/// The text of the configuration that KES's arguments name.
fn configuration(arguments: &[String], kes: &Part) -> Result<zeroize::Zeroizing<String>, Error> {
    let path = option(arguments, &["--config", "-c"]).or_else(|| {
        let is_yaml = |word: &&String| [".yaml", ".yml"].iter().any(|end| word.ends_with(end));
        arguments.iter().find(is_yaml).cloned()
    });
    let name = &kes.service.name;
    let hint = "write `--config` with the path of a file that is mounted from this host into its `command`";
    let Some(path) = path else {
        return Err(refused(format!("service '{name}', KES, names no configuration"), hint));
    };
    match kes.files.text(Path::new(&path)) {
        Some(text) => text,
        None => Err(refused(
            format!("service '{name}', KES, names the configuration '{path}', which is not mounted from this host"),
            hint,
        )),
    }
}

/// The value of an option, in one word or two.
fn option(arguments: &[String], names: &[&str]) -> Option<String> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.split_once('=') {
            Some((name, value)) if names.contains(&name) => return Some(value.to_owned()),
            None if names.contains(&word.as_str()) => return words.next().cloned(),
            _ => {}
        }
    }
    None
}

/// Ports of this host under the ports that the servers have in a stack.
fn add_ports(cast: &Cast, found: &mut Found) -> Result<(), Error> {
    let minio = &cast.minio;
    let served = minio.serves("minio").unwrap_or_default();
    let listens = |flag: &str, variable: &str| {
        let address = option(&served, &[flag]).or_else(|| minio.variable(variable).map(str::to_owned))?;
        address.rsplit(':').next()?.parse::<u16>().ok()
    };
    let endpoint = minio.variable("MINIO_KMS_KES_ENDPOINT").and_then(roles::port);
    let all = [
        (stack_ports::KES_PORT, cast.kes.as_ref(), endpoint),
        (stack_ports::S3_PORT, Some(minio), listens("--address", "MINIO_ADDRESS")),
        (stack_ports::CONSOLE_PORT, Some(minio), listens("--console-address", "MINIO_CONSOLE_ADDRESS")),
    ];
    let mut hosts = std::collections::BTreeSet::new();
    for (own, part, there) in all {
        let Some(part) = part else { continue };
        let mut gaps = Gaps::default();
        let Ports { published, hosts: on } = part.service.ports(&mut gaps);
        gaps.check()?;
        let there_or_own = there.unwrap_or(own);
        let on_host = there.filter(|_| part.service.is_on_host());
        found.ports.extend(published.get(&there_or_own).copied().or(on_host).map(|port| (own, port)));
        hosts.extend(on);
    }
    hosts.retain(|host| !matches!(host.as_str(), "127.0.0.1" | "localhost" | "::1"));
    if let Some(host) = hosts.first() {
        let host = if host.is_empty() || host == "::" { "0.0.0.0" } else { host };
        found.notes.push(format!(
            "ports are open to other machines there, and not here: `host: {host}` in kestack.yaml opens them"
        ));
    }
    Ok(())
}

/// What one-shot containers, and scripts around the servers, make.
fn add_made(cast: &Cast, project: &Project<'_>, found: &mut Found) -> Result<(), Error> {
    let mut beside = Vec::new();
    for part in [Some(&cast.minio), cast.kes.as_ref()].into_iter().flatten() {
        if let Some(script) = part.service.script(&part.files) {
            found.made.read(&script, plain(&part.env));
        }
    }
    let defaults = cast.minio.variable("MINIO_DEFAULT_BUCKETS").unwrap_or_default();
    found.made.add_buckets(defaults.split([',', ';', ' ']).map(|bucket| bucket.split(':').next().unwrap_or_default()));
    for service in &cast.others {
        let mut gaps = Gaps::default();
        let files = service.files(project, &mut gaps);
        let words = service.words();
        let script = service.script(&files);
        let does = |name: &str| {
            let begins = words.first().is_some_and(|first| super::script::base(first) == name);
            begins || script.as_deref().is_some_and(|script| script.contains(&format!("{name} ")))
        };
        if !does("mc") && !does("kes") {
            beside.push(service.name.as_str());
            continue;
        }
        gaps.check()?;
        service.gaps.check()?;
        let mut made = Script::default();
        match script {
            Some(script) => made.read(&script, plain(&service.environment(project, &mut found.notes)?)),
            None => made.run(&words),
        }
        if !made.others.is_empty() {
            let others: Vec<_> = made.others.iter().map(|other| format!("`{other}`")).collect();
            found.notes.push(format!(
                "service '{}' also runs {}: that is not imported",
                service.name,
                others.join(", ")
            ));
        }
        found.made.extend(made);
    }
    if !beside.is_empty() {
        found.notes.push(format!("services that are not imported: {}", beside.join(", ")));
    }
    Ok(())
}

/// The path that MinIO serves, if it is among its arguments; else where its image keeps the drive.
fn drive_argument(served: &[String], found: &Found) -> Option<String> {
    let mut paths: Vec<&str> = Vec::new();
    let mut words = served.iter();
    while let Some(word) = words.next() {
        if WITH_PATH.contains(&word.as_str()) {
            words.next();
        } else if word.starts_with(['/', '.']) || word.contains("://") || word.contains('{') {
            paths.push(word);
        }
    }
    let usual = || DRIVES.iter().find(|path| found.minio_files.has(&PathBuf::from(path))).copied();
    if paths.is_empty() { usual().map(str::to_owned) } else { Some(paths.join(" ")) }
}
