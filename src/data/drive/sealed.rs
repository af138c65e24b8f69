//! Data keys that lie on a drive, sealed by KES: with them a keystore can be asked whether it is the one that the data
//! needs.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::stored::{self, Beside};
use super::{SYSTEM, context, walk, xl};

/// How much of a file of MinIO's is searched for its sealed key: it is at the start of the content.
const START: u64 = 64 << 10;

/// A data key as KES sealed it for MinIO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Name of the key that sealed it.
    pub key: String,
    /// The data key, sealed by KES.
    pub ciphertext: Vec<u8>,
    /// Its context (docs/minio-kms-client.md §2.5).
    pub context: Vec<u8>,
    /// The object or file it belongs to, as people know it.
    pub of: String,
}

/// How MinIO seals its own files: in front of the content is this JSON.
#[derive(Deserialize)]
pub(super) struct Header {
    #[serde(rename = "keyid")]
    pub(super) key: String,
    #[serde(rename = "kmskey")]
    sealed: String,
}

/// The sealed keys of MinIO's configuration and of its IAM format, which it writes at its first start.
pub fn configuration(drive: &Path) -> io::Result<Vec<Sealed>> {
    let mut found = Vec::new();
    for name in ["config/config.json", "config/iam/format.json"] {
        let folder = drive.join(SYSTEM).join(name);
        match header(&folder.join(xl::FILE)) {
            Ok(header) => found.extend(header.and_then(|header| header.sealed(&format!("{SYSTEM}/{name}")))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// One sealed key of each key that protects an object on the drive. Reads all of them.
pub fn samples(drive: &Path) -> io::Result<Vec<Sealed>> {
    let read = |found: &mut BTreeMap<String, Sealed>, path: &Path| {
        let sealed = xl::versions(path)?.into_iter().flatten().find_map(|version| sample(version, path, drive));
        if let Some(sealed) = sealed {
            found.entry(sealed.key.clone()).or_insert(sealed);
        }
        Ok(())
    };
    let mut all = BTreeMap::new();
    for bucket in super::buckets(drive)? {
        for found in walk::objects(&drive.join(bucket), read)? {
            all.extend(found);
        }
    }
    Ok(all.into_values().collect())
}

fn sample(version: xl::Version, path: &Path, drive: &Path) -> Option<Sealed> {
    let xl::Version::Object(stored) = version else { return None };
    let xl::Protection::Key { name, sealed } = stored.protection else { return None };
    let of = path.parent()?.strip_prefix(drive).ok()?.to_str()?;
    Some(Sealed { key: name, ciphertext: sealed?, context: context::of_object(of)?, of: of.to_owned() })
}

/// The header of a file of MinIO's own, `None` if it is not sealed.
pub(super) fn header(meta: &Path) -> io::Result<Option<Header>> {
    Ok(match stored::with_part(meta, || start_of(meta), start_of)? {
        (_, Beside::Found(_, part)) => find_header(&part),
        (inline, _) => find_header(&inline),
    })
}

fn start_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(START).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn find_header(bytes: &[u8]) -> Option<Header> {
    const MARK: &[u8] = br#"{"keyid":"#;
    let start = bytes.windows(MARK.len()).position(|window| window == MARK)?;
    serde_json::Deserializer::from_slice(bytes.get(start..)?).into_iter().next()?.ok()
}

impl Header {
    fn sealed(self, of: &str) -> Option<Sealed> {
        let path = of.strip_prefix(SYSTEM)?.trim_start_matches('/');
        let context = context::of_object(&format!("{SYSTEM}/{path}"))?;
        Some(Sealed { key: self.key, ciphertext: STANDARD.decode(self.sealed).ok()?, context, of: of.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use kes_server::crypto::Key;

    use super::super::fixture;
    use super::*;

    /// A drive with what a MinIO wrote under the key next to it.
    fn drive() -> (tempfile::TempDir, Key) {
        let drive = tempfile::tempdir().unwrap();
        let place = |path: &str, content: &[u8]| fixture::place(drive.path(), path, content);
        place(".minio.sys/config/iam/format.json", include_bytes!("testdata/iam-format.meta"));
        place("encrypted/small", include_bytes!("testdata/versions.meta"));
        place("encrypted/ctx", include_bytes!("testdata/context.meta"));
        place("s3b/x", include_bytes!("testdata/sse-s3.meta"));
        place("plain/p", include_bytes!("testdata/plain.meta"));
        (drive, Key::decode(include_bytes!("testdata/key")).unwrap())
    }

    #[test]
    fn what_minio_sealed_is_opened_by_its_key() {
        let (drive, key) = drive();
        let found = configuration(drive.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].key.as_str(), found[0].of.as_str()),
            ("minio-backend-key", ".minio.sys/config/iam/format.json")
        );
        let sampled = samples(drive.path()).unwrap();
        assert_eq!(sampled.len(), 1, "one for each key: {sampled:?}");
        for sealed in found.iter().chain(&sampled) {
            assert_eq!(key.decrypt(&sealed.ciphertext, &sealed.context).unwrap().len(), 32, "{}", sealed.of);
        }
    }
}
