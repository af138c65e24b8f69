//! Where the images of KES and MinIO come from (docs/architecture.md §3.13).
//!
//! [`kes`] and [`minio`] decide without changing anything; [`ImageSource::obtain`] acts. What the user named is
//! taken or complained about. Else what is on this host comes first: an image, a static binary. Only then the
//! network is asked: registries, and last the official Go module, built with the host's `go`.

use std::path::{Path, PathBuf};
use std::sync::Once;

use futures_util::future::join_all;

use crate::engine::image::ImageError;
use crate::engine::{Engine, EngineError, EngineInfo, Env};
use crate::host::home;
use crate::host::ownership::not_own;
use crate::manifest::{KesSection, MinioSection};

mod binary;
mod inventory;
mod judgement;
mod module;
mod program;
mod release;
mod releases;
mod source;
mod version;

use binary::Search;
pub use inventory::{Item, Supplies, inventory};
pub use judgement::warning;
use module::GoBuild;
pub use module::ModuleError;
pub use release::Release;
pub use releases::{Defect, Flavour, Standing};
use source::Way;
pub use source::{ImageSource, Waiting};

/// Name that an image from the network gets here, so that the next run finds the same one, whatever it came from.
const SUPPLIED: &str = "localhost/kestack/minio:supplied";
/// Images that may be here already, or be pulled: the maintained fork, then the last official image, which its
/// owner no longer repairs.
const REGISTRIES: [&str; 2] = [SILO, FROZEN];
/// The maintained fork. Its image has no digest that would be known here.
const SILO: &str = "docker.io/pgsty/silo:latest";
/// The last official image by its digest: what a registry gives for it cannot be another one.
const FROZEN: &str = "quay.io/minio/minio@sha256:14cea493d9a34af32f524e538b8346cf79f3321eff8e708c1e2960462bd8936e";
/// The last official image.
const OFFICIAL: &str = "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z";
/// The last official image under the name it had before its repository was deleted.
const FORMER: &str = "docker.io/minio/minio:RELEASE.2025-09-07T16-13-09Z";
/// What is looked for as `kes`.
const KES: Search =
    Search { name: "kes", programs: &["kes"], setting: "kes.binary", variable: "KESTACK_KES_BINARY", go: false };
/// What is looked for as `minio`: where both flavours lie, the maintained one.
const MINIO: Search =
    Search { name: "minio", programs: &["silo", "minio"], setting: "minio.binary", variable: "MINIO_BINARY", go: true };

/// Why an image is not available.
#[derive(Debug, thiserror::Error)]
pub enum SupplyError {
    /// A file that the user named cannot be used.
    #[error("{by} names a file that cannot be used: {source}")]
    Named {
        /// The setting: `minio.binary`, `MINIO_BINARY`, …
        by: String,
        /// Why not.
        #[source]
        source: ImageError,
    },
    /// The manifest names an image, and the engine has none.
    #[error(
        "{0} in kestack.yaml names an image, but the process engine runs programs\n  name one with `{1}`, or choose another engine"
    )]
    NoImages(&'static str, &'static str),
    /// No source has it.
    #[error("no {what} is available; tried\n  {}\n{advice}", tried.join("\n  "))]
    Exhausted {
        /// `MinIO` or `KES`.
        what: &'static str,
        /// Each source and why it did not do.
        tried: Vec<String>,
        /// What to do.
        advice: &'static str,
    },
    /// A program went away while it was about to be used.
    #[error("'{}' no longer exists\n  run the command again, and kestack looks for another one", .0.display())]
    Gone(PathBuf),
    /// What kestack knows of releases cannot be read.
    #[error("{0}")]
    Releases(String),
    /// The image could not be composed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The engine did not take the image.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The official module could not be built.
    #[error(transparent)]
    Module(#[from] ModuleError),
}

/// What to do if there is no MinIO.
const MINIO_ADVICE: &str = "do one of:\n  \
    name a static `silo` or `minio` binary: MINIO_BINARY=/path/silo, or `minio.binary` in kestack.yaml\n  \
    name an image: `minio.image` in kestack.yaml\n  \
    install Go (https://go.dev/dl): kestack then builds the official module\n  \
    on a host with network: `podman pull docker.io/pgsty/silo` and `podman save`; here: `podman load`";
/// What to do if there is no `kes`.
const KES_ADVICE: &str = "put the `kes` that came with kestack next to it, or name it: KESTACK_KES_BINARY=/path/kes, \
                          `kes.binary` or `kes.image` in kestack.yaml";

/// Decides where the KES image comes from: the manifest, `KESTACK_KES_BINARY`, next to this program, `PATH`.
///
/// # Errors
/// [`SupplyError`] if what is named cannot be used, or nothing is found.
pub fn kes(section: &KesSection, engine: &EngineInfo, env: &Env<'_>) -> Result<ImageSource, SupplyError> {
    if engine.has_containers() {
        return kes_without_engine(section, env);
    }
    match &section.image {
        Some(_) => Err(SupplyError::NoImages("kes.image", KES.setting)),
        None => program::kes(&KES, section.binary.as_ref(), env),
    }
}

/// The `kes` that a stack in the foreground runs: the one named, else the first that is found.
///
/// # Errors
/// [`SupplyError`] if what is named cannot be used, or nothing is found.
pub fn kes_program(setting: Option<&Path>, env: &Env<'_>) -> Result<PathBuf, SupplyError> {
    program::to_run(&KES, setting, env)
}

/// The MinIO that a stack in the foreground runs: the one named, else the first that is found and is not this program
/// under another name.
///
/// # Errors
/// [`SupplyError`] if what is named cannot be used, or nothing is found.
pub fn minio_program(setting: Option<&Path>, env: &Env<'_>) -> Result<PathBuf, SupplyError> {
    program::to_run(&MINIO, setting, env)
}

/// The MinIO that goes into one image with everything else: the program that is named, else found, else built from the
/// official module. [`ImageSource::made`] makes it.
///
/// # Errors
/// [`SupplyError`] if what is named cannot be used, or nothing is found.
pub fn minio_to_pack(named: Option<&Path>, env: &Env<'_>) -> Result<ImageSource, SupplyError> {
    program::minio(&MINIO, named.map(Path::to_owned).as_ref(), env)
}

/// The release that a MinIO says it is; `None` for one that was built without saying so.
pub async fn release_of(program: &Path, env: &Env<'_>) -> Option<String> {
    version::of_program(program, cache_folder(env).as_deref())
        .await
        .release
        .filter(|release| releases::is_release(release))
}

/// Decides where the image of KES comes from; no engine needs to be asked.
///
/// # Errors
/// [`SupplyError`] if what is named cannot be used, or nothing is found.
pub fn kes_without_engine(section: &KesSection, env: &Env<'_>) -> Result<ImageSource, SupplyError> {
    if let Some(source) = named(&KES, section.image.as_deref(), section.binary.as_deref(), env)? {
        return Ok(source);
    }
    let mut tried = vec![KES.unset()];
    if let Some(source) = from_found_binary(&KES, env, &mut tried) {
        return Ok(source);
    }
    tried.push(KES.nowhere());
    Err(SupplyError::Exhausted { what: "KES", tried, advice: KES_ADVICE })
}

/// Decides where the MinIO image comes from. The engine is asked what it has; nothing is changed.
///
/// # Errors
/// [`SupplyError`] if what is named cannot be used, or the engine does not answer.
pub async fn minio(section: &MinioSection, engine: &dyn Engine, env: &Env<'_>) -> Result<ImageSource, SupplyError> {
    if !engine.info().has_containers() {
        return match &section.image {
            Some(_) => Err(SupplyError::NoImages("minio.image", MINIO.setting)),
            None => program::minio(&MINIO, section.binary.as_ref(), env),
        };
    }
    if let Some(source) = named(&MINIO, section.image.as_deref(), section.binary.as_deref(), env)? {
        return Ok(source);
    }
    if let Some(source) = in_store(engine).await?.into_iter().next() {
        return Ok(source);
    }
    Ok(from_found_binary(&MINIO, env, &mut Vec::new()).unwrap_or_else(|| from_network(env)))
}

/// Every MinIO that [`minio`] would take if those before it were not there; the first is the one it takes, except that
/// it tries what the network has in this order. Nothing is changed.
///
/// # Errors
/// As [`minio`].
pub async fn minio_candidates(
    section: &MinioSection,
    engine: &dyn Engine,
    env: &Env<'_>,
) -> Result<Vec<ImageSource>, SupplyError> {
    let containers = engine.info().has_containers();
    if section.image.is_some() || MINIO.named(section.binary.as_deref(), env).is_some() {
        return Ok(vec![minio(section, engine, env).await?]);
    }
    if !containers {
        let mut all = program::candidates(&MINIO, env);
        keep_first(&mut all);
        return Ok(all);
    }
    let mut all = in_store(engine).await?;
    let found = MINIO.places(env).into_iter().map(|place| ImageSource::composed(MINIO.name, place, env));
    all.extend(found.filter_map(Result::ok));
    let network = from_network(env);
    all.extend(network.ways.into_iter().map(|way| match way {
        Way::Pull(from) => ImageSource::named(&from),
        way => ImageSource { reference: network.reference.clone(), ways: vec![way] },
    }));
    keep_first(&mut all);
    Ok(all)
}

/// Keeps the first of several sources of one image or program: two folders of `PATH` may lead to one file, and an image
/// that was built is in the store as well.
fn keep_first(all: &mut Vec<ImageSource>) {
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|source| {
        let program = source.program().and_then(|program| program.canonicalize().ok());
        let is_new_program = program.is_none_or(|program| seen.insert(program.into_os_string()));
        // two programs of one content make one image
        let is_composed = source.binary().is_some();
        (is_composed || seen.insert(source.reference().into())) && is_new_program
    });
}

/// Decides where the MinIO image comes from without an engine to ask: what is named, a binary that is found, else the
/// image of the maintained fork.
///
/// # Errors
/// [`SupplyError`] if what is named cannot be used.
pub fn minio_without_engine(section: &MinioSection, env: &Env<'_>) -> Result<ImageSource, SupplyError> {
    if let Some(source) = named(&MINIO, section.image.as_deref(), section.binary.as_deref(), env)? {
        return Ok(source);
    }
    let found = from_found_binary(&MINIO, env, &mut Vec::new());
    Ok(found.unwrap_or_else(|| minio_image(None)))
}

/// The image of MinIO by that name, else that of the maintained fork.
pub fn minio_image(name: Option<&str>) -> ImageSource {
    ImageSource::named(name.unwrap_or(SILO))
}

/// The images that the engine has, in the order of choice.
async fn in_store(engine: &dyn Engine) -> Result<Vec<ImageSource>, SupplyError> {
    let known = [SUPPLIED].into_iter().chain(REGISTRIES).chain([OFFICIAL, FORMER]);
    let answers = join_all(known.map(async |reference| (reference, engine.image(reference).await))).await;
    let mut found = Vec::new();
    for (reference, answer) in answers {
        if answer?.is_some() {
            found.push(ImageSource { reference: reference.to_owned(), ways: vec![Way::Present] });
        }
    }
    Ok(found)
}

/// What the manifest or the environment names, an image or a binary; it is used or complained about.
fn named(
    search: &Search,
    image: Option<&str>,
    binary: Option<&Path>,
    env: &Env<'_>,
) -> Result<Option<ImageSource>, SupplyError> {
    if let Some(image) = image {
        return Ok(Some(ImageSource::named(image)));
    }
    let Some((by, binary)) = search.named(binary, env) else { return Ok(None) };
    ImageSource::composed(search.name, binary, env).map(Some).map_err(|source| SupplyError::Named { by, source })
}

/// The first suitable binary in the usual places; what is found but cannot be used is noted in `tried`.
fn from_found_binary(search: &Search, env: &Env<'_>, tried: &mut Vec<String>) -> Option<ImageSource> {
    for place in search.places(env) {
        match ImageSource::composed(search.name, place.clone(), env) {
            Ok(source) => return Some(source),
            Err(error) => {
                tracing::debug!(%error, "not this {}", search.name);
                tried.push(error.to_string());
            }
        }
    }
    None
}

/// Registries, and the official module if there is a `go`; a build that was made before comes first.
fn from_network(env: &Env<'_>) -> ImageSource {
    let build = GoBuild::plan(cache_folder(env), env);
    let pulls = REGISTRIES.map(|from| Way::Pull(from.to_owned()));
    let ways = match build {
        Some(build) if build.is_done() => vec![Way::Build(build)],
        build => pulls.into_iter().chain(build.map(Way::Build)).collect(),
    };
    ImageSource { reference: SUPPLIED.to_owned(), ways }
}

/// The folder of a bundle's programs. No stack can have that name.
pub fn programs_folder(env: &Env<'_>) -> Option<PathBuf> {
    Some(home::data(env)?.join("kestack/.programs")).filter(|folder| is_own(folder))
}

/// Whose programs a bundle carries, and where their sources are, as their licence asks for.
///
/// # Errors
/// [`SupplyError::Releases`] if the data cannot be read, which a test excludes.
pub fn sources() -> Result<String, SupplyError> {
    Ok(releases::Releases::known().map_err(SupplyError::Releases)?.sources())
}

/// Where kestack keeps what it can make again.
fn cache_folder(env: &Env<'_>) -> Option<PathBuf> {
    Some(home::cache(env)?.join("kestack")).filter(|folder| is_own(folder))
}

/// False for a folder that another user owns or may write to: what is in it is run.
fn is_own(folder: &Path) -> bool {
    let foreign = std::fs::metadata(folder).ok().and_then(|found| not_own(&found));
    if let Some(why) = foreign {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| tracing::warn!("'{}' {why}: kestack uses nothing in it", folder.display()));
    }
    foreign.is_none()
}

#[cfg(test)]
mod tests;
