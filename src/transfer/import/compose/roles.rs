//! Which service is which: the MinIO, the KES that it asks, and the one-shot containers around them.

use std::net::IpAddr;

use super::super::Files;
use super::super::dotenv::Values;
use super::super::refused;
use super::super::script::base;
use super::project::{Gaps, Project};
use super::service::Service;
use crate::error::Error;
use crate::template::parse_env;

/// Variable that names KES.
const ENDPOINT: &str = "MINIO_KMS_KES_ENDPOINT";
/// Words in the names of images that only work on MinIO.
const AROUND: [&str; 12] = [
    "mc", "client", "console", "operator", "exporter", "setup", "init", "bucket", "buckets", "kes", "sidekick", "warp",
];

/// A service with what it finds: its files, and its variables.
pub(super) struct Part {
    pub(super) service: Service,
    pub(super) files: Files,
    pub(super) env: Values,
}

/// The services of a file by what they are for.
pub(super) struct Cast {
    pub(super) minio: Part,
    /// `None` if MinIO has a key in its environment, and asks no KES.
    pub(super) kes: Option<Part>,
    /// All others, in the order of their names.
    pub(super) others: Vec<Service>,
}

/// The program that an image starts.
pub(super) fn program_of(image: &str) -> Option<&'static str> {
    let words = || image.split(['-', '_', '.']);
    match image {
        "mc" | "minio-mc" | "minio-client" => Some("mc"),
        _ if words().any(|word| word == "kes") => Some("kes"),
        _ if words().any(|word| word == "minio" || word == "silo") && !words().any(|word| AROUND.contains(&word)) => {
            Some("minio")
        }
        _ => None,
    }
}

impl Part {
    fn new(service: Service, project: &Project<'_>, notes: &mut Vec<String>) -> Result<Self, Error> {
        let mut gaps = Gaps::default();
        let files = service.files(project, &mut gaps);
        gaps.check()?;
        service.gaps.check()?;
        let env = service.environment(project, notes)?;
        Ok(Self { service, files, env })
    }

    /// The words behind `server`, if it is a server of that program.
    pub(super) fn serves(&self, program: &str) -> Option<Vec<String>> {
        let known = program_of(self.service.image());
        let words = self.service.words();
        let prefix = if program == "minio" { "MINIO_" } else { "KES_" };
        match words.as_slice() {
            [only] if known == Some(program) && base(only) == program => Some(vec![]),
            [first, rest @ ..] if first == "server" && self.env.keys().any(|name| name.starts_with(prefix)) => {
                Some(rest.to_vec())
            }
            _ => self.service.serves(program, &self.files, &self.env),
        }
    }

    /// A variable that is not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl Cast {
    /// Finds them.
    ///
    /// # Errors
    /// [`Error::Usage`] if one of the two is missing, not in the file, or several.
    pub(super) fn find(project: &Project<'_>, notes: &mut Vec<String>) -> Result<Self, Error> {
        let services = project.services()?.into_iter();
        let mut services: Vec<_> = services.map(|(name, value, gaps)| Service { name, value, gaps }).collect();
        let is_minio = |service: &Service| could_be(service, "minio");
        let minio = take_minio(taken(&mut services, is_minio), project, notes, &mut services)?;
        let kes = take_kes(&minio, &mut services, project, notes)?;
        for part in [Some(&minio), kes.as_ref()].into_iter().flatten() {
            if !is_active(&part.service, project) {
                notes.push(format!(
                    "service '{}' runs only with the profile {} there; the stack always has it",
                    part.service.name,
                    part.service.profiles().join(" or ")
                ));
            }
        }
        services.retain(|service| is_active(service, project));
        Ok(Self { minio, kes, others: services })
    }
}

/// True if a service may be a server of that program, before its environment is read.
fn could_be(service: &Service, program: &str) -> bool {
    let words = service.words();
    program_of(service.image()) == Some(program)
        || words.first().is_some_and(|first| first == "server")
        || words.iter().any(|word| word.contains(&format!("{program} server")))
        || words.windows(2).any(|pair| matches!(pair, [first, second] if base(first) == program && second == "server"))
}

fn taken(services: &mut Vec<Service>, which: impl Fn(&Service) -> bool) -> Vec<Service> {
    let (taken, kept) = std::mem::take(services).into_iter().partition(|service| which(service));
    *services = kept;
    taken
}

fn is_active(service: &Service, project: &Project<'_>) -> bool {
    let (own, chosen) = (service.profiles(), project.variable("COMPOSE_PROFILES").unwrap_or_default());
    own.is_empty() || chosen.split(',').map(str::trim).any(|chosen| chosen == "*" || own.contains(&chosen))
}

fn take_minio(
    candidates: Vec<Service>,
    project: &Project<'_>,
    notes: &mut Vec<String>,
    others: &mut Vec<Service>,
) -> Result<Part, Error> {
    let mut servers = Vec::new();
    for service in candidates {
        let mut own = Vec::new();
        let part = Part::new(service, project, &mut own)?;
        if part.serves("minio").is_some() {
            servers.push((part, own));
        } else {
            others.push(part.service);
        }
    }
    if servers.len() > 1 && servers.iter().any(|(part, _)| is_active(&part.service, project)) {
        servers.retain(|(part, _)| is_active(&part.service, project));
    }
    if servers.len() > 1 && servers.iter().any(|(part, _)| part.variable(ENDPOINT).is_some()) {
        let (with, without) = servers.into_iter().partition(|(part, _)| part.variable(ENDPOINT).is_some());
        servers = with;
        let without: Vec<(Part, Vec<String>)> = without;
        others.extend(without.into_iter().map(|(part, _)| part.service));
    }
    let names: Vec<_> = servers.iter().map(|(part, _)| part.service.name.clone()).collect();
    let (mut minio, own) = match <[(Part, Vec<String>); 1]>::try_from(servers) {
        Ok([server]) => server,
        Err(none) if none.is_empty() => {
            return Err(refused(
                "no service is 'minio': none runs `minio server`",
                "name the Compose file with MinIO and KES",
            ));
        }
        Err(_) => return Err(several("minio", &names)),
    };
    notes.extend(own);
    let file = minio.variable("MINIO_CONFIG_ENV_FILE").map(std::path::PathBuf::from);
    if let Some(text) = file.and_then(|path| minio.files.text(&path)) {
        let more = parse_env(&text?).into_iter().map(|(name, value)| (name, value.into()));
        minio.env.extend(more);
    }
    Ok(minio)
}

/// The service that MinIO's endpoint names.
fn take_kes(
    minio: &Part,
    services: &mut Vec<Service>,
    project: &Project<'_>,
    notes: &mut Vec<String>,
) -> Result<Option<Part>, Error> {
    let hosts = hosts(minio.variable(ENDPOINT).unwrap_or_default());
    let is_kes = |service: &Service| could_be(service, "kes") && !is_one_shot(service);
    let is_named = |service: &Service| hosts.iter().any(|host| service.is_called(host));
    let mut found = taken(services, |service| is_named(service) && is_kes(service));
    if found.is_empty() {
        let front = services.iter().find(|service| is_named(service)).map(|service| service.name.clone());
        let is_local = hosts.iter().all(|host| is_here(host)) || front.is_some();
        found = if is_local { taken(services, is_kes) } else { vec![] };
        if found.len() > 1 && found.iter().any(|service| is_active(service, project)) {
            found.retain(|service| is_active(service, project));
        }
        match (&front, found.is_empty()) {
            (Some(front), true) => found = taken(services, |service| service.name == *front),
            (Some(front), false) => {
                notes.push(format!("service '{front}' stands before KES: the stack's MinIO asks KES itself"));
            }
            (None, _) => {}
        }
        if found.len() > 1 {
            return Err(several("kes", &found.iter().map(|service| service.name.clone()).collect::<Vec<_>>()));
        }
    }
    if found.len() > 1 {
        notes.push(format!(
            "KES runs {0} times there, as one server here: `kes: {{ replicas: {0} }}` in kestack.yaml",
            found.len()
        ));
    }
    match found.into_iter().next() {
        Some(service) => Part::new(service, project, notes).map(Some),
        None if hosts.is_empty() && has_static_key(minio) => Ok(None),
        None => Err(without_kes(minio, &hosts)),
    }
}

/// A container of KES's image that runs another command than the server.
fn is_one_shot(service: &Service) -> bool {
    let words = service.words();
    let is_client = matches!(words.as_slice(), [first, second, ..] if base(first) == "kes" && second != "server");
    let says = |text: &str| words.iter().any(|word| word.contains(text));
    is_client || says("kes ") && !says("kes server")
}

fn has_static_key(minio: &Part) -> bool {
    minio.variable("MINIO_KMS_SECRET_KEY").or(minio.variable("MINIO_KMS_SECRET_KEY_FILE")).is_some()
}

fn without_kes(minio: &Part, hosts: &[String]) -> Error {
    if hosts.is_empty() {
        return refused(
            format!("no service is 'kes': {ENDPOINT} of service '{}' names none", minio.service.name),
            "a MinIO that does not encrypt is not imported: `kestack up` makes a new stack, and `mc mirror` copies the objects",
        );
    }
    refused(
        format!("no service is 'kes': {ENDPOINT} names '{}', which no service of the file is", hosts.join(", ")),
        "import it together with its KES: add the service of KES to the file, under the name that MinIO asks for",
    )
}

fn several(word: &str, names: &[String]) -> Error {
    refused(
        format!("{} services are '{word}': {}", names.len(), names.join(", ")),
        "one MinIO with one drive and one KES can be imported; declare replicas with `kes.replicas` afterwards",
    )
}

/// The hosts of an endpoint, which may be a list of URLs.
fn hosts(endpoint: &str) -> Vec<String> {
    let host = |url: &str| {
        let rest = url.trim().split_once("://").map_or(url.trim(), |(_, rest)| rest);
        let rest = rest.split('/').next().unwrap_or_default();
        match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, _)) => host.to_owned(),
            None => rest.split(':').next().unwrap_or_default().to_owned(),
        }
    };
    endpoint.split(',').map(host).filter(|host| !host.is_empty()).collect()
}

/// The port of an endpoint.
pub(super) fn port(endpoint: &str) -> Option<u16> {
    endpoint.split(',').next()?.trim_end_matches('/').rsplit_once(':')?.1.parse().ok()
}

/// True for an address, and for names of this machine: behind them any service may be.
fn is_here(host: &str) -> bool {
    matches!(host, "localhost" | "host.docker.internal" | "host.containers.internal") || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_words() {
        for (image, program) in [
            ("minio", Some("minio")),
            ("minio-chainguard", Some("minio")),
            ("mc", Some("mc")),
            ("minio-client", Some("mc")),
            ("kes", Some("kes")),
            ("minio-kes", Some("kes")),
            ("my_kes", Some("kes")),
            ("minio-console", None),
            ("createbuckets", None),
            ("minio-init", None),
            ("kestrel", None),
        ] {
            assert_eq!(program_of(image), program, "{image}");
        }
    }

    #[test]
    fn hosts_of_endpoints() {
        assert_eq!(hosts("https://kes:7373,https://kes-2:7373/"), ["kes", "kes-2"]);
        assert_eq!(hosts("https://[::1]:7373"), ["::1"]);
        assert!(hosts("").is_empty());
        assert_eq!((port("https://kes:7000/"), port("https://kes"), port("")), (Some(7000), None, None));
    }
}
