//! Making a bundle.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tar::{Builder, EntryType, Header};

use super::{Content, FORMAT, INDEX, Index, Kind, Member};
use crate::error::Error;
use crate::host::digest::{Hashed, copy};
use crate::host::disk::folder_of;
use crate::host::interrupt::Interrupt;
use crate::host::scratch;
use crate::keystore;
use crate::manifest::Manifest;

/// What was made.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct Saved {
    /// The file.
    pub file: String,
    /// SHA-256 of the file: 64 hex digits.
    pub sha256: String,
    /// What it holds.
    pub members: Vec<Member>,
}

/// Writes a bundle of these contents to `file`, which appears only when it is complete.
///
/// # Errors
/// [`Error::File`] if something cannot be read or written; [`Error::Interrupted`] after a signal. Nothing is left then.
pub fn save(contents: &[Content], file: &Path, interrupt: &Interrupt) -> Result<Saved, Error> {
    let failed = |error| interrupt.check().err().map_or_else(|| Error::file("write", file)(error), Error::from);
    let members = contents.iter().map(|content| member(content, interrupt)).collect::<Result<Vec<_>, _>>()?;
    let index = Index {
        format: FORMAT,
        kestack: env!("CARGO_PKG_VERSION").to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        members,
    };
    let folder = folder_of(file);
    // readable by its owner alone: kestack.yaml may hold credentials
    let part = scratch::file_in(folder, ".kestack-bundle-").map_err(failed)?;
    let mut tar = Builder::new(Hashed::new(part.as_file()));
    let list = serde_json::to_vec_pretty(&index).map_err(|error| failed(error.into()))?;
    tar.append(&header(INDEX, list.len() as u64, Kind::Text).map_err(failed)?, list.as_slice()).map_err(failed)?;
    for (content, member) in contents.iter().zip(&index.members) {
        let source = File::open(&content.file).map_err(Error::file("read", &content.file))?;
        let head = header(&member.name, member.size, member.kind).map_err(failed)?;
        tar.append(&head, interrupt.reads(source.take(member.size))).map_err(failed)?;
    }
    let (_, sha256) = tar.into_inner().map_err(failed)?.finish();
    part.as_file().sync_all().map_err(failed)?;
    part.persist(file).map_err(|error| failed(error.error))?;
    Ok(Saved { file: file.display().to_string(), sha256, members: index.members })
}

/// Files of this machine that the keystore and the seed of a manifest read, and that no bundle holds.
pub fn also_needed(manifest: &Manifest) -> Vec<PathBuf> {
    let seed = &manifest.seed;
    let keystore = keystore::files(&manifest.keystore).into_iter().map(|file| file.source);
    let objects = seed.objects.iter().map(|objects| objects.from.clone());
    let policies = seed.policies.iter().map(|policy| policy.file.clone());
    let program = seed.run.iter().filter_map(|run| run.program.clone());
    let all: BTreeSet<_> = keystore.chain(objects).chain(policies).chain(program).collect();
    all.into_iter().collect()
}

fn member(content: &Content, interrupt: &Interrupt) -> Result<Member, Error> {
    let unreadable =
        |error| interrupt.check().err().map_or_else(|| Error::file("read", &content.file)(error), Error::from);
    let open = File::open(&content.file).map_err(unreadable)?;
    let (size, sha256) = copy(interrupt.reads(open), &mut io::sink()).map_err(unreadable)?;
    let reference = content.reference.clone();
    Ok(Member { name: content.name.to_owned(), kind: content.kind, reference, size, sha256 })
}

/// The same for the same member, whoever writes it when.
fn header(name: &str, size: u64, kind: Kind) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(if kind == Kind::Program { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}
