//! Another key for the data keys in one metadata file: each is exchanged for the same data key, sealed by another key, with
//! that key's name. Nothing else of the file changes but the lengths and checksums that follow from it.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::own::{self, Seal};
use super::pack::{self, Edit};
use super::parts::Parts;
use super::stored::{Part, Stored};
use super::{SYSTEM, Sealed, context, pieces, with_version, xl};

/// A metadata file with the sealed data keys in it.
#[derive(Debug)]
pub struct Sealings {
    stored: Stored,
    found: Vec<Found>,
}

/// A data key that is sealed by a key of KES.
#[derive(Debug)]
pub struct Found {
    /// The data key.
    pub sealed: Sealed,
    /// Length of the data as the client sees it; none for files of MinIO's own.
    pub bytes: u64,
    place: Place,
}

/// A data key sealed by another key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resealed {
    /// Name of that key.
    pub key: String,
    /// The data key, sealed by KES.
    pub ciphertext: Vec<u8>,
}

/// Why the data keys of a file cannot be exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The file, or the context of a data key, is of a form that is not known here.
    Form,
    /// What MinIO sealed for itself is longer than kestack reads.
    Length,
    /// What MinIO sealed for itself is missing, or not as it was written.
    Content,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "kestack does not understand the form of its metadata",
            Self::Length => "it is longer than 16 MiB",
            Self::Content => "its content is missing or damaged",
        })
    }
}

/// Where a sealed data key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the entry of a version.
    Version(usize),
    /// In front of the content.
    File,
    /// Among the targets of a bucket's replication.
    Targets,
}

impl Sealings {
    /// Reads the metadata of what is in that folder of the drive, `<bucket>/<object>`.
    ///
    /// # Errors
    /// If its form, or that of an entry, is not known.
    pub fn of(stored: Stored, folder: &str) -> Result<Self, Obstacle> {
        let parts = Parts::of(&stored.meta).ok_or(Obstacle::Form)?;
        let mut found = Vec::new();
        for (number, entry) in parts.entries.iter().enumerate() {
            found.extend(of_version(entry, folder).ok_or(Obstacle::Form)?.map(|(sealed, bytes)| Found {
                sealed,
                bytes,
                place: Place::Version(number),
            }));
        }
        if found.is_empty() {
            found.extend(of_own(&stored, folder)?);
        }
        Ok(Self { stored, found })
    }

    /// The file as it is.
    pub fn stored(&self) -> &Stored {
        &self.stored
    }

    /// Its data keys, whichever key sealed them.
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// The file with these data keys, given by their numbers, sealed by other keys. It is made only if the way back leads to
    /// the same bytes: then nothing but the data keys and the names of their keys differs.
    ///
    /// # Errors
    /// If MinIO wrote the file in a way in which kestack would not write it.
    pub fn exchanged(&self, others: &[(usize, Resealed)]) -> Result<Stored, Obstacle> {
        let places = |(number, resealed): &(usize, Resealed)| {
            let found = self.found.get(*number)?;
            let former = Resealed { key: found.sealed.key.clone(), ciphertext: found.sealed.ciphertext.clone() };
            Some(((found.place, resealed.clone()), (found.place, former)))
        };
        let pairs = others.iter().map(places).collect::<Option<Vec<_>>>().ok_or(Obstacle::Form)?;
        let (there, back): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let changed = exchange(&self.stored, &there, None).ok_or(Obstacle::Form)?;
        let former = Parts::of(&self.stored.meta).and_then(|parts| parts.folder());
        let back = exchange(&changed, &back, former);
        if back.as_ref() == Some(&self.stored) { Ok(changed) } else { Err(Obstacle::Form) }
    }
}

/// The file with other seals; content next to it gets that folder, or one whose name follows from the content.
fn exchange(stored: &Stored, others: &[(Place, Resealed)], folder: Option<[u8; 16]>) -> Option<Stored> {
    let parts = Parts::of(&stored.meta)?;
    let mut entries = Vec::new();
    for (place, resealed) in others {
        let seal = Seal::new(&resealed.key, &resealed.ciphertext);
        match place {
            Place::Version(number) => entries.push((*number, version_with(parts.entries.get(*number)?, &seal)?)),
            // there is one at most, and none in a version then
            Place::File => return with_content(stored, &own::file_with(&stored.content()?, &seal)?, folder),
            Place::Targets => return with_content(stored, &own::targets_with(&stored.content()?, &seal)?, folder),
        }
    }
    Some(Stored { meta: parts.with_entries(entries)?, part: None })
}

fn with_content(stored: &Stored, content: &[u8], folder: Option<[u8; 16]>) -> Option<Stored> {
    let parts = Parts::of(&stored.meta)?;
    if stored.part.is_none() {
        return Some(Stored { meta: parts.with_content(content)?, part: None });
    }
    let folder = folder.unwrap_or_else(|| named_by(content));
    let part = Part { folder: xl::uuid(&folder)?, bytes: pieces::of(content) };
    Some(Stored { meta: parts.with_folder(folder, content)?, part: Some(part) })
}

/// A name for the folder of some content, of the kind that MinIO gives: a random UUID.
fn named_by(content: &[u8]) -> [u8; 16] {
    let mut id = [0; 16];
    id.iter_mut().zip(digest(&SHA256, content).as_ref()).for_each(|(id, byte)| *id = *byte);
    let [.., version, _, variant, _, _, _, _, _, _, _] = &mut id;
    (*version, *variant) = (*version & 0x0f | 0x40, *variant & 0x3f | 0x80);
    id
}

/// The data key of a version and the length of its data, nothing if no key of KES protects it; `None` if the form is
/// not known.
#[expect(clippy::option_option, reason = "nothing to exchange is not the same as nothing understood")]
fn of_version(entry: &[u8], folder: &str) -> Option<Option<(Sealed, u64)>> {
    let kind = pack::number(pack::entry(entry, "Type")?)?;
    if kind == xl::DELETE_MARKER {
        return Some(None);
    }
    let object = pack::entry(entry, "V2Obj").filter(|_| kind == xl::OBJECT)?;
    let system = pack::entries(pack::entry(object, "MetaSys")?).unwrap_or_default();
    let text = |name: &str| {
        let value = system.iter().find_map(|(key, value)| (*key == name.as_bytes()).then_some(*value));
        value.and_then(pack::content)
    };
    let Some(key) = text(xl::KEY_ID) else { return Some(None) };
    let sizes = pack::items(pack::entry(object, "PartASizes")?).unwrap_or_default();
    let sealed = Sealed {
        key: String::from_utf8(key.to_vec()).ok()?,
        ciphertext: STANDARD.decode(text(xl::DATA_KEY)?).ok()?,
        context: context::with_clients(folder, text(xl::CONTEXT))?,
        of: named(folder, pack::content(pack::entry(object, "ID")?)?),
    };
    Some(Some((sealed, sizes.into_iter().filter_map(pack::number).sum())))
}

/// The object, with its version if it has any.
fn named(folder: &str, version: &[u8]) -> String {
    let object = context::name(folder);
    with_version(object, xl::uuid(version).as_deref())
}

fn version_with(entry: &[u8], seal: &Seal) -> Option<Vec<u8>> {
    let system = pack::entry(pack::entry(entry, "V2Obj")?, "MetaSys")?;
    let edit =
        |(name, value): (&str, &str)| Edit::of(entry, pack::entry(system, name)?, pack::binary(value.as_bytes())?);
    let values = [(xl::KEY_ID, seal.key.as_str()), (xl::DATA_KEY, &seal.sealed)];
    pack::edited(entry, values.into_iter().map(edit).collect::<Option<_>>()?)
}

/// The data key of a file of MinIO's own.
fn of_own(stored: &Stored, folder: &str) -> Result<Option<Found>, Obstacle> {
    let Some(own) = folder.strip_prefix(SYSTEM) else { return Ok(None) };
    let bucket = own.strip_prefix("/buckets/").and_then(|rest| rest.strip_suffix("/.metadata.bin"));
    let content = stored.content().ok_or(Obstacle::Content)?;
    let (place, seal, context) = match bucket {
        Some(bucket) => (Place::Targets, own::of_targets(&content), Some(context::of_targets(bucket))),
        None => (Place::File, own::of_file(&content), context::of_object(folder)),
    };
    let Some(seal) = seal else { return Ok(None) };
    let ciphertext = seal.ciphertext().ok_or(Obstacle::Form)?;
    let sealed = Sealed { key: seal.key, ciphertext, context: context.ok_or(Obstacle::Form)?, of: folder.to_owned() };
    Ok(Some(Found { sealed, bytes: 0, place }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kes_server::crypto::{Algorithm, Key};
    use serde_bytes::ByteBuf;

    use super::super::fixture;
    use super::*;

    const INLINE: [(&str, &[u8]); 7] = [
        ("encrypted/ctx", include_bytes!("testdata/context.meta")),
        (".minio.sys/config/iam/format.json", include_bytes!("testdata/iam-format.meta")),
        ("encrypted/mp", include_bytes!("testdata/multipart.meta")),
        ("plain/p", include_bytes!("testdata/plain.meta")),
        ("s3b/x", include_bytes!("testdata/sse-s3.meta")),
        ("encrypted/small", include_bytes!("testdata/versions.meta")),
        (".minio.sys/buckets/bbb/.metadata.bin", include_bytes!("testdata/targets.meta")),
    ];

    /// What MinIO wrote under `testdata/key` or `testdata/targets.key`, with its folder.
    fn files() -> impl Iterator<Item = (&'static str, Stored)> {
        let inline = INLINE.into_iter().map(|(folder, meta)| (folder, fixture::inline(meta)));
        let own = [INLINE[1], INLINE[6]];
        inline.chain(own.map(|(folder, meta)| (folder, fixture::long(meta))))
    }

    fn key_of(folder: &str) -> Key {
        match folder.strip_prefix(".minio.sys/buckets") {
            Some(_) => Key::decode(include_bytes!("testdata/targets.key")).unwrap(),
            None => Key::decode(include_bytes!("testdata/key")).unwrap(),
        }
    }

    /// Each data key of the file under another key, whose name is given.
    fn resealed(file: &Sealings, from: &Key, to: &Key, name: &str) -> Vec<(usize, Resealed)> {
        let reseal = |found: &Found| {
            let sealed = &found.sealed;
            let plaintext = from.decrypt(&sealed.ciphertext, &sealed.context).unwrap();
            let ciphertext = to.encrypt(&plaintext, &sealed.context).unwrap();
            Resealed { key: name.to_owned(), ciphertext }
        };
        file.found.iter().map(reseal).enumerate().collect()
    }

    #[test]
    fn every_data_key_of_a_minio_is_exchanged_and_leads_back() {
        let other = Key::generate(Algorithm::Aes256, "").unwrap();
        for (folder, stored) in files() {
            let key = key_of(folder);
            let file = Sealings::of(stored.clone(), folder).unwrap();
            for name in ["k", "minio-backend-key-2", &"long".repeat(20)] {
                let there = file.exchanged(&resealed(&file, &key, &other, name)).unwrap();
                let changed = Sealings::of(there, folder).unwrap();
                assert_eq!(changed.found.len(), file.found.len(), "{folder}");
                for (before, after) in file.found.iter().zip(&changed.found) {
                    assert_eq!((after.sealed.key.as_str(), after.bytes), (name, before.bytes));
                    assert_eq!((&after.sealed.context, &after.sealed.of), (&before.sealed.context, &before.sealed.of));
                    let opened = |key: &Key, found: &Found| {
                        key.decrypt(&found.sealed.ciphertext, &found.sealed.context).unwrap()
                    };
                    assert_eq!(opened(&key, before), opened(&other, after));
                }
                let back: Vec<_> = file.found.iter().map(|found| &found.sealed).map(former).enumerate().collect();
                let back = changed.exchanged(&back).unwrap();
                match (&back.part, &stored.part) {
                    (Some(back), Some(part)) => assert!(back.bytes == part.bytes && back.folder != part.folder),
                    _ => assert_eq!(back, stored, "{folder}"),
                }
            }
        }
    }

    fn former(sealed: &Sealed) -> Resealed {
        Resealed { key: sealed.key.clone(), ciphertext: sealed.ciphertext.clone() }
    }

    #[test]
    fn data_keys_are_found_with_their_names() {
        let found: Vec<_> = files()
            .flat_map(|(folder, stored)| Sealings::of(stored, folder).unwrap().found)
            .map(|found| (found.sealed.of, found.bytes))
            .collect();
        let expected = [
            ("encrypted/ctx (version 755d25e5-2021-4ed3-be0d-84ee2b4619f2)", 5),
            (".minio.sys/config/iam/format.json", 0),
            ("encrypted/mp (version 64cec9e1-5ecf-44ad-9c79-ad1cefbe9e82)", 5_242_980),
            ("s3b/x", 6),
            ("encrypted/small (version d6ab3736-9e71-47af-b460-49e7f8a7d29d)", 6),
            ("encrypted/small (version 9315832a-123d-49e4-9fc9-d7aeda81f6ad)", 6),
            (".minio.sys/buckets/bbb/.metadata.bin", 0),
            (".minio.sys/config/iam/format.json", 0),
            (".minio.sys/buckets/bbb/.metadata.bin", 0),
        ];
        assert_eq!(found, expected.map(|(of, bytes)| (of.to_owned(), bytes)));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let refused = |stored: Stored, folder: &str| Sealings::of(stored, folder).unwrap_err();
        assert_eq!(refused(fixture::inline(b"XL2 something"), "a/b"), Obstacle::Form);
        let format = ".minio.sys/config/iam/format.json";
        let mut cut = fixture::inline(include_bytes!("testdata/iam-format.meta"));
        cut.meta.truncate(cut.meta.len() - 1);
        assert_eq!(refused(cut, format), Obstacle::Content);
        let mut damaged = fixture::long(include_bytes!("testdata/iam-format.meta"));
        damaged.part.as_mut().unwrap().bytes[5000] ^= 1;
        assert_eq!(refused(damaged, format), Obstacle::Content);
        let object = fixture::inline(include_bytes!("testdata/versions.meta"));
        assert_eq!(refused(object, "nowhere"), Obstacle::Form, "no bucket, no context");
    }

    /// A file read by another parser: of each version the header and every value.
    #[derive(Debug, PartialEq)]
    struct Read {
        headers: Vec<Vec<u8>>,
        values: Vec<BTreeMap<String, String>>,
    }

    fn read(bytes: &[u8]) -> Read {
        let length = u32::from_be_bytes(bytes[9..13].try_into().unwrap()) as usize;
        let mut meta = rmp_serde::Deserializer::new(std::io::Cursor::new(&bytes[13..13 + length]));
        let mut number = || <u64 as serde::Deserialize>::deserialize(&mut meta).unwrap();
        let count = [number(), number(), number()][2];
        let mut read = Read { headers: vec![], values: vec![] };
        for _ in 0..count {
            read.headers.push(<ByteBuf as serde::Deserialize>::deserialize(&mut meta).unwrap().into_vec());
            let entry = <ByteBuf as serde::Deserialize>::deserialize(&mut meta).unwrap();
            let entry = rmpv::decode::read_value(&mut entry.as_slice()).unwrap();
            let mut values = BTreeMap::new();
            flatten("", &entry, &mut values);
            read.values.push(values);
        }
        read
    }

    fn flatten(name: &str, value: &rmpv::Value, to: &mut BTreeMap<String, String>) {
        match value {
            rmpv::Value::Map(map) => {
                for (key, value) in map {
                    flatten(&format!("{name}/{}", key.as_str().unwrap()), value, to);
                }
            }
            value => drop(to.insert(name.to_owned(), value.to_string())),
        }
    }

    #[test]
    fn nothing_but_the_data_key_and_the_name_of_its_key_differs() {
        let other = Key::generate(Algorithm::Aes256, "").unwrap();
        for (folder, stored) in files() {
            let file = Sealings::of(stored.clone(), folder).unwrap();
            let changed = file.exchanged(&resealed(&file, &key_of(folder), &other, "another")).unwrap();
            let (before, after) = (read(&stored.meta), read(&changed.meta));
            assert_eq!(before.headers, after.headers, "{folder}");
            let mut differ = std::collections::BTreeSet::new();
            for (before, after) in before.values.iter().zip(&after.values) {
                assert!(before.keys().eq(after.keys()), "{folder}");
                let names = before.keys().filter(|name| before[*name] != after[*name]);
                differ.extend(names.map(|name| name.rsplit('/').next().unwrap().to_owned()));
            }
            let expected = match file.found.first().map(|found| found.place) {
                None => vec![],
                Some(Place::Version(_)) => vec![xl::KEY_ID, xl::DATA_KEY],
                Some(_) if stored.part.is_some() => vec!["DDir", "PartASizes", "PartSizes", "Size"],
                Some(_) => vec!["PartASizes", "PartSizes", "Size"],
            };
            assert_eq!(differ, expected.into_iter().map(str::to_owned).collect(), "{folder}");
        }
    }
}
