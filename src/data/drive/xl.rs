//! `xl.meta`: the versions of one object, with how each is encrypted.
//!
//! `XL2 `, four bytes of format version, then MessagePack: the length of the metadata, a version each of headers and
//! of entries, a count, and for each version a header and an entry. The metadata's checksum follows, then what is
//! stored inline. Names of encryption metadata are in clear.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_bytes::ByteBuf;

/// Start of the file: name and major version of the format.
const MAGIC: &[u8] = b"XL2 \x01\x00";
/// Where the length of the metadata is, behind the mark of MessagePack's `bin 32`.
pub(super) const MARK: usize = 8;
pub(super) const BIN32: u8 = 0xc6;
/// Where the metadata begins.
const META: usize = MARK + 5;
/// The file's start that holds the complete metadata of nearly every object.
const FIRST_READ: usize = 4096;
/// Largest metadata that is read: some ten thousand versions.
const MAX_META: usize = 64 << 20;

/// Newest form of headers that is known here.
pub(super) const NEWEST_HEADERS: u64 = 3;

/// Kinds of versions.
pub(super) const OBJECT: u64 = 1;
pub(super) const DELETE_MARKER: u64 = 2;

/// Name of the metadata file of an object.
pub(super) const FILE: &str = "xl.meta";

pub(super) const KEY_ID: &str = "X-Minio-Internal-Server-Side-Encryption-S3-Kms-Key-Id";
pub(super) const DATA_KEY: &str = "X-Minio-Internal-Server-Side-Encryption-S3-Kms-Sealed-Key";
pub(super) const CONTEXT: &str = "X-Minio-Internal-Server-Side-Encryption-Context";
const ALGORITHM: &str = "X-Minio-Internal-Server-Side-Encryption-Seal-Algorithm";

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Version {
    /// Data.
    Object(Stored),
    /// Marks the object as deleted.
    DeleteMarker,
    /// Of a kind that is not known here.
    Unknown,
}

/// Data of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    /// Length as the client sees it, in bytes.
    pub(super) bytes: u64,
    /// When it was written, in nanoseconds since 1970.
    pub(super) written: i64,
    /// The ID of the version, as clients know it; `None` in a bucket that kept none.
    pub(super) version: Option<String>,
    /// The folder of its content, next to its metadata; `None` for content that the metadata holds.
    pub(super) folder: Option<String>,
    /// What protects it.
    pub(super) protection: Protection,
}

/// What protects a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Protection {
    /// Nothing.
    None,
    /// A key of the client (SSE-C).
    Client,
    /// A key of KES (SSE-KMS, SSE-S3).
    Key {
        /// Its name.
        name: String,
        /// The data key as KES sealed it, unless the client gave a context of its own.
        sealed: Option<Vec<u8>>,
    },
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "Type")]
    kind: u64,
    #[serde(rename = "V2Obj", default)]
    object: Option<Object>,
}

#[derive(Deserialize)]
struct Object {
    #[serde(rename = "ID", default)]
    id: Option<ByteBuf>,
    #[serde(rename = "DDir", default)]
    folder: Option<ByteBuf>,
    #[serde(rename = "MTime", default)]
    written: i64,
    #[serde(rename = "PartASizes", default)]
    sizes: Option<Vec<i64>>,
    #[serde(rename = "MetaSys", default)]
    system: Option<BTreeMap<String, ByteBuf>>,
}

/// Reads the versions of an object; `None` if the file is of a format that is not known here.
pub(super) fn versions(path: &Path) -> std::io::Result<Option<Vec<Version>>> {
    let mut file = std::fs::File::open(path)?;
    let mut bytes = Vec::with_capacity(FIRST_READ);
    file.by_ref().take(FIRST_READ as u64).read_to_end(&mut bytes)?;
    let Some(length) = whole_length(&bytes) else { return Ok(None) };
    if let Some(missing) = length.checked_sub(bytes.len()) {
        file.take(missing as u64).read_to_end(&mut bytes)?;
    }
    Ok(parse(&bytes))
}

/// Length of magic, version and metadata.
pub(super) fn whole_length(bytes: &[u8]) -> Option<usize> {
    let (&length, _) = bytes.get(MARK + 1..)?.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let known = bytes.starts_with(MAGIC) && bytes.get(MARK) == Some(&BIN32) && length <= MAX_META;
    known.then_some(META + length)
}

/// The versions in the bytes of a file, whose inline data may be missing.
fn parse(bytes: &[u8]) -> Option<Vec<Version>> {
    let meta = bytes.get(META..whole_length(bytes)?)?;
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(meta));
    let (headers, _entries, count): (u64, u64, usize) = (next(&mut reader)?, next(&mut reader)?, next(&mut reader)?);
    if headers > NEWEST_HEADERS {
        return None;
    }
    let version = |_| {
        let _header: ByteBuf = next(&mut reader)?;
        let entry: ByteBuf = next(&mut reader)?;
        rmp_serde::from_slice::<Entry>(&entry).ok().map(Entry::version)
    };
    (0..count).map(version).collect()
}

fn next<'a, T: Deserialize<'a>>(
    reader: &mut rmp_serde::Deserializer<rmp_serde::decode::ReadReader<Cursor<&[u8]>>>,
) -> Option<T> {
    T::deserialize(reader).ok()
}

impl Entry {
    fn version(self) -> Version {
        match (self.kind, self.object) {
            (OBJECT, Some(object)) => Version::Object(object.stored()),
            (DELETE_MARKER, _) => Version::DeleteMarker,
            _ => Version::Unknown,
        }
    }
}

impl Object {
    fn stored(self) -> Stored {
        let bytes = self.sizes.iter().flatten().filter_map(|size| u64::try_from(*size).ok()).sum();
        let system = self.system.unwrap_or_default();
        let text = |name: &str| system.get(name).map(|value| String::from_utf8_lossy(value).into_owned());
        let protection = match text(KEY_ID) {
            Some(name) => {
                let sealed = text(DATA_KEY).filter(|_| !system.contains_key(CONTEXT));
                Protection::Key { name, sealed: sealed.and_then(|sealed| STANDARD.decode(sealed).ok()) }
            }
            None if system.contains_key(ALGORITHM) => Protection::Client,
            None => Protection::None,
        };
        Stored {
            bytes,
            written: self.written,
            version: self.id.and_then(|id| uuid(&id)),
            folder: self.folder.and_then(|folder| uuid(&folder)),
            protection,
        }
    }
}

/// Sixteen bytes in the form that clients know; none where all are zero.
pub(super) fn uuid(id: &[u8]) -> Option<String> {
    let id = <&[u8; 16]>::try_from(id).ok().filter(|id| **id != [0; 16])?;
    let groups = [&id[..4], &id[4..6], &id[6..8], &id[8..10], &id[10..]];
    Some(groups.map(hex::encode).join("-"))
}
