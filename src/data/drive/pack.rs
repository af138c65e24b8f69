//! `MessagePack` as bytes: where a value is, so that it can be exchanged and every other byte stays as it is.

use std::ops::Range;

use rmp::Marker;
use rmp::encode::{write_bin, write_i16, write_i32, write_i64, write_nfix, write_pfix};

/// How deep values may lie in each other.
const DEPTH: u8 = 16;

/// Takes the first value off the front of some bytes, as it is there.
pub(super) fn next<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let start = *bytes;
    skip(bytes, DEPTH)?;
    start.get(..start.len() - bytes.len())
}

/// The bytes of a text or of a binary value.
pub(super) fn content(value: &[u8]) -> Option<&[u8]> {
    let (first, rest) = value.split_first()?;
    let head = match Marker::from_u8(*first) {
        Marker::FixStr(_) => 0,
        Marker::Str8 | Marker::Bin8 => 1,
        Marker::Str16 | Marker::Bin16 => 2,
        Marker::Str32 | Marker::Bin32 => 4,
        _ => return None,
    };
    rest.get(head..)
}

/// An integer that is not negative.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    rmp::decode::read_int(&mut &*value).ok()
}

/// The value of a key of a mapping.
pub(super) fn entry<'a>(map: &'a [u8], key: &str) -> Option<&'a [u8]> {
    entries(map)?.into_iter().find_map(|(name, value)| (name == key.as_bytes()).then_some(value))
}

/// The items of a list.
pub(super) fn items(list: &[u8]) -> Option<Vec<&[u8]>> {
    let mut rest = list;
    let count = rmp::decode::read_array_len(&mut rest).ok()?;
    (0..count).map(|_| next(&mut rest)).collect()
}

/// The keys and values of a mapping.
pub(super) fn entries(map: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut rest = map;
    let count = rmp::decode::read_map_len(&mut rest).ok()?;
    (0..count).map(|_| Some((content(next(&mut rest)?)?, next(&mut rest)?))).collect()
}

/// A binary value, in its shortest form.
pub(super) fn binary(content: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(content.len() + 5);
    write_bin(&mut bytes, content).ok()?;
    Some(bytes)
}

/// An integer as MinIO writes it: signed, in the shortest form.
pub(super) fn integer(number: i64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Ok(small) = i8::try_from(number) {
        match u8::try_from(small) {
            Ok(small) => write_pfix(&mut bytes, small).ok()?,
            Err(_) if small >= -32 => write_nfix(&mut bytes, small).ok()?,
            Err(_) => rmp::encode::write_i8(&mut bytes, small).ok()?,
        }
    } else if let Ok(number) = i16::try_from(number) {
        write_i16(&mut bytes, number).ok()?;
    } else if let Ok(number) = i32::try_from(number) {
        write_i32(&mut bytes, number).ok()?;
    } else {
        write_i64(&mut bytes, number).ok()?;
    }
    Some(bytes)
}

/// Something that takes the place of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edit {
    at: Range<usize>,
    with: Vec<u8>,
}

impl Edit {
    /// An exchange of `part`, which must be a part of `all`.
    pub(super) fn of(all: &[u8], part: &[u8], with: Vec<u8>) -> Option<Self> {
        let start = (part.as_ptr() as usize).checked_sub(all.as_ptr() as usize)?;
        let at = start..start.checked_add(part.len())?;
        (at.end <= all.len()).then_some(Self { at, with })
    }
}

/// The bytes with these exchanges made, which do not overlap.
pub(super) fn edited(bytes: &[u8], mut edits: Vec<Edit>) -> Option<Vec<u8>> {
    edits.sort_by_key(|edit| edit.at.start);
    let (mut all, mut from) = (Vec::with_capacity(bytes.len() + 64), 0);
    for edit in edits {
        all.extend_from_slice(bytes.get(from..edit.at.start)?);
        all.extend_from_slice(&edit.with);
        from = edit.at.end;
    }
    all.extend_from_slice(bytes.get(from..)?);
    Some(all)
}

fn skip(bytes: &mut &[u8], depth: u8) -> Option<()> {
    let (first, rest) = bytes.split_first()?;
    *bytes = rest;
    let (data, values) = match Marker::from_u8(*first) {
        Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) | Marker::FixNeg(_) => (0, 0),
        Marker::U8 | Marker::I8 => (1, 0),
        // of an extension, one byte says which
        Marker::U16 | Marker::I16 | Marker::FixExt1 => (2, 0),
        Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
        Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
        Marker::FixStr(length) => (length.into(), 0),
        Marker::Str8 | Marker::Bin8 => (length(bytes, 1)?, 0),
        Marker::Str16 | Marker::Bin16 => (length(bytes, 2)?, 0),
        Marker::Str32 | Marker::Bin32 => (length(bytes, 4)?, 0),
        Marker::FixArray(count) => (0, count.into()),
        Marker::Array16 => (0, length(bytes, 2)?),
        Marker::Array32 => (0, length(bytes, 4)?),
        Marker::FixMap(count) => (0, 2 * usize::from(count)),
        Marker::Map16 => (0, length(bytes, 2)?.checked_mul(2)?),
        Marker::Map32 => (0, length(bytes, 4)?.checked_mul(2)?),
        Marker::FixExt2 => (3, 0),
        Marker::FixExt4 => (5, 0),
        Marker::FixExt8 => (9, 0),
        Marker::FixExt16 => (17, 0),
        Marker::Ext8 => (length(bytes, 1)? + 1, 0),
        Marker::Ext16 => (length(bytes, 2)? + 1, 0),
        Marker::Ext32 => (length(bytes, 4)?.checked_add(1)?, 0),
        Marker::Reserved => return None,
    };
    *bytes = bytes.get(data..)?;
    let below = depth.checked_sub(1).filter(|_| values > 0);
    (0..values).try_for_each(|_| skip(bytes, below?))
}

fn length(bytes: &mut &[u8], size: usize) -> Option<usize> {
    let (length, rest) = bytes.split_at_checked(size)?;
    *bytes = rest;
    Some(length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_are_taken_one_after_the_other() {
        let values: [&[u8]; 12] = [
            b"\x07",
            b"\xff",
            b"\xc0",
            b"\xcd\x01\x02",
            b"\xd3\0\0\0\0\0\0\0\x01",
            b"\xa2hi",
            b"\xd9\x03abc",
            b"\xc4\x01x",
            b"\x92\x01\x91\xc3",
            b"\x81\xa1a\xc4\x02bc",
            b"\xd6\x05abcd",
            b"\xc7\x03\x05abc",
        ];
        let all = values.concat();
        let mut rest = all.as_slice();
        for value in values {
            assert_eq!(next(&mut rest), Some(value));
        }
        assert_eq!((rest, next(&mut rest)), (&[][..], None));
    }

    #[test]
    fn what_is_cut_off_or_endless_is_refused() {
        for bytes in [&b"\xc4\x05abc"[..], b"\x92\x01", b"\xdf\xff\xff\xff\xff\x01", b"\xc1"] {
            assert_eq!(next(&mut &*bytes), None, "{bytes:?}");
        }
        let deep = [0x91; 100];
        assert_eq!(next(&mut &deep[..]), None);
    }

    #[test]
    fn an_exchange_leaves_everything_else() {
        let map = b"\x82\xa1a\xc4\x02bc\xa1d\x93\x01\x02\x03";
        let (a, d) = (entry(map, "a").unwrap(), entry(map, "d").unwrap());
        assert_eq!((content(a), items(d).unwrap().len()), (Some(&b"bc"[..]), 3));
        assert_eq!(entry(map, "e"), None);
        let edits = vec![
            Edit::of(map, items(d).unwrap()[1], integer(300).unwrap()).unwrap(),
            Edit::of(map, a, binary(b"other").unwrap()).unwrap(),
        ];
        assert_eq!(edited(map, edits).unwrap(), b"\x82\xa1a\xc4\x05other\xa1d\x93\x01\xd1\x01\x2c\x03");
        assert!(Edit::of(map, b"elsewhere", vec![]).is_none_or(|edit| edited(b"x", vec![edit]).is_none()));
    }

    #[test]
    fn integers_have_minios_forms() {
        for (number, bytes) in [
            (5, &b"\x05"[..]),
            (228, b"\xd1\0\xe4"),
            (40_000, b"\xd2\0\0\x9c\x40"),
            (1 << 40, b"\xd3\0\0\x01\0\0\0\0\0"),
            (-1, b"\xff"),
        ] {
            assert_eq!(integer(number).unwrap(), bytes);
        }
        assert_eq!(number(b"\xd1\0\xe4"), Some(228));
        assert_eq!(number(b"\xff"), None);
    }
}
