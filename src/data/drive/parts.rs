//! An `xl.meta` taken apart, and put together again with other entries or other content.
//!
//! Behind the name and version of the format are the length of the metadata, the metadata itself, and its checksum,
//! xxHash64 cut to 32 bits. What is stored inline follows: a version, then a mapping from the name of an object's version
//! to its bytes.

use twox_hash::XxHash64;

use super::pack::{self, Edit};
use super::{pieces, xl};

/// Version of the form in which content is stored inline.
const INLINE: u8 = 1;
/// Key of the content of an object without versions.
const UNVERSIONED: &str = "null";

/// A file whose checksum is right.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// Name and version of the format.
    head: &'a [u8],
    meta: &'a [u8],
    /// The bytes after the checksum.
    inline: &'a [u8],
    /// The entry of each version.
    pub(super) entries: Vec<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// Takes a file apart; `None` if it is not complete or of a form that is not known here.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        let (_, mut rest) = bytes.split_at_checked(xl::MARK)?;
        let head = bytes.get(..xl::MARK)?;
        xl::whole_length(bytes)?;
        let meta = pack::content(pack::next(&mut rest)?)?;
        let sum = pack::number(pack::next(&mut rest)?)?;
        let entries = entries(meta)?;
        (sum == u64::from(checksum(meta))).then_some(Self { head, meta, inline: rest, entries })
    }

    /// The file with other entries, given by their numbers.
    pub(super) fn with_entries(&self, others: Vec<(usize, Vec<u8>)>) -> Option<Vec<u8>> {
        self.with(others, self.inline)
    }

    /// The content of the only version, if all of it is stored inline and its checksum is right.
    pub(super) fn content(&self) -> Option<Vec<u8>> {
        pieces::joined(pack::content(self.stored()?)?)
    }

    /// The folder with the content of the only version, if that has one part and nothing is inline.
    pub(super) fn folder(&self) -> Option<[u8; 16]> {
        let object = pack::entry(self.only()?, "V2Obj")?;
        let parts = pack::items(pack::entry(object, "PartNums")?)?;
        let is_one = self.inline.is_empty() && matches!(parts.as_slice(), [one] if pack::number(one) == Some(1));
        pack::content(pack::entry(object, "DDir")?).filter(|_| is_one)?.try_into().ok()
    }

    /// The file with other inline content and its length.
    pub(super) fn with_content(&self, content: &[u8]) -> Option<Vec<u8>> {
        let entry = self.only()?;
        let stored = pack::binary(&pieces::of(content))?;
        let inline = pack::edited(self.inline, vec![Edit::of(self.inline, self.stored()?, stored)?])?;
        self.with(vec![(0, pack::edited(entry, lengths(entry, content)?)?)], &inline)
    }

    /// The file with the length of other content, which is in that folder.
    pub(super) fn with_folder(&self, folder: [u8; 16], content: &[u8]) -> Option<Vec<u8>> {
        let entry = self.only()?;
        let mut edits = lengths(entry, content)?;
        let former = pack::entry(pack::entry(entry, "V2Obj")?, "DDir")?;
        edits.push(Edit::of(entry, former, pack::binary(&folder)?)?);
        self.with(vec![(0, pack::edited(entry, edits)?)], self.inline)
    }

    fn only(&self) -> Option<&'a [u8]> {
        let [entry] = self.entries.as_slice() else { return None };
        Some(entry)
    }

    /// What is stored inline of a version, with its checksum in front; the ID is that by which clients know it.
    pub(super) fn stored_of(&self, version: Option<&str>) -> Option<&'a [u8]> {
        let (form, map) = self.inline.split_first()?;
        pack::entry(map, version.unwrap_or(UNVERSIONED)).filter(|_| *form == INLINE)
    }

    fn stored(&self) -> Option<&'a [u8]> {
        self.stored_of(None).filter(|_| self.entries.len() == 1)
    }

    fn with(&self, others: Vec<(usize, Vec<u8>)>, inline: &[u8]) -> Option<Vec<u8>> {
        let edit = |(number, entry): (usize, Vec<u8>)| {
            let value = binary_of(self.meta, self.entries.get(number)?)?;
            Edit::of(self.meta, value, pack::binary(&entry)?)
        };
        let edits = others.into_iter().map(edit).collect::<Option<Vec<_>>>()?;
        let meta = pack::edited(self.meta, edits)?;
        let mut file = self.head.to_vec();
        file.push(xl::BIN32);
        file.extend(u32::try_from(meta.len()).ok()?.to_be_bytes());
        file.extend(&meta);
        rmp::encode::write_u32(&mut file, checksum(&meta)).ok()?;
        file.extend(inline);
        Some(file)
    }
}

/// What changes in an entry with the length of its content.
fn lengths(entry: &[u8], content: &[u8]) -> Option<Vec<Edit>> {
    let length = pack::integer(content.len().try_into().ok()?)?;
    let object = pack::entry(entry, "V2Obj")?;
    let mut edits = vec![Edit::of(entry, pack::entry(object, "Size")?, length.clone())?];
    for sizes in ["PartSizes", "PartASizes"] {
        let sizes = pack::items(pack::entry(object, sizes)?)?;
        let [size] = sizes.as_slice() else { return None };
        edits.push(Edit::of(entry, size, length.clone())?);
    }
    Some(edits)
}

/// The entries in metadata: three numbers, the last of which is their count, then a header and an entry for each.
fn entries(meta: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = meta;
    let [headers, _entries, count] = [(); 3].map(|()| pack::next(&mut rest).and_then(pack::number));
    if headers? > xl::NEWEST_HEADERS {
        return None;
    }
    let entry = |_| {
        pack::next(&mut rest)?;
        pack::content(pack::next(&mut rest)?)
    };
    let entries = (0..count?).map(entry).collect::<Option<Vec<_>>>()?;
    rest.is_empty().then_some(entries)
}

/// The binary value in `all` whose content is `content`.
fn binary_of<'a>(all: &'a [u8], content: &[u8]) -> Option<&'a [u8]> {
    let end = (content.as_ptr() as usize).checked_sub(all.as_ptr() as usize)?.checked_add(content.len())?;
    let length = pack::binary(content)?.len();
    all.get(end.checked_sub(length)?..end)
}

/// xxHash64 of the metadata, cut to 32 bits.
fn checksum(meta: &[u8]) -> u32 {
    let [a, b, c, d, ..] = XxHash64::oneshot(0, meta).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &[u8] = include_bytes!("testdata/iam-format.meta");

    #[test]
    fn every_file_of_a_minio_comes_together_again() {
        let files: [&[u8]; 6] = [
            include_bytes!("testdata/context.meta"),
            OWN,
            include_bytes!("testdata/multipart.meta"),
            include_bytes!("testdata/plain.meta"),
            include_bytes!("testdata/sse-s3.meta"),
            include_bytes!("testdata/versions.meta"),
        ];
        for file in files {
            let parts = Parts::of(file).unwrap();
            let same = parts.entries.iter().map(|entry| entry.to_vec()).enumerate().collect();
            assert_eq!(parts.with_entries(same).unwrap(), file);
            for cut in 0..file.len() - parts.inline.len() {
                assert!(Parts::of(&file[..cut]).is_none(), "cut at {cut}");
            }
            let mut changed = file.to_vec();
            changed[100] ^= 1;
            assert!(Parts::of(&changed).is_none(), "its checksum is wrong");
        }
    }

    #[test]
    fn inline_content_is_exchanged_with_its_lengths_and_checksum() {
        let parts = Parts::of(OWN).unwrap();
        let content = parts.content().unwrap();
        assert_eq!(content.len(), 228);
        assert_eq!(parts.with_content(&content).unwrap(), OWN);
        for length in [1, 100, 200, 300, 40_000, 70_000] {
            let other = vec![7; length];
            let file = parts.with_content(&other).unwrap();
            let parts = Parts::of(&file).unwrap();
            assert_eq!(parts.content().unwrap(), other);
            assert_eq!(parts.with_content(&content).unwrap(), OWN, "and back");
        }
        let mut damaged = OWN.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(Parts::of(&damaged).unwrap().content(), None);
    }

    #[test]
    fn another_entry_is_longer_or_shorter() {
        let file: &[u8] = include_bytes!("testdata/versions.meta");
        let parts = Parts::of(file).unwrap();
        for length in [1, 200, 256, 70_000] {
            let other = parts.with_entries(vec![(1, vec![b'x'; length])]).unwrap();
            let changed = Parts::of(&other).unwrap();
            assert_eq!((changed.entries[0], changed.entries[2]), (parts.entries[0], parts.entries[2]));
            assert_eq!((changed.entries[1].len(), changed.inline), (length, parts.inline));
        }
    }
}
