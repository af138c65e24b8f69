//! How MinIO seals what it keeps for itself: files of its configuration and IAM as a block, and the targets of a bucket's
//! replication inside the bucket's metadata.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::pack::{self, Edit};
use super::xl;

/// First byte of a sealed file.
const FORMAT: u8 = 1;

/// In front of the block is this JSON, and in front of it its length.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "keyid")]
    key: String,
    #[serde(rename = "kmskey")]
    sealed: String,
}

/// In front of a bucket's metadata are two numbers of 16 bits: of its format, and of the format's version.
const BUCKET_HEAD: usize = 4;

/// The part of a bucket's metadata that says how its targets are sealed.
const TARGETS: &str = "BucketTargetsConfigMetaJSON";

/// The part of a bucket's metadata with its targets, in clear if they have no seal.
const TARGETS_THEMSELVES: &str = "BucketTargetsConfigJSON";

/// A sealed data key in some content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) key: String,
    /// In base64, as it is there.
    pub(super) sealed: String,
}

impl Seal {
    /// The same data key, sealed by another key.
    pub(super) fn new(key: &str, ciphertext: &[u8]) -> Self {
        Self { key: key.to_owned(), sealed: STANDARD.encode(ciphertext) }
    }

    /// The data key as KES sealed it.
    pub(super) fn ciphertext(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.sealed).ok()
    }
}

/// The seal of a file of MinIO's configuration or IAM; `None` if it has none.
pub(super) fn of_file(content: &[u8]) -> Option<Seal> {
    let (header, _) = split(content)?;
    let Header { key, sealed } = serde_json::from_slice(header).ok()?;
    Some(Seal { key, sealed })
}

/// The file with another seal.
pub(super) fn file_with(content: &[u8], seal: &Seal) -> Option<Vec<u8>> {
    let (header, block) = split(content)?;
    let header = exchanged(header, ["keyid", "kmskey"], &of_file(content)?, seal)?;
    let length = u32::try_from(header.len()).ok()?.to_le_bytes();
    Some([&[FORMAT], length.as_slice(), &header, block].concat())
}

/// The seal of the targets in a bucket's metadata; `None` if there are none.
pub(super) fn of_targets(content: &[u8]) -> Option<Seal> {
    let json: serde_json::Value = serde_json::from_slice(pack::content(targets(content)?)?).ok()?;
    let text = |name: &str| json.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    Some(Seal { key: text(xl::KEY_ID)?, sealed: text(xl::DATA_KEY)? })
}

/// Whether a bucket's metadata have targets, sealed or in clear; `None` if they are not of a known form.
pub(super) fn has_targets(content: &[u8]) -> Option<bool> {
    let entries = pack::entries(content.get(BUCKET_HEAD..)?)?;
    let of = |wanted: &str| entries.iter().find(|(name, _)| *name == wanted.as_bytes()).map(|(_, value)| *value);
    // nil, or nothing in it
    let is_there = |value: &&[u8]| pack::content(value).is_some_and(|content| !content.is_empty());
    if of_targets(content).is_some() {
        return Some(true);
    }
    let Some(targets) = of(TARGETS_THEMSELVES).filter(is_there) else { return Some(false) };
    let json = pack::content(targets).and_then(|text| serde_json::from_slice::<serde_json::Value>(text).ok());
    // what is not understood may be a target
    Some(json.is_none_or(|json| {
        let list = json.get("targets").unwrap_or(&json);
        !list.is_null() && list.as_array().is_none_or(|targets| !targets.is_empty())
    }))
}

/// The bucket's metadata with another seal of its targets.
pub(super) fn targets_with(content: &[u8], seal: &Seal) -> Option<Vec<u8>> {
    let targets = targets(content)?;
    let json = exchanged(pack::content(targets)?, [xl::KEY_ID, xl::DATA_KEY], &of_targets(content)?, seal)?;
    pack::edited(content, vec![Edit::of(content, targets, pack::binary(&json)?)?])
}

fn targets(content: &[u8]) -> Option<&[u8]> {
    pack::entry(content.get(BUCKET_HEAD..)?, TARGETS)
}

/// The header of a file, and the block behind it.
fn split(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = content.strip_prefix(&[FORMAT])?.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length).try_into().ok()?)
}

/// JSON with another key and sealed data key under these two names. Every other byte stays; `None` if one of them does not
/// are there exactly once, in the form in which MinIO writes it.
fn exchanged(json: &[u8], [key, sealed]: [&str; 2], from: &Seal, to: &Seal) -> Option<Vec<u8>> {
    let mut text = std::str::from_utf8(json).ok()?.to_owned();
    for (name, from, to) in [(key, &from.key, &to.key), (sealed, &from.sealed, &to.sealed)] {
        let [from, to] = [from, to].map(|value| format!("\"{name}\":\"{value}\""));
        let (before, after) = text.split_once(&from).filter(|(_, after)| !after.contains(&from))?;
        text = [before, &to, after].concat();
    }
    Some(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::parts::Parts;
    use super::*;

    #[test]
    fn the_seal_of_a_file_is_exchanged_and_nothing_else() {
        let parts = Parts::of(include_bytes!("testdata/iam-format.meta")).unwrap();
        let content = parts.content().unwrap();
        let seal = of_file(&content).unwrap();
        assert_eq!((seal.key.as_str(), seal.ciphertext().unwrap().len()), ("minio-backend-key", 76));
        let other = Seal::new("a", &[9; 60]);
        let changed = file_with(&content, &other).unwrap();
        assert_eq!(of_file(&changed).unwrap(), other);
        assert!(changed.ends_with(split(&content).unwrap().1));
        assert_eq!(file_with(&changed, &seal).unwrap(), content, "and back");
        assert_eq!(of_file(b"{}"), None);
        assert_eq!(of_file(b"\x01\xff\xff\xff\xff{}"), None);
    }

    #[test]
    fn the_seal_of_a_buckets_targets_is_exchanged_and_nothing_else() {
        let parts = Parts::of(include_bytes!("testdata/targets.meta")).unwrap();
        let content = parts.content().unwrap();
        let seal = of_targets(&content).unwrap();
        assert_eq!((seal.key.as_str(), seal.ciphertext().unwrap().len()), ("minio-backend-key", 76));
        let other = Seal::new(&"long".repeat(20), &[9; 76]);
        let changed = targets_with(&content, &other).unwrap();
        assert_eq!(of_targets(&changed).unwrap(), other);
        assert_eq!(targets_with(&changed, &seal).unwrap(), content, "and back");
        assert_eq!(of_targets(include_bytes!("testdata/plain.meta")), None);
    }

    #[test]
    fn targets_are_found_sealed_and_in_clear() {
        // two numbers, then a mapping with this one entry, whose name has 23 bytes
        let with = |json: &[u8]| {
            let name = TARGETS_THEMSELVES.as_bytes();
            [&[1, 0, 1, 0, 0x81, 0xa0 + 23], name, &pack::binary(json).unwrap()].concat()
        };
        for (json, wanted) in [
            ("", false),
            ("null", false),
            (r#"{"targets":null}"#, false),
            (r#"{"targets":[]}"#, false),
            (r#"{"targets":[{"endpoint":"a"}]}"#, true),
            ("neither", true),
        ] {
            assert_eq!(has_targets(&with(json.as_bytes())), Some(wanted), "{json}");
        }
        let sealed = Parts::of(include_bytes!("testdata/targets.meta")).unwrap().content().unwrap();
        assert_eq!(has_targets(&sealed), Some(true));
        assert_eq!(has_targets(b"else"), None);
    }
}
