//! An image ready to be sent: an uncompressed docker-archive, whose files are read while it is sent.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Serialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::layer::{BLOCK, Layer, header, padding};
use super::{ImageIdentity, to_json};
use crate::host::disk::folder_of;
use crate::host::scratch;

/// Bytes of a file that are read at a time.
pub(super) const CHUNK: usize = 256 << 10;

/// An image ready to be sent to an engine; the files in it are read while it is sent.
#[derive(Debug, Clone)]
pub struct Archive {
    identity: ImageIdentity,
    parts: Vec<Part>,
}

/// A piece of an archive.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Bytes(Bytes),
    File { path: PathBuf, size: u64 },
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest<'a> {
    config: &'a str,
    repo_tags: &'a [&'a str],
    layers: Vec<String>,
}

impl Part {
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { size, .. } => *size,
        }
    }
}

impl Archive {
    /// Puts an image together. `configuration` are the bytes that `identity` is the digest of.
    pub(super) fn assemble(
        identity: ImageIdentity,
        names: &[&str],
        configuration: &[u8],
        layers: impl IntoIterator<Item = Layer>,
    ) -> Self {
        let (mut parts, mut layer_names) = (Vec::new(), Vec::new());
        for layer in layers {
            let name = format!("{}.tar", layer.digest);
            let size = layer.parts.iter().map(Part::size).sum();
            parts.push(Part::Bytes(header(&name, size).to_vec().into()));
            parts.extend(layer.parts);
            parts.push(Part::Bytes(padding(size).into()));
            layer_names.push(name);
        }
        let name = format!("{}.json", identity.id);
        let manifest = to_json(&[Manifest { config: &name, repo_tags: names, layers: layer_names }]);
        let mut tail = Vec::new();
        for (name, content) in [(name.as_str(), configuration), ("manifest.json", &manifest)] {
            tail.extend(header(name, content.len() as u64));
            tail.extend(content);
            tail.extend(padding(content.len() as u64));
        }
        tail.extend([0; 2 * BLOCK]);
        parts.push(Part::Bytes(tail.into()));
        Self { identity, parts }
    }

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

    /// Its bytes.
    pub fn size(&self) -> u64 {
        self.parts.iter().map(Part::size).sum()
    }

    /// The archive's bytes. A file that changed since it was described makes the stream end with an error.
    pub fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::iter(self.parts).flat_map(|part| match part {
            Part::Bytes(bytes) => stream::iter([Ok(bytes)]).left_stream(),
            Part::File { path, size } => file_stream(path, size).right_stream(),
        })
    }

    /// Writes it into a file: complete under its name or not at all; a link that is there is replaced, not followed.
    ///
    /// # Errors
    /// Those of reading its files and of writing.
    pub async fn write(self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = folder_of(path);
        let part = scratch::file_in(folder, ".kestack-image-")?;
        part.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        let mut file = File::from_std(part.as_file().try_clone()?);
        let mut chunks = std::pin::pin!(self.into_stream());
        while let Some(chunk) = chunks.try_next().await? {
            file.write_all(&chunk).await?;
        }
        file.flush().await?;
        part.persist(path)?;
        Ok(())
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
