//! The one layer of an image: two folders and the binary, as a USTAR archive whose bytes depend on nothing else.

use std::io::{self, Read};

use aws_lc_rs::digest::{Context, SHA256};
use tar::{EntryType, Header};

/// Block size of tar (POSIX.1-2001 pax, ustar).
pub(super) const BLOCK: usize = 512;
/// Bytes hashed at a time.
const CHUNK: usize = 256 << 10;
/// Owner of the folders: every process of a stack runs as it.
const USER: u64 = 1000;

/// The bytes of the layer before and after those of the binary.
pub(super) fn around(name: &str, size: u64) -> (Vec<u8>, Vec<u8>) {
    // A named volume takes over the owner of the folder it covers (docs/containers.md §3).
    let mut before = entry("data/", 0, EntryType::Directory, 0o755, USER).to_vec();
    before.extend(entry("tmp/", 0, EntryType::Directory, 0o1777, USER));
    before.extend(header(name, size));
    let mut after = padding(size);
    after.extend([0; 2 * BLOCK]);
    (before, after)
}

/// SHA-256 of the layer in hex.
pub(super) fn digest(name: &str, binary: impl Read, size: u64) -> io::Result<String> {
    let (before, after) = around(name, size);
    let mut context = Context::new(&SHA256);
    context.update(&before);
    let mut binary = binary.take(size);
    let mut chunk = vec![0; CHUNK];
    let mut left = size;
    while left > 0 {
        let read = binary.read(&mut chunk)?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        context.update(bytes);
        left -= read as u64;
    }
    context.update(&after);
    Ok(hex::encode(context.finish()))
}

/// Header of an executable file, or of a member of the outer archive.
pub(super) fn header(name: &str, size: u64) -> [u8; BLOCK] {
    entry(name, size, EntryType::Regular, 0o755, 0)
}

/// Zeros up to the next block.
pub(super) fn padding(size: u64) -> Vec<u8> {
    let partial = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    vec![0; (BLOCK - partial) % BLOCK]
}

fn entry(name: &str, size: u64, kind: EntryType, mode: u32, owner: u64) -> [u8; BLOCK] {
    let mut header = Header::new_ustar();
    // Names here are short and ours: they always fit.
    if let Err(error) = header.set_path(name) {
        tracing::error!(%error, name, "a name does not fit into a tar header");
    }
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(0);
    header.set_cksum();
    *header.as_bytes()
}
