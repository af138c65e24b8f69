//! A service of a Compose file: its names, its command, its environment, its files and ports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;

use super::super::Files;
use super::super::dotenv::{self, Values};
use super::super::script::{base, program};
use super::super::source::text_of;
use super::super::words::{commands, words};
use super::ports::Ports;
use super::project::{Gaps, Project, as_map};
use crate::error::Error;
use crate::manifest::is_secret;

/// Programs that read a script.
const SHELLS: [&str; 6] = ["sh", "bash", "ash", "dash", "zsh", "busybox"];

/// A service, variables put in.
pub(super) struct Service {
    pub(super) name: String,
    pub(super) value: Value,
    /// What is missing in it.
    pub(super) gaps: Gaps,
}

impl Service {
    /// A part of it; `Null` if it is not there.
    fn part(&self, key: &str) -> &Value {
        self.value.get(key).unwrap_or(&Value::Null)
    }

    /// Image without registry, tag and digest; the service's name where it is built or not named.
    pub(super) fn image(&self) -> &str {
        let image = self.part("image").as_str().unwrap_or_default();
        let last = image.rsplit('/').next().unwrap_or_default().split([':', '@']).next().unwrap_or_default();
        if last.is_empty() { &self.name } else { last }
    }

    /// True if that is a name under which others reach it.
    pub(super) fn is_called(&self, host: &str) -> bool {
        let aliases = self.part("networks").as_object().into_iter().flatten().flat_map(|(_, network)| {
            let list = network["aliases"].as_array().into_iter().flatten();
            list.chain([&network["ipv4_address"], &network["ipv6_address"]])
        });
        let names = [self.part("container_name"), self.part("hostname")];
        self.name == host || names.into_iter().chain(aliases).any(|name| name.as_str() == Some(host))
    }

    /// True if it shares the host's network.
    pub(super) fn is_on_host(&self) -> bool {
        self.part("network_mode").as_str() == Some("host")
    }

    /// Profiles without which Compose does not start it.
    pub(super) fn profiles(&self) -> Vec<&str> {
        self.part("profiles").as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The words of the command that it starts, the program of the image first where the image brings it.
    pub(super) fn words(&self) -> Vec<String> {
        let (mut entry, command) = (list(self.part("entrypoint")), list(self.part("command")));
        if entry.is_empty() {
            let program = super::roles::program_of(self.image());
            let is_given =
                command.first().is_some_and(|first| Some(base(first)) == program || SHELLS.contains(&base(first)));
            entry.extend(program.filter(|_| !is_given).map(str::to_owned));
        }
        entry.extend(command);
        entry
    }

    /// The script that it runs: the text of a shell's `-c`, or a file that is mounted.
    pub(super) fn script(&self, files: &Files) -> Option<Zeroizing<String>> {
        let words = self.words();
        let (first, rest) = words.split_first()?;
        if !SHELLS.contains(&base(first)) {
            return files.text(Path::new(first))?.ok();
        }
        let (options, arguments): (Vec<_>, Vec<_>) = rest.iter().partition(|word| word.starts_with(['-', '+']));
        let argument = arguments.iter().find(|word| base(first) != "busybox" || !SHELLS.contains(&word.as_str()))?;
        let is_text = options.iter().any(|option| !option.starts_with("--") && option.contains('c'));
        if is_text { Some(Zeroizing::new((*argument).clone())) } else { files.text(Path::new(argument))?.ok() }
    }

    /// The words behind `PROGRAM server`, wherever the command or its script starts that.
    pub(super) fn serves(&self, name: &str, files: &Files, env: &Values) -> Option<Vec<String>> {
        let lookup = |name: &str| env.get(name).map(|value| value.to_string());
        let after = |words: &[String]| match program(words) {
            [first, second, rest @ ..] if base(first) == name && second == "server" => Some(rest.to_vec()),
            // the entry points of the images take the verb alone
            [first, second, third, rest @ ..] if is_script(first) && base(second) == name && third == "server" => {
                Some(rest.to_vec())
            }
            _ => None,
        };
        after(&self.words()).or_else(|| {
            let script = self.script(files)?;
            commands(&script).iter().find_map(|command| after(&words(command, Some(&lookup)).ok()?))
        })
    }

    /// Its environment: the files of `env_file`, then `environment`. A name without a value has that of the project.
    pub(super) fn environment(&self, project: &Project<'_>, notes: &mut Vec<String>) -> Result<Values, Error> {
        let mut values = Values::new();
        let mut gaps = Gaps::default();
        let files = match self.part("env_file") {
            Value::Array(files) => files.clone(),
            Value::Null => vec![],
            one => vec![one.clone()],
        };
        for file in files {
            values.extend(env_file(&file, project, &values, &mut gaps)?);
        }
        for (name, value) in as_map(self.part("environment").clone()).as_object().into_iter().flatten() {
            if !value.is_null() {
                values.insert(name.clone(), Zeroizing::new(text(value)));
            } else if let Some(value) = project.variable(name) {
                values.insert(name.clone(), Zeroizing::new(value));
            } else if is_secret(name) || name.starts_with("MINIO_ROOT_") || name.starts_with("MINIO_KMS_") {
                gaps.unset.insert(name.clone());
            } else {
                values.remove(name);
                notes
                    .push(format!("{name} of service '{}' comes from the environment, where it is not set", self.name));
            }
        }
        gaps.check()?;
        Ok(values)
    }

    /// Its files: bind mounts, volumes, configs and secrets.
    pub(super) fn files(&self, project: &Project<'_>, gaps: &mut Gaps) -> Files {
        let mut files = Files::default();
        for volume in self.part("volumes").as_array().into_iter().flatten() {
            let (source, target) = match volume {
                Value::String(text) => match text.split_once(':') {
                    Some((source, rest)) => (source.to_owned(), rest.split(':').next().unwrap_or_default().to_owned()),
                    None => (String::new(), text.clone()),
                },
                long => (text(&long["source"]), text(&long["target"])),
            };
            let target = PathBuf::from(target);
            match bound(&source, project, gaps) {
                Some(here) => files.mounts.push((target, here)),
                None => files.volumes.push((target, self.name.clone())),
            }
        }
        for (kind, folder) in [("configs", "/"), ("secrets", "/run/secrets")] {
            for item in self.part(kind).as_array().into_iter().flatten() {
                let name = item.as_str().map_or_else(|| text(&item["source"]), str::to_owned);
                let target = Path::new(folder).join(item["target"].as_str().unwrap_or(&name));
                declared(&project.part(kind)[&name], &format!("{kind}.{name}"), target, project, gaps, &mut files);
            }
        }
        files
    }

    /// Its published ports.
    pub(super) fn ports(&self, gaps: &mut Gaps) -> Ports {
        let mut ports = Ports::default();
        for port in self.part("ports").as_array().into_iter().flatten() {
            if let Err(why) = ports.add(port) {
                gaps.wrong.push(format!("services.{}.ports: {why}", self.name));
            }
        }
        ports
    }
}

/// The place on this host that a source of a volume means; `None` for a volume of the engine.
fn bound(source: &str, project: &Project<'_>, gaps: &mut Gaps) -> Option<PathBuf> {
    if source.starts_with(['.', '/']) {
        return Some(project.folder.join(source.trim_start_matches("./")));
    }
    if let Some(rest) = source.strip_prefix('~') {
        return project.variable("HOME").map(|home| PathBuf::from(home).join(rest.trim_start_matches('/')));
    }
    let volume = project.part("volumes").get(source)?;
    let options = &project.resolved(&volume["driver_opts"], &format!("volumes.{source}"), gaps);
    let is_bind = options["o"].as_str().is_some_and(|options| options.split(',').any(|option| option == "bind"));
    let device = options["device"].as_str().filter(|_| is_bind)?;
    Some(project.folder.join(device.trim_start_matches("./")))
}

/// Adds a config or a secret that the project declares, at its place in the container.
fn declared(what: &Value, place: &str, target: PathBuf, project: &Project<'_>, gaps: &mut Gaps, files: &mut Files) {
    let what = &project.resolved(what, place, gaps);
    if let Some(content) = what["content"].as_str() {
        files.texts.push((target, Zeroizing::new(content.to_owned())));
    } else if let Some(variable) = what["environment"].as_str() {
        match project.variable(variable) {
            Some(value) => files.texts.push((target, Zeroizing::new(value))),
            None => drop(gaps.unset.insert(variable.to_owned())),
        }
    } else if let Some(path) = what["file"].as_str() {
        files.mounts.push((target, project.folder.join(path)));
    }
}

fn env_file(file: &Value, project: &Project<'_>, former: &Values, gaps: &mut Gaps) -> Result<Values, Error> {
    let path = file.as_str().map_or_else(|| text(&file["path"]), str::to_owned);
    let is_required = file["required"].as_bool().unwrap_or(true);
    if !is_required && !project.folder.join(&path).exists() {
        return Ok(Values::new());
    }
    let content = text_of(&project.inside(&path, "env_file")?)?;
    let lookup = |name: &str| project.variable(name).or_else(|| former.get(name).map(|value| value.to_string()));
    match file["format"].as_str() {
        Some("raw") => return Ok(dotenv::parse_raw(&content, &lookup)),
        None => {}
        Some(other) => gaps.wrong.push(format!("env_file '{path}' has the format '{other}': there is only raw")),
    }
    Ok(dotenv::parse(&content, &lookup, &mut gaps.unset).unwrap_or_else(|why| {
        gaps.wrong.push(format!("env_file '{path}', {why}"));
        Values::new()
    }))
}

/// True for the name of an entry point that is a script.
fn is_script(program: &str) -> bool {
    Path::new(program).extension().is_some_and(|end| end == "sh")
}

/// The words of a command, which is a list or a line.
fn list(command: &Value) -> Vec<String> {
    match command {
        Value::Array(words) => words.iter().map(text).collect(),
        Value::String(line) => words(line, None).unwrap_or_default(),
        _ => vec![],
    }
}

/// Plain variables, for a script.
pub(super) fn plain(env: &Values) -> BTreeMap<String, String> {
    env.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
}

/// A scalar as text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        other => other.to_string(),
    }
}
