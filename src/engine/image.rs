//! Composes container images in-process from a static binary (docs/architecture.md §3.13, docs/containers.md §3).
//!
//! An image is an uncompressed docker-archive tar, made FROM scratch: one layer with the binary and two folders,
//! a configuration, a manifest. The same binary always gives the same bytes, so the image's ID, the SHA-256 of its
//! configuration, is known before anything is built, and an engine that has it is recognised without loading.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Serialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

mod cache;
mod elf;
mod layer;
mod pause;
mod program;

#[cfg(test)]
pub(crate) use elf::tests::static_executable;
pub use program::{program_of, program_reference};

use layer::{BLOCK, header, padding};

/// Bytes read from the binary at a time while the archive is sent.
const CHUNK: usize = 256 << 10;
/// Every timestamp in an image: what is made from the same binary must not differ.
const EPOCH: &str = "1970-01-01T00:00:00Z";
/// Hex digits of the image's ID in its tag.
const TAG_DIGITS: usize = 16;
/// Name of the image whose program only waits, and of that program.
const PAUSE: &str = "pause";

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

/// An image ready to be sent to an engine; the binary is read while it is sent.
#[derive(Debug, Clone)]
pub struct Archive {
    identity: ImageIdentity,
    parts: Vec<Part>,
}

/// A piece of the archive.
#[derive(Debug, Clone)]
enum Part {
    Bytes(Bytes),
    File { path: PathBuf, size: u64 },
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
    #[error("'{}' {why}\n  the image contains nothing else, so it must be a static Linux executable for this machine", path.display())]
    Unsuitable {
        /// The binary.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Identifies the image of a recipe without building it. The digest of an unchanged binary is remembered in
/// `cache`, a folder, so that asking again costs microseconds.
///
/// # Errors
/// [`ImageError`] if the binary cannot be read or cannot run in the image.
pub fn identify(recipe: &ImageRecipe, cache: Option<&Path>) -> Result<ImageIdentity, ImageError> {
    let (layer, _) = describe(recipe, cache)?;
    Ok(identity(recipe.name, &configuration(recipe.name, &layer)))
}

/// Composes the image of a recipe. `alias` is one more name for it.
///
/// # Errors
/// [`ImageError`] if the binary cannot be read or cannot run in the image.
pub fn compose(recipe: &ImageRecipe, alias: Option<&str>, cache: Option<&Path>) -> Result<Archive, ImageError> {
    let (layer, size) = describe(recipe, cache)?;
    Ok(assemble(recipe.name, &layer, Part::File { path: recipe.binary.clone(), size }, alias))
}

/// Refuses a program that could not run where there is nothing else.
///
/// # Errors
/// [`ImageError`] if it cannot be read, or is not a static executable for this machine.
pub fn check_static(program: &Path) -> Result<(), ImageError> {
    let judged = elf::check(program).map_err(|source| ImageError::Read { path: program.to_owned(), source })?;
    judged.map_err(|why| ImageError::Unsuitable { path: program.to_owned(), why })
}

/// The image whose program only waits: it holds the network of a pod where the engine knows no pods. The same in every
/// release; `None` if there is no such program for this machine's processor.
pub fn pause() -> Option<Archive> {
    let program = pause::program()?;
    let layer = layer::digest(PAUSE, program.as_slice(), program.len() as u64).ok()?;
    Some(assemble(PAUSE, &layer, Part::Bytes(program.into()), None))
}

/// Puts the archive of image `name` together. `layer` is the digest of the layer that holds the program.
fn assemble(name: &'static str, layer: &str, program: Part, alias: Option<&str>) -> Archive {
    let configuration = configuration(name, layer);
    let identity = identity(name, &configuration);
    let (layer_name, configuration_name) = (format!("{layer}.tar"), format!("{}.json", identity.id));
    let manifest = to_json(&[Manifest {
        config: &configuration_name,
        repo_tags: [Some(identity.tag.as_str()), alias].into_iter().flatten().collect(),
        layers: [&layer_name],
    }]);
    let (before, after) = layer::around(name, program.size());
    let layer_size = before.len() as u64 + program.size() + after.len() as u64;
    let mut head = header(&layer_name, layer_size).to_vec();
    head.extend(before);
    let mut tail = after;
    tail.extend(padding(layer_size));
    for (name, content) in [(&configuration_name, &configuration), (&"manifest.json".to_owned(), &manifest)] {
        tail.extend(header(name, content.len() as u64));
        tail.extend(content);
        tail.extend(padding(content.len() as u64));
    }
    tail.extend([0; 2 * BLOCK]);
    Archive { identity, parts: vec![Part::Bytes(head.into()), program, Part::Bytes(tail.into())] }
}

impl Part {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }
}

impl Archive {
    /// The archive that a file of that size holds, of an image of that name.
    pub fn of_file(path: PathBuf, size: u64, reference: &str) -> Self {
        let identity = ImageIdentity { id: String::new(), tag: reference.to_owned() };
        Self { identity, parts: vec![Part::File { path, size }] }
    }

    /// The image that this archive brings.
    pub fn identity(&self) -> &ImageIdentity {
        &self.identity
    }

    /// The name to use the image by.
    pub fn reference(&self) -> &str {
        &self.identity.tag
    }

    /// The archive's bytes. A binary that changed since it was described makes the stream end with an error.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::iter(self.parts).flat_map(|part| match part {
            Part::Bytes(bytes) => stream::iter([Ok(bytes)]).left_stream(),
            Part::File { path, size } => file_stream(path, size).right_stream(),
        })
    }
}

/// Exactly `size` bytes of a file.
fn file_stream(path: PathBuf, size: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold((path, 0), move |(path, at)| async move {
        if at == size {
            return Ok(None);
        }
        let chunk = read_chunk(&path, at, size).await?;
        let at = at + chunk.len() as u64;
        Ok(Some((chunk, (path, at))))
    })
}

async fn read_chunk(path: &Path, at: u64, size: u64) -> io::Result<Bytes> {
    let mut file = File::open(path).await?;
    file.seek(SeekFrom::Start(at)).await?;
    let wanted = usize::try_from(size - at).unwrap_or(CHUNK).min(CHUNK);
    let mut chunk = vec![0; wanted];
    file.read_exact(&mut chunk).await?;
    Ok(chunk.into())
}

/// Digest of the layer and size of the binary.
fn describe(recipe: &ImageRecipe, cache: Option<&Path>) -> Result<(String, u64), ImageError> {
    let read = |source| ImageError::Read { path: recipe.binary.clone(), source };
    let stamp = cache::Stamp::of(&recipe.binary).map_err(read)?;
    if let Some(layer) = cache.and_then(|folder| cache::recall(folder, &kept(recipe), &recipe.binary, &stamp)) {
        return Ok((layer, stamp.size));
    }
    elf::check(&recipe.binary)
        .map_err(read)?
        .map_err(|why| ImageError::Unsuitable { path: recipe.binary.clone(), why })?;
    let binary = std::fs::File::open(&recipe.binary).map_err(read)?;
    let layer = layer::digest(recipe.name, binary, stamp.size).map_err(read)?;
    if let Some(folder) = cache {
        cache::remember(folder, &kept(recipe), &recipe.binary, &stamp, &layer);
    }
    Ok((layer, stamp.size))
}

/// What a layer's digest is remembered as: the program's name stands in the layer.
fn kept(recipe: &ImageRecipe) -> String {
    format!("layer-{}", recipe.name)
}

fn identity(name: &str, configuration: &[u8]) -> ImageIdentity {
    let id = hex::encode(digest(&SHA256, configuration));
    let short = id.get(..TAG_DIGITS).unwrap_or(&id);
    ImageIdentity { tag: format!("localhost/kestack/{name}:{short}"), id }
}

/// The image's configuration; its fields stand in alphabetical order because its bytes are the image's ID.
fn configuration(name: &str, layer: &str) -> Vec<u8> {
    let program = format!("/{name}");
    to_json(&Configuration {
        architecture: match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
        config: Process {
            entrypoint: [&program],
            // MinIO looks for its folder in HOME and asks `getent` if there is none (docs/minio-kms-client.md §6).
            env: ["HOME=/", "PATH=/"],
            labels: Labels { role: name },
            user: "1000:1000",
            working_dir: "/",
        },
        created: EPOCH,
        history: [History { created: EPOCH, created_by: "kestack" }],
        os: "linux",
        rootfs: Rootfs { diff_ids: [format!("sha256:{layer}")], kind: "layers" },
    })
}

/// JSON of types that cannot fail to become JSON.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest<'a> {
    config: &'a str,
    repo_tags: Vec<&'a str>,
    layers: [&'a str; 1],
}

#[derive(Serialize)]
struct Configuration<'a> {
    architecture: &'a str,
    config: Process<'a>,
    created: &'a str,
    history: [History<'a>; 1],
    os: &'a str,
    rootfs: Rootfs,
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
    diff_ids: [String; 1],
    #[serde(rename = "type")]
    kind: &'static str,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use futures_util::TryStreamExt as _;

    use super::*;

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
        assert_eq!(first.len() % BLOCK, 0);
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
    async fn a_binary_that_shrank_breaks_the_stream() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path(), &[1; 1000]);
        let archive = compose(&recipe, None, None).unwrap();
        std::fs::write(&recipe.binary, "short").unwrap();
        let result = archive.into_stream().try_for_each(|_| async { Ok(()) }).await;
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
