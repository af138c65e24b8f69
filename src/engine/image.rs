//! Composes container images in-process from static binaries (docs/architecture.md §3.13, docs/containers.md §3).
//!
//! An image is an uncompressed docker-archive tar, made FROM scratch. That of one program has one layer with the binary
//! and two folders; [`compose_layers`] makes those that hold more. The same binaries always give the same bytes, so the
//! image's ID, the SHA-256 of its configuration, is known before anything is built, and an engine that has it is
//! recognised without loading.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Serialize;

mod architecture;
mod archive;
pub(crate) mod cache;
mod elf;
mod layer;
mod pause;
mod program;

pub use architecture::Architecture;
pub use archive::Archive;
#[cfg(test)]
pub(crate) use elf::tests::static_executable;
pub use layer::Entry;
pub use program::{program_of, program_reference};

use archive::Part;
use layer::Layer;

/// Every timestamp in an image: what is made from the same binary must not differ.
const EPOCH: &str = "1970-01-01T00:00:00Z";
/// Hex digits of the image's ID in its tag.
const TAG_DIGITS: usize = 16;
/// Name of the image whose program only waits, and of that program.
const PAUSE: &str = "pause";
/// Owner of the folders in an image of one program: every process of a stack runs as it.
const USER: u64 = 1000;

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct ImageRecipe {
    /// Name of the image and of the program in it: `kes` or `minio`.
    pub name: &'static str,
    /// The static Linux executable.
    pub binary: PathBuf,
}

/// An image before it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageIdentity {
    /// 64 hex digits: the SHA-256 of the image's configuration; empty if only the engine will know it.
    pub id: String,
    /// Its name: `localhost/kestack/<name>:<start of the id>`.
    pub tag: String,
}

/// Why no image could be composed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The binary could not be read.
    #[error("cannot read '{}': {source}", path.display())]
    Read {
        /// The binary.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is not a program.
    #[error("'{}' is not executable\n  make it executable with `chmod +x`, or name another file", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// The binary cannot run in an image that holds nothing else.
    #[error("'{}' {why}\n  the image contains nothing else, so it must be a static executable for {platform}", path.display())]
    Unsuitable {
        /// The binary.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
        /// Where it must run.
        platform: Architecture,
    },
}

/// Identifies the image of a recipe without building it. The digest of an unchanged binary is remembered in
/// `cache`, a folder, so that asking again costs microseconds.
///
/// # Errors
/// [`ImageError`] if the binary cannot be read or cannot run in the image.
pub fn identify(recipe: &ImageRecipe, cache: Option<&Path>) -> Result<ImageIdentity, ImageError> {
    let layer = describe(recipe, cache)?;
    Ok(identity(recipe.name, &configuration(recipe.name, &layer)))
}

/// Composes the image of a recipe. `alias` is one more name for it.
///
/// # Errors
/// [`ImageError`] if the binary cannot be read or cannot run in the image.
pub fn compose(recipe: &ImageRecipe, alias: Option<&str>, cache: Option<&Path>) -> Result<Archive, ImageError> {
    Ok(assemble(recipe.name, describe(recipe, cache)?, alias))
}

/// Composes an image of several layers. `process` is the part of its configuration that says how it runs; the first of
/// `names` is the one to use it by.
///
/// # Errors
/// [`ImageError`] if a file in it cannot be read.
pub fn compose_layers(
    process: &impl Serialize,
    architecture: Architecture,
    layers: Vec<Vec<Entry>>,
    names: &[String],
) -> Result<Archive, ImageError> {
    let layers = layers.into_iter().map(Layer::new).collect::<Result<Vec<_>, _>>()?;
    let configuration = to_json(&Configuration::new(process, architecture, &layers));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let tag = names.first().map(|name| (*name).to_owned()).unwrap_or_default();
    let identity = ImageIdentity { id: hex::encode(digest(&SHA256, &configuration)), tag };
    Ok(Archive::assemble(identity, &names, &configuration, layers))
}

/// Refuses a program that could not run where there is nothing else.
///
/// # Errors
/// [`ImageError`] if it cannot be read, or is not a static executable for this machine.
pub fn check_static(program: &Path) -> Result<(), ImageError> {
    check_static_for(program, Architecture::HOST)
}

/// The same for a program that runs elsewhere.
///
/// # Errors
/// [`ImageError`] if it cannot be read, or is not a static executable for `architecture`.
pub fn check_static_for(program: &Path, architecture: Architecture) -> Result<(), ImageError> {
    elf::judged(program, architecture)
}

/// The image whose program only waits: it holds the network of a pod where the engine knows no pods. The same in every
/// release; `None` if there is no such program for this machine's processor.
pub fn pause() -> Option<Archive> {
    let program = Part::Bytes(pause::program()?.into());
    Some(assemble(PAUSE, Layer::new(only(PAUSE, program)).ok()?, None))
}

/// Puts the archive of image `name` together, of the layer that holds the program.
fn assemble(name: &'static str, layer: Layer, alias: Option<&str>) -> Archive {
    let configuration = configuration(name, &layer);
    let identity = identity(name, &configuration);
    let tag = identity.tag.clone();
    let names: Vec<&str> = [Some(tag.as_str()), alias].into_iter().flatten().collect();
    Archive::assemble(identity, &names, &configuration, [layer])
}

/// All that the image of one program holds.
fn only(name: &str, program: Part) -> Vec<Entry> {
    // A named volume takes over the owner of the folder it covers (docs/containers.md §3).
    vec![
        Entry::folder("data", 0o755).owned_by(USER),
        Entry::folder("tmp", 0o1777).owned_by(USER),
        Entry::executable(name, program),
    ]
}

/// The layer with the binary.
fn describe(recipe: &ImageRecipe, cache: Option<&Path>) -> Result<Layer, ImageError> {
    let read = |source| ImageError::Read { path: recipe.binary.clone(), source };
    let stamp = cache::Stamp::of(&recipe.binary).map_err(read)?;
    let entries = only(recipe.name, Part::File { path: recipe.binary.clone(), size: stamp.size });
    if let Some(digest) = cache.and_then(|folder| cache::recall(folder, &kept(recipe), &recipe.binary, &stamp)) {
        return Ok(Layer::known(entries, digest));
    }
    check_static(&recipe.binary)?;
    let layer = Layer::new(entries)?;
    if let Some(folder) = cache {
        cache::remember(folder, &kept(recipe), &recipe.binary, &stamp, &layer.digest);
    }
    Ok(layer)
}

/// What a layer's digest is remembered as: the program's name is in the layer.
fn kept(recipe: &ImageRecipe) -> String {
    format!("layer-{}", recipe.name)
}

fn identity(name: &str, configuration: &[u8]) -> ImageIdentity {
    let id = hex::encode(digest(&SHA256, configuration));
    let short = id.get(..TAG_DIGITS).unwrap_or(&id);
    ImageIdentity { tag: format!("localhost/kestack/{name}:{short}"), id }
}

/// The configuration of the image of one program.
fn configuration(name: &str, layer: &Layer) -> Vec<u8> {
    let program = format!("/{name}");
    let process = Process {
        entrypoint: [&program],
        // MinIO looks for its folder in HOME and asks `getent` if there is none (docs/minio-kms-client.md §6).
        env: ["HOME=/", "PATH=/"],
        labels: Labels { role: name },
        user: "1000:1000",
        working_dir: "/",
    };
    to_json(&Configuration::new(&process, Architecture::HOST, std::slice::from_ref(layer)))
}

/// JSON of types that cannot fail to become JSON.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// An image's configuration; its fields stand in alphabetical order because its bytes are the image's ID.
#[derive(Serialize)]
struct Configuration<'a, P> {
    architecture: &'static str,
    config: &'a P,
    created: &'a str,
    history: Vec<History<'a>>,
    os: &'a str,
    rootfs: Rootfs,
}

impl<'a, P> Configuration<'a, P> {
    fn new(process: &'a P, architecture: Architecture, layers: &[Layer]) -> Self {
        let diff_ids = layers.iter().map(|layer| format!("sha256:{}", layer.digest)).collect();
        Self {
            architecture: architecture.word(),
            config: process,
            created: EPOCH,
            history: layers.iter().map(|_| History { created: EPOCH, created_by: "kestack" }).collect(),
            os: "linux",
            rootfs: Rootfs { diff_ids, kind: "layers" },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Process<'a> {
    entrypoint: [&'a str; 1],
    env: [&'a str; 2],
    labels: Labels<'a>,
    user: &'a str,
    working_dir: &'a str,
}

#[derive(Serialize)]
struct Labels<'a> {
    #[serde(rename = "io.kestack.role")]
    role: &'a str,
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

#[derive(Serialize)]
struct Rootfs {
    diff_ids: Vec<String>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use futures_util::TryStreamExt as _;

    use super::*;

    /// Of a recipe that never changes.
    const KNOWN: &str = "f79f2d43773c2a21d2595e1703aa54ad181d8d79147ad8bc47677ca0b8d8b31a";

    fn recipe(folder: &Path, filler: &[u8]) -> ImageRecipe {
        let binary = folder.join("program");
        std::fs::write(&binary, [static_executable(), filler.to_vec()].concat()).unwrap();
        ImageRecipe { name: "kes", binary }
    }

    async fn bytes(archive: Archive) -> Vec<u8> {
        archive.into_stream().try_collect::<Vec<_>>().await.unwrap().concat()
    }

    fn members(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        entries.collect()
    }

    #[tokio::test]
    async fn the_same_binary_gives_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path(), &vec![7; 300_000]);
        let first = bytes(compose(&recipe, None, None).unwrap()).await;
        assert_eq!(first, bytes(compose(&recipe, None, None).unwrap()).await);
        assert_eq!(first.len() % layer::BLOCK, 0);
    }

    #[tokio::test]
    async fn the_archive_holds_what_its_names_say() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path(), b"x");
        let archive = compose(&recipe, Some("localhost/kestack/kes:latest"), None).unwrap();
        let identity = archive.identity().clone();
        assert_eq!(identity, identify(&recipe, None).unwrap());
        let members = members(&bytes(archive).await);
        let manifest: serde_json::Value = serde_json::from_slice(&members["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"], serde_json::json!([identity.tag, "localhost/kestack/kes:latest"]));
        let configuration = &members[manifest[0]["Config"].as_str().unwrap()];
        assert_eq!(hex::encode(digest(&SHA256, configuration)), identity.id);
        let layer = &members[manifest[0]["Layers"][0].as_str().unwrap()];
        let configuration: serde_json::Value = serde_json::from_slice(configuration).unwrap();
        let diff_id = format!("sha256:{}", hex::encode(digest(&SHA256, layer)));
        assert_eq!(configuration["rootfs"]["diff_ids"][0], diff_id);
        assert_eq!(members_of_layer(layer), ["data/ 1000 40755", "tmp/ 1000 41777", "kes 0 100755"]);
    }

    fn members_of_layer(layer: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(layer);
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let kind = if header.entry_type().is_dir() { "4" } else { "10" };
            format!(
                "{} {} {kind}{:04o}",
                entry.path().unwrap().display(),
                header.uid().unwrap(),
                header.mode().unwrap()
            )
        });
        entries.collect()
    }

    #[test]
    fn another_binary_is_another_image_even_at_the_same_place() {
        let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = identify(&recipe(folder.path(), b"one"), Some(cache.path())).unwrap();
        let two = identify(&recipe(folder.path(), b"two!"), Some(cache.path())).unwrap();
        assert_ne!(one.id, two.id);
    }

    #[test]
    fn what_is_no_static_executable_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("script");
        std::fs::write(&binary, "#!/bin/sh\n").unwrap();
        let error = identify(&ImageRecipe { name: "kes", binary }, None).unwrap_err().to_string();
        assert!(error.contains("not a Linux executable"), "{error}");
    }

    #[tokio::test]
    async fn the_image_of_one_program_keeps_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path(), b"x");
        let id = identify(&recipe, None).unwrap().id;
        assert_eq!(id, if cfg!(target_arch = "x86_64") { KNOWN } else { id.as_str() }, "a new ID replaces all pods");
        assert_eq!(
            bytes(compose(&recipe, None, None).unwrap()).await.len() as u64,
            compose(&recipe, None, None).unwrap().size()
        );
    }

    #[tokio::test]
    async fn layers_hold_texts_links_and_programs() {
        let folder = tempfile::tempdir().unwrap();
        let program = recipe(folder.path(), b"x").binary;
        let entries = || {
            vec![
                Entry::folder("usr", 0o755),
                Entry::program("usr/kes", &program, Architecture::HOST).unwrap(),
                Entry::link("kes", "/usr/kes"),
                Entry::text("text", "words"),
            ]
        };
        let names = ["a:1".to_owned(), "b:2".to_owned()];
        let image =
            |names: &[String]| compose_layers(&(), Architecture::Arm64, vec![vec![], entries()], names).unwrap();
        assert_eq!(image(&names).identity().id, image(&names[1..]).identity().id, "the name is not part of the image");
        let members = members(&bytes(image(&names)).await);
        let manifest: serde_json::Value = serde_json::from_slice(&members["manifest.json"]).unwrap();
        assert_eq!(manifest[0]["RepoTags"], serde_json::json!(names));
        let configuration: serde_json::Value =
            serde_json::from_slice(&members[manifest[0]["Config"].as_str().unwrap()]).unwrap();
        assert_eq!((&configuration["architecture"], &configuration["os"]), (&"arm64".into(), &"linux".into()));
        let layer = &members[manifest[0]["Layers"][1].as_str().unwrap()];
        assert_eq!(configuration["rootfs"]["diff_ids"][1], format!("sha256:{}", hex::encode(digest(&SHA256, layer))));
        let mut tar = tar::Archive::new(layer.as_slice());
        let held: Vec<_> = tar
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                let link = entry.link_name().unwrap().map(|target| target.display().to_string());
                (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), link, content.len())
            })
            .collect();
        let size = usize::try_from(std::fs::metadata(&program).unwrap().len()).unwrap();
        let wanted = [
            ("usr/".to_owned(), 0o755, None, 0),
            ("usr/kes".to_owned(), 0o755, None, size),
            ("kes".to_owned(), 0o777, Some("/usr/kes".to_owned()), 0),
            ("text".to_owned(), 0o644, None, 5),
        ];
        assert_eq!(held, wanted);
    }

    #[test]
    fn a_program_for_another_processor_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let program = recipe(folder.path(), b"x").binary;
        let other = if Architecture::HOST == Architecture::Amd64 { Architecture::Arm64 } else { Architecture::Amd64 };
        let error = Entry::program("kes", &program, other).unwrap_err().to_string();
        assert!(error.contains("another kind of processor") && error.contains(&other.to_string()), "{error}");
    }

    #[tokio::test]
    async fn a_binary_that_shrank_breaks_the_stream() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path(), &[1; 1000]);
        let archive = compose(&recipe, None, None).unwrap();
        std::fs::write(&recipe.binary, "short").unwrap();
        let result = archive.into_stream().try_for_each(|_| async { Ok(()) }).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
