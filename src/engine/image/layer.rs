//! A layer of an image: folders, links, texts and programs, as a USTAR archive whose bytes depend on nothing else.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use tar::{EntryType, Header};

use super::archive::{CHUNK, Part};
use super::{Architecture, ImageError, elf};

/// Block size of tar (POSIX.1-2001 pax, ustar).
pub(super) const BLOCK: usize = 512;

/// One thing in a layer.
#[derive(Debug, Clone)]
pub struct Entry {
    path: String,
    mode: u32,
    owner: u64,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Folder,
    Link(String),
    Part(Part),
}

/// A layer as it is sent.
#[derive(Debug)]
pub(super) struct Layer {
    /// Its SHA-256 in hex.
    pub(super) digest: String,
    pub(super) parts: Vec<Part>,
}

impl Entry {
    /// A folder of root's.
    pub fn folder(path: &str, mode: u32) -> Self {
        Self { path: format!("{path}/"), mode, owner: 0, content: Content::Folder }
    }

    /// Another name for `target`.
    pub fn link(path: &str, target: &str) -> Self {
        Self { path: path.to_owned(), mode: 0o777, owner: 0, content: Content::Link(target.to_owned()) }
    }

    /// A file that everybody may read.
    pub fn text(path: &str, text: impl Into<Bytes>) -> Self {
        Self { path: path.to_owned(), mode: 0o644, owner: 0, content: Content::Part(Part::Bytes(text.into())) }
    }

    /// A program of this host, which must be static and made for `architecture`.
    ///
    /// # Errors
    /// [`ImageError`] if it cannot be read, or could not run there.
    pub fn program(path: &str, file: &Path, architecture: Architecture) -> Result<Self, ImageError> {
        elf::judged(file, architecture)?;
        let read = |source| ImageError::Read { path: file.to_owned(), source };
        let size = std::fs::metadata(file).map_err(read)?.len();
        Ok(Self::executable(path, Part::File { path: file.to_owned(), size }))
    }

    pub(super) fn executable(path: &str, part: Part) -> Self {
        Self { path: path.to_owned(), mode: 0o755, owner: 0, content: Content::Part(part) }
    }

    pub(super) fn owned_by(self, owner: u64) -> Self {
        Self { owner, ..self }
    }

    /// The block before its content.
    fn header(&self) -> [u8; BLOCK] {
        let (kind, size) = match &self.content {
            Content::Folder => (EntryType::Directory, 0),
            Content::Link(_) => (EntryType::Symlink, 0),
            Content::Part(part) => (EntryType::Regular, part.size()),
        };
        let mut header = Header::new_ustar();
        // Names here are short and ours: they always fit.
        let named = header.set_path(&self.path).and_then(|()| match &self.content {
            Content::Link(target) => header.set_link_name(target),
            _ => Ok(()),
        });
        if let Err(error) = named {
            tracing::error!(%error, name = self.path, "a name does not fit into a tar header");
        }
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(self.mode);
        header.set_uid(self.owner);
        header.set_gid(self.owner);
        header.set_mtime(0);
        header.set_cksum();
        *header.as_bytes()
    }
}

impl Layer {
    /// The layer of these entries; its files are read once.
    pub(super) fn new(entries: Vec<Entry>) -> Result<Self, ImageError> {
        let parts = parts(entries);
        Ok(Self { digest: digest(&parts)?, parts })
    }

    /// The same, if its digest is known.
    pub(super) fn known(entries: Vec<Entry>, digest: String) -> Self {
        Self { digest, parts: parts(entries) }
    }
}

/// Header of an executable file, or of a member of the outer archive.
pub(super) fn header(name: &str, size: u64) -> [u8; BLOCK] {
    Entry::executable(name, Part::File { path: PathBuf::new(), size }).header()
}

/// Zeros up to the next block.
pub(super) fn padding(size: u64) -> Vec<u8> {
    let partial = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    vec![0; (BLOCK - partial) % BLOCK]
}

fn parts(entries: Vec<Entry>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend(entry.header());
        let Content::Part(part) = entry.content else { continue };
        let after = padding(part.size());
        match part {
            Part::Bytes(content) => bytes.extend(content),
            file @ Part::File { .. } => {
                parts.push(Part::Bytes(std::mem::take(&mut bytes).into()));
                parts.push(file);
            }
        }
        bytes.extend(after);
    }
    bytes.extend([0; 2 * BLOCK]);
    parts.push(Part::Bytes(bytes.into()));
    parts
}

/// SHA-256 in hex.
fn digest(parts: &[Part]) -> Result<String, ImageError> {
    let mut context = Context::new(&SHA256);
    for part in parts {
        match part {
            Part::Bytes(bytes) => context.update(bytes),
            Part::File { path, size } => {
                update(&mut context, path, *size).map_err(|source| ImageError::Read { path: path.clone(), source })?;
            }
        }
    }
    Ok(hex::encode(context.finish()))
}

fn update(context: &mut Context, path: &Path, size: u64) -> io::Result<()> {
    let mut file = File::open(path)?.take(size);
    let mut chunk = vec![0; CHUNK];
    let mut left = size;
    while left > 0 {
        let read = file.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        context.update(bytes);
        left -= read as u64;
    }
    Ok(())
}
